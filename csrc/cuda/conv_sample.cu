// PixelCNN sampling, whole configurations in one launch.
//
//   z_l(y, x) = b_l + sum_{dy, dx} W_l(dy, dx) a_{l-1}(y + dy, x + dx) [+ z_{l-1}(y, x)],   a = PReLU(z) or PReLU(P z +
//   p)
//
// Grid: persistent, as many blocks as the device holds at once. Block: 8 warps; it takes tiles of 16 consecutive
// samples (the rows of a tensor-core fragment; tiles begin at multiples of 16 of the sample index) through the whole
// lattice, a row at a time:
//   1. conv_rows.cuh: what finished rows give to this one, for all layers, sites and taps (nearly all arithmetic);
//   2. conv_scan.cuh: site after site, all layers, what the sites on the left give, then the draw;
//   3. ln q of the row, spins and logits to the caller.
// Memory: workspace (caller's, a slice a block): k + 1 rows of every hidden layer's input, a row of sums of every
// layer, k + 1 rows of logits; 417 KB for conv 3/64/6, 16 x 16, bf16. Shared: in one place the stages of step 1, then
// weights of the scan and the sums of the next k + 1 sites; rows of spins, logits and random words of the row,
// constants. Random words: Philox counter (sample index, site / 4, stream 0), word site % 4, made for a row by all
// threads.
//
// ln q is summed by all threads after a row, not by the drawing lanes: 16 samples x width terms in parallel, and none
// of them on the way from one site to the next. A thread has a fixed share of the sites, so that the sum has one order.
// The sums of sites to come are dealt to 7 warps while the eighth draws; a ninth warp for it would cost a quarter of
// the registers, which a multiprocessor's four parts deal to whole warps (96 a thread instead of 128).
//
// H200, conv 3/64/6, 16 x 16, bf16 (132 multiprocessors at 1.75 GHz, mma.sync about 2500 FLOP a cycle in each):
//   floor       117 MFLOP a sample in lattice taps: 16,384 samples are 1.92 TFLOP, 3.3 ms at the rate of mma.sync and
//               2.5 ms at that of wgmma, which wants 64 rows. L2 gives 830 KB of weights and activations a row and
//               tile: 13.6 GB in all, 3 ms at 4.5 TB/s. 264 workspaces are 110 MB, more than L2 holds: up to 3.8 GB of
//               activations come from memory, 0.9 ms
//   a site      step 1: 2600 cycles of tensor cores and 2000 of shared memory. Step 2: 3 barriers, about 1500 cycles of
//               latency, 1150 of shared memory (147 KB). Two blocks a multiprocessor overlap one's step 1 with the
//               other's step 2. Rest of a row: 300 cycles a site
//   prediction  9000 to 12,000 cycles for a site of two blocks: 2.3 to 3.1 million samples/s, 5.3 to 7 ms
// fp32 (three tf32 products: 6 times the tensor work, 230 registers, one block a multiprocessor): 15,500 + 4000 cycles
// a site, 0.36 million samples/s, 43 TFLOP/s. Not measured yet. The cost of a site does not grow with the lattice but
// for the taps that edges lack and, in bf16, a third of the scan's weights that at a width of 128 come through L1.
#include "cuda/conv_sample.cuh"

#include <algorithm>

namespace vanfast {

namespace {

using Kernel = ConvKernel;

template <class P>
Kernel kernel_of(bool big) {
  return big ? conv_sample_kernel<ConvBig<P>> : conv_sample_kernel<P>;
}

Kernel kernel_of(const ConvLayout& layout) {
  if (layout.star) return conv_star_kernel_of(layout);
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
  if (layout.star != (args.star.rows != nullptr)) throw std::invalid_argument("star does not fit the layout");
  DeviceGuard guard(device);
  VANFAST_LAUNCH(kernel_of(layout), blocks, kConvThreads, layout.shared_bytes, stream, args);
}

}  // namespace vanfast
