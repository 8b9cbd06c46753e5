// Tensor cores: a[16][K] by rows, b[8][K] by columns, n of them in turn; d[16][8].
#include "common/bf16.h"
#include "cuda/mma.cuh"
#include "kernels.h"

using namespace vanfast;

namespace {

__device__ void store(uint32_t* out, const float (&d)[4]) {
  const unsigned g = threadIdx.x / 4, t = 2 * (threadIdx.x % 4);
  for (unsigned i = 0; i < 4; ++i) out[(g + 8 * (i / 2)) * 8 + t + i % 2] = __float_as_uint(d[i]);
}

// in: n times a[16][8], b[8][8], floats.
__global__ void product_tf32(const uint32_t* in, uint32_t* out, int n) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
  float d[4] = {};
  for (const uint32_t *a = in, *end = in + n * 192; a != end; a += 192) {
    const uint32_t* const b = a + 128;
    const uint32_t fa[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]};
    const uint32_t fb[2] = {b[g * 8 + t], b[g * 8 + t + 4]};
    mma_tf32(d, fa, fb);
  }
  store(out, d);
}

// in: n times a[16][16], b[8][16], bf16 pairs in words, from memory.
__global__ void product_bf16(const uint32_t* in, uint32_t* out, int n) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
  float d[4] = {};
  for (const uint32_t *a = in, *end = in + n * 192; a != end; a += 192) {
    const uint32_t* const b = a + 128;
    const uint32_t fa[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]};
    const uint32_t fb[2] = {b[g * 8 + t], b[g * 8 + t + 4]};
    mma_bf16(d, fa, fb);
  }
  store(out, d);
}

// The same through shared memory; n = 1: b lies as [8][16], n = 2: as [16][8], to be transposed on the way.
__global__ void product_through_shared(const uint32_t* in, uint32_t* out, int n) {
  VANFAST_SHARED(memory);
  uint32_t* const x = reinterpret_cast<uint32_t*>(memory);
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 192; i += 32) x[i] = in[i];
  __syncwarp();
  const unsigned char* const b = memory + 512;
  uint32_t a[4], both[4];
  load_matrix4(a, memory + (lane % 16 * 16 + lane / 16 * 8) * 2);
  if (n == 1)
    load_matrix4(both, b + (lane % 8 * 16 + lane / 8 % 2 * 8) * 2);
  else
    load_matrix4_transposed(both, b + lane % 16 * 16);
  float d[4] = {};
  const uint32_t fb[2] = {both[0], both[1]};
  mma_bf16(d, a, fb);
  store(out, d);
}

__global__ void load_at(const uint32_t*, uint32_t* out, int n) {
  VANFAST_SHARED(memory);
  uint32_t r[4];
  load_matrix4(r, memory + n);
  out[threadIdx.x] = r[0];
}

__global__ void product_of_half_a_warp(const uint32_t*, uint32_t* out, int) {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x < 16) mma_bf16(d, a, b);
  out[threadIdx.x] = __float_as_uint(d[0]);
}

// n = 0: float to bf16 and back, n = 1: to tf32, n = 2: pairs.
__global__ void rounding(const uint32_t* in, uint32_t* out, int n) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const float x = __uint_as_float(in[i]), next = __uint_as_float(in[i ^ 1u]);
  out[i] = n == 0 ? __float_as_uint(to_float(to_bf16(x))) : n == 1 ? to_tf32(x) : pack_bf16(x, next);
}

}  // namespace

void add_matrices(Kernels& kernels) {
  kernels["product_tf32"] = product_tf32;
  kernels["product_bf16"] = product_bf16;
  kernels["product_through_shared"] = product_through_shared;
  kernels["load_at"] = load_at;
  kernels["product_of_half_a_warp"] = product_of_half_a_warp;
  kernels["rounding"] = rounding;
}
