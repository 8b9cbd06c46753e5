// Products of a task of masked_stack.cu, 16 units x 32 samples of one warp, on tensor cores: acc += weights x inputs.
//
// Weights lie in the order of fragments, 16 bytes a lane and step. Inputs are rows [unit][sample] of activations (tf32
// or fp32 in words, or pairs of bf16), or words of spins (masked_spins.cuh).
// fp32: hidden units as 3 tf32 products of operands in two parts, spins as 3 bf16 products of a weight in three parts.
#pragma once

#include "common/bf16.h"
#include "cuda/masked_launch.cuh"
#include "cuda/masked_spins.cuh"

namespace vanfast::cuda {

constexpr int kColumns = kWarp / 8;  // 8-column tiles of a task
constexpr int kAhead = 3;            // steps whose operands are under way

__device__ inline uint32_t word_of(float x) { return __float_as_uint(x); }

template <int kPrecision>
__device__ float activate(float z, float slope) {
  const float a = z > 0.0f ? z : slope * z;
  if constexpr (kPrecision == kMaskedTf32) return __uint_as_float(to_tf32(a));
  if constexpr (kPrecision == kMaskedBf16) return to_float(to_bf16(a));
  return a;
}

// tf32 or bf16 numbers that make up the weight of a hidden unit
template <int kPrecision>
constexpr int kUnitSplits = kPrecision == kMaskedFp32 ? 2 : 1;

// What a lane holds for one step of 8 rows of activations.
template <int kPrecision>
struct Operands {
  uint4 a[kUnitSplits<kPrecision>];
  uint32_t b[kColumns][2];

  __device__ void load(const uint4* weights, const uint32_t* column, int stride, int step, int rows, int lane) {
#pragma unroll
    for (int split = 0; split < kUnitSplits<kPrecision>; ++split)
      a[split] = __ldg(weights + (step * kUnitSplits<kPrecision> + split) * kWarp + lane);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = 8 * step + 4 * half + lane % 4;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) b[c][half] = row < rows ? column[row * stride + 8 * c + lane / 4] : 0u;
    }
  }

  __device__ void multiply(float (&acc)[kColumns][4]) {
    const uint32_t high[4] = {a[0].x, a[0].y, a[0].z, a[0].w};
    if constexpr (kPrecision == kMaskedFp32) {
      const uint32_t low[4] = {a[1].x, a[1].y, a[1].z, a[1].w};
      uint32_t rest[kColumns][2];
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float x = __uint_as_float(b[c][i]);
          b[c][i] = to_tf32(x);
          rest[c][i] = to_tf32(x - __uint_as_float(b[c][i]));
        }
      // four independent sums between two products of one
#pragma unroll
      for (int c = 0; c < kColumns; ++c) mma_tf32(acc[c], low, b[c]);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) mma_tf32(acc[c], high, rest[c]);
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if constexpr (kPrecision == kMaskedBf16)
        mma_bf16(acc[c], high, b[c]);
      else
        mma_tf32(acc[c], high, b[c]);
    }
  }
};

// acc += weights x activations of one task; `column` is the first of the 32 samples in a row of activations. Operands
// of the next steps are under way meanwhile: they come from L2, some 300 cycles away, and a step takes 90.
template <int kPrecision>
__device__ void multiply_units(float (&acc)[kColumns][4], const uint4* weights, const uint32_t* column, int stride,
                               int steps, int valid, int lane) {
  const int rows = kPrecision == kMaskedBf16 ? (valid + 1) / 2 : valid;
  Operands<kPrecision> ring[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) ring[i].load(weights, column, stride, min(i, steps - 1), rows, lane);
#pragma unroll 1
  for (int begin = 0; begin < steps; begin += kAhead) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (begin + i >= steps) break;
      ring[i].multiply(acc);
      ring[i].load(weights, column, stride, min(begin + i + kAhead, steps - 1), rows, lane);
    }
  }
}

template <int kPrecision>
__device__ void multiply_spins(float (&acc)[kColumns][4], const uint4* weights, const uint32_t* bits, int stride,
                               int steps, int lane) {
  constexpr int kSplits = 3 - kPrecision;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    uint32_t b[kColumns][2];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const uint32_t word = bits[step / 2 * stride + 8 * c + lane / 4];
      b[c][0] = spin_operand(word, lane % 4, 2 * (step % 2));
      b[c][1] = spin_operand(word, lane % 4, 2 * (step % 2) + 1);
    }
#pragma unroll
    for (int split = 0; split < kSplits; ++split) {
      const uint4 w = __ldg(weights + (step * kSplits + split) * kWarp + lane);
      const uint32_t a[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
      for (int c = 0; c < kColumns; ++c) mma_bf16(acc[c], a, b[c]);
    }
  }
}

}  // namespace vanfast::cuda
