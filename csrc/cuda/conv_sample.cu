// PixelCNN sampling, whole configurations in one launch.
//
//   z_l(y, x) = b_l + sum_{dy, dx} W_l(dy, dx) a_{l-1}(y + dy, x + dx) [+ z_{l-1}(y, x)],   a = PReLU(z) or PReLU(P z +
//   p)
//
// Grid: persistent, as many blocks as the device holds at once. Block: 8 warps that multiply and one that draws; it
// takes tiles of 16 consecutive samples (the rows of a tensor-core fragment; tiles begin at multiples of 16 of the
// sample index) through the whole lattice, a row at a time:
//   1. conv_rows.cuh: what finished rows give to this one, for all layers, sites and taps (nearly all arithmetic);
//   2. conv_scan.cuh: site after site, all layers, what the sites on the left give, then the draw;
//   3. log q of the row in float64, and what its input of the last layer gives to the logits of the rows below.
// Memory: workspace (caller's, a slice a block): k + 1 rows of every layer's input, a row of sums, k + 1 rows of
// logits. Shared: weights of the scan and the sums of the next k + 1 sites, in the same place as the stages of step 1;
// rows of spins, logits of the row, constants. Weights of step 1 stream through the L2 cache, once a block and row.
// Random words: Philox counter (sample index, site / 4, stream 0), word site % 4, one lane a sample.
//
// The draw has a warp of its own, for the others have as long to do with the sums of the next sites. log q is summed by
// all threads after a row, not by the drawing lanes: 16 samples x width terms in parallel, none of them on the way from
// one site to the next. Each thread has a fixed share of the sites, so that the sum has one order.
//
// H200, conv 3/64/6, 16 x 16, bf16 (132 multiprocessors at 1.75 GHz, mma.sync about 2500 FLOP a cycle each):
//   floor        117 MFLOP a sample in lattice taps: 16,384 samples in 1.92 PFLOP, 3.3 ms at mma.sync's rate
//                (2.5 ms at wgmma's); bytes: L2 gives weights and activations, 830 KB a row and tile, 2.5 TB/s at goal
//   a site       prefix 2600 cycles of tensor cores; scan 3 barriers, about 1500 cycles of latency, of them 1150 in
//                which shared memory is busy (147 KB); two blocks a multiprocessor overlap one's prefix with the
//                other's scan
//   prediction   8000 to 9500 cycles for a site of two blocks: 2.4 to 2.9 million samples/s
// fp32 (three tf32 products, 6 times the tensor work, one block): 15,500 + 3000 cycles a site, 0.38 million samples/s,
// 45 TFLOP/s. Cost per site does not depend on the width of the lattice; memory per block grows with it.
#include "cuda/conv_sample.cuh"

#include <algorithm>

namespace vanfast {

namespace {

using Kernel = void (*)(const ConvArgs);

template <class P>
Kernel kernel_of(bool big) {
  return big ? conv_sample_kernel<ConvBig<P>> : conv_sample_kernel<P>;
}

Kernel kernel_of(const ConvLayout& layout) {
  if (layout.precision == kConvFp32) return kernel_of<ConvFp32>(layout.args.big);
  if (layout.precision == kConvTf32) return kernel_of<ConvTf32>(layout.args.big);
  return kernel_of<ConvBf16>(layout.args.big);
}

}  // namespace

SharedLimits conv_shared_limits(int device) {
#if defined(VANFAST_EMULATE)
  static_cast<void>(device);
  return {227 << 10, 228 << 10, 1 << 10};
#else
  SharedLimits limits{};
  check(cudaDeviceGetAttribute(&limits.block, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory");
  check(cudaDeviceGetAttribute(&limits.processor, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device),
        "shared memory");
  check(cudaDeviceGetAttribute(&limits.reserved, cudaDevAttrReservedSharedMemoryPerBlock, device), "shared memory");
  return limits;
#endif
}

int conv_resident_blocks(const ConvLayout& layout, int device) {
  DeviceGuard guard(device);
  return resident_blocks(kernel_of(layout), kConvThreads, layout.shared_bytes);
}

void launch_conv_sample(const ConvLayout& layout, const ConvArgs& args, int blocks, int device, uintptr_t stream) {
  if (args.count <= 0) return;
  DeviceGuard guard(device);
  VANFAST_LAUNCH(kernel_of(layout), blocks, kConvThreads, layout.shared_bytes, stream, args);
}

}  // namespace vanfast
