// Shuffles and votes.
#include "kernels.h"

namespace {

constexpr unsigned kAll = 0xffffffffu;

// out[8][32] for width n: the four shuffles, votes, and a float and a 64-bit value on their way.
__global__ void shuffles(const uint32_t* in, uint32_t* out, int n) {
  const unsigned lane = threadIdx.x;
  const uint32_t value = in[lane];
  out[lane] = __shfl_sync(kAll, value, static_cast<int>(lane * 5 + 3), n);
  out[32 + lane] = __shfl_xor_sync(kAll, value, 5, n);
  out[64 + lane] = __shfl_down_sync(kAll, value, 3, n);
  out[96 + lane] = __shfl_up_sync(kAll, value, 3, n);
  out[128 + lane] = __ballot_sync(kAll, value & 1u);
  out[160 + lane] = static_cast<uint32_t>(2 * __any_sync(kAll, value == in[9]) + __all_sync(kAll, value == in[9]));
  out[192 + lane] = __float_as_uint(__shfl_xor_sync(kAll, __uint_as_float(value), 31));
  const uint64_t wide = uint64_t(value) << 32 | lane;
  out[224 + lane] = static_cast<uint32_t>(__shfl_xor_sync(kAll, wide, 1) >> 32);
}

__global__ void sum_of_warp(const uint32_t* in, uint32_t* out, int) {
  uint32_t sum = in[threadIdx.x];
  for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(kAll, sum, o);
  out[threadIdx.x] = sum;
}

__global__ void diverging(const uint32_t* in, uint32_t* out, int) {
  if (threadIdx.x < 16)
    out[threadIdx.x] = __shfl_xor_sync(kAll, in[threadIdx.x], 1);
  else
    out[threadIdx.x] = __shfl_down_sync(kAll, in[threadIdx.x], 1);
}

__global__ void shuffle_from_outside(const uint32_t* in, uint32_t* out, int) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, in[threadIdx.x], 20);
}

__global__ void shuffle_in_branch(const uint32_t* in, uint32_t* out, int) {
  out[threadIdx.x] = in[threadIdx.x];
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(kAll, in[threadIdx.x], 1);
}

}  // namespace

void add_warps(Kernels& kernels) {
  kernels["shuffles"] = shuffles;
  kernels["sum_of_warp"] = sum_of_warp;
  kernels["diverging"] = diverging;
  kernels["shuffle_from_outside"] = shuffle_from_outside;
  kernels["shuffle_in_branch"] = shuffle_in_branch;
}
