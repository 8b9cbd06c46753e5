// Shared memory, asynchronous copies, atomics, indices, bits.
#include "cuda/mma.cuh"
#include "kernels.h"

using namespace vanfast;

namespace {

// Reads its own shared memory, never written.
__global__ void unwritten(const uint32_t*, uint32_t* out, int) {
  VANFAST_SHARED(memory);
  const uint32_t* const x = reinterpret_cast<const uint32_t*>(memory);
  out[blockIdx.x * blockDim.x + threadIdx.x] = x[threadIdx.x];
  reinterpret_cast<uint32_t*>(memory)[threadIdx.x] = 0;
}

__global__ void write_shared_byte(const uint32_t*, uint32_t*, int n) {
  VANFAST_SHARED(memory);
  if (threadIdx.x == 0) memory[n] = 1;
}

__global__ void write_word(const uint32_t*, uint32_t* out, int n) {
  if (threadIdx.x == 0) out[n] = 1;
}

__global__ void read_vector(const uint32_t* in, uint32_t* out, int n) {
  out[threadIdx.x] = reinterpret_cast<const uint4*>(in + n)->w;
}

// Rows of 4 words a thread come in two groups; those from n on are to be zeros.
__global__ void copies(const uint32_t* in, uint32_t* out, int n) {
  VANFAST_SHARED(memory);
  uint32_t* const x = reinterpret_cast<uint32_t*>(memory);
  const int i = static_cast<int>(threadIdx.x), count = static_cast<int>(blockDim.x);
  copy_async16(x + 4 * i, in + 4 * i, i < n);
  copy_async_commit();
  copy_async16(x + 4 * (count + i), in + 4 * (count + i), true);
  copy_async_commit();
  copy_async_wait<1>();
  for (int w = 0; w < 4; ++w) out[4 * i + w] = x[4 * i + w];
  for (int w = 0; w < 4; ++w) out[4 * (2 * count + i) + w] = x[4 * (count + i) + w];  // still under way
  copy_async_wait<0>();
  for (int w = 0; w < 4; ++w) out[4 * (count + i) + w] = x[4 * (count + i) + w];
}

__global__ void copy_to(const uint32_t* in, uint32_t*, int n) {
  VANFAST_SHARED(memory);
  copy_async16(memory + n, in, true);
}

__global__ void copy_from(const uint32_t* in, uint32_t*, int n) {
  VANFAST_SHARED(memory);
  copy_async16(memory, in + n, true);
}

// out[block][thread] = when the thread ran, by a counter in in-order-of-arrival.
__global__ void order(const uint32_t*, uint32_t* out, int n) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(out + n, 1u);
}

__global__ void atomics(const uint32_t* in, uint32_t* out, int) {
  const uint32_t x = in[threadIdx.x];
  atomicAdd(out, x);
  atomicSub(reinterpret_cast<int*>(out) + 1, static_cast<int>(x));
  atomicMax(out + 2, x);
  atomicMin(out + 3, x);
  atomicAnd(out + 4, x);
  atomicOr(out + 5, x);
  atomicXor(out + 6, x);
  atomicExch(out + 7, 5u);
  for (uint32_t before = out[8], seen; (seen = atomicCAS(out + 8, before, before + 1)) != before;) before = seen;
  atomicAdd(reinterpret_cast<float*>(out) + 9, 0.5f);
  atomicAdd(reinterpret_cast<double*>(out + 10), 0.25);
  atomicAdd(reinterpret_cast<unsigned long long*>(out + 12), 1ull << 31);
}

__global__ void indices(const uint32_t*, uint32_t* out, int) {
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned lane_sum = __shfl_sync(0xffffffffu, thread, 0);  // a warp is 32 threads in this order
  uint32_t* const row = out + 3 * (block * blockDim.x * blockDim.y * blockDim.z + thread);
  row[0] = threadIdx.x | threadIdx.y << 8 | threadIdx.z << 16;
  row[1] = blockIdx.x | blockIdx.y << 8 | blockIdx.z << 16;
  row[2] = lane_sum;
}

__global__ void bits(const uint32_t* in, uint32_t* out, int) {
  const uint32_t x = in[0], y = in[1];
  const uint32_t words[] = {static_cast<uint32_t>(__popc(x)),
                            static_cast<uint32_t>(__clz(static_cast<int>(x))),
                            static_cast<uint32_t>(__ffs(static_cast<int>(x))),
                            __umulhi(x, y),
                            __brev(x),
                            __funnelshift_l(x, y, 9),
                            __funnelshift_r(x, y, 9),
                            __byte_perm(x, y, 0x6240),
                            static_cast<uint32_t>(__dp4a(static_cast<int>(x), static_cast<int>(y), -7))};
  for (unsigned i = 0; i < sizeof words / sizeof *words; ++i) out[i] = words[i];
}

}  // namespace

void add_memory(Kernels& kernels) {
  kernels["unwritten"] = unwritten;
  kernels["write_shared_byte"] = write_shared_byte;
  kernels["write_word"] = write_word;
  kernels["read_vector"] = read_vector;
  kernels["copies"] = copies;
  kernels["copy_to"] = copy_to;
  kernels["copy_from"] = copy_from;
  kernels["order"] = order;
  kernels["atomics"] = atomics;
  kernels["indices"] = indices;
  kernels["bits"] = bits;
}
