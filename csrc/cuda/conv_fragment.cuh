// Arithmetic of one fragment in each precision. A fragment of activations comes as a lane's uint4; a lane's share of a
// fragment of weights for one tile of 8 columns is two words. Sums z are float: (sample g, channel 2t), (g, 2t + 1),
// (g + 8, 2t), (g + 8, 2t + 1) with g = lane / 4, t = lane % 4.
//
// A tile of sums becomes a piece of a fragment of activations in the lane that has it: with k-slots t and t + 4 of a
// tf32 product standing for channels 2t and 2t + 1 nothing ever moves between lanes.
#pragma once

#include "common/bf16.h"
#include "cuda/conv_args.cuh"
#include "cuda/mma.cuh"

namespace vanfast {

struct ConvBf16 {
  static constexpr bool kBig = false, kStar = false;
  static constexpr bool kSeparateSums = false;
  static constexpr int kBlocks = 2;  // of a multiprocessor
  struct A {
    uint32_t r[4];
  };
  static __device__ __forceinline__ A load(uint4 v) { return {{v.x, v.y, v.z, v.w}}; }
  struct B {
    uint32_t r[2];
  };
  static __device__ __forceinline__ B weights(uint32_t x, uint32_t y) { return {{x, y}}; }
  static __device__ __forceinline__ void multiply(float (&z)[4], const A& a, const B& b) { mma_bf16(z, a.r, b.r); }
  static constexpr int kTiles = 2;  // of sums in a fragment
  struct Piece {
    uint2 words;
  };
  static __device__ __forceinline__ Piece round(const float (&v)[4]) {
    return {make_uint2(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]))};
  }
  // fragments: those of a site, `step` bytes apart
  static __device__ __forceinline__ void store(unsigned char* fragments, int64_t step, int tile, int lane, Piece p) {
    *reinterpret_cast<uint2*>(fragments + (tile / 2) * step + lane * 16 + (tile % 2) * 8) = p.words;
  }
};

struct ConvTf32 {
  static constexpr bool kBig = false, kStar = false;
  static constexpr bool kSeparateSums = false;
  static constexpr int kBlocks = 2;
  using A = ConvBf16::A;
  static __device__ __forceinline__ A load(uint4 v) { return {{v.x, v.y, v.z, v.w}}; }
  using B = ConvBf16::B;
  static __device__ __forceinline__ B weights(uint32_t x, uint32_t y) { return {{x, y}}; }
  static __device__ __forceinline__ void multiply(float (&z)[4], const A& a, const B& b) { mma_tf32(z, a.r, b.r); }
  static constexpr int kTiles = 1;
  struct Piece {
    uint4 words;
  };
  static __device__ __forceinline__ Piece round(const float (&v)[4]) {
    return {make_uint4(to_tf32(v[0]), to_tf32(v[2]), to_tf32(v[1]), to_tf32(v[3]))};
  }
  static __device__ __forceinline__ void store(unsigned char* fragments, int64_t step, int tile, int lane, Piece p) {
    *reinterpret_cast<uint4*>(fragments + tile * step + lane * 16) = p.words;
  }
};

// Three products of operands split in two: what is left out is 2^-22 of a product. Tensor cores cut off what they add,
// so long sums are gathered outside of them (kSeparateSums).
struct ConvFp32 {
  static constexpr bool kBig = false, kStar = false;
  static constexpr bool kSeparateSums = true;
  static constexpr int kBlocks = 1;
  struct A {
    uint32_t high[4], low[4];
  };
  static __device__ __forceinline__ void split(uint32_t word, uint32_t& high, uint32_t& low) {
    high = to_tf32(__uint_as_float(word));
    low = to_tf32(__uint_as_float(word) - __uint_as_float(high));
  }
  static __device__ __forceinline__ A load(uint4 v) {
    A a;
    split(v.x, a.high[0], a.low[0]);
    split(v.y, a.high[1], a.low[1]);
    split(v.z, a.high[2], a.low[2]);
    split(v.w, a.high[3], a.low[3]);
    return a;
  }
  struct B {
    uint32_t high[2], low[2];
  };
  static __device__ __forceinline__ B weights(uint32_t x, uint32_t y) {
    B b;
    split(x, b.high[0], b.low[0]);
    split(y, b.high[1], b.low[1]);
    return b;
  }
  static __device__ __forceinline__ void multiply(float (&z)[4], const A& a, const B& b) {
    mma_tf32(z, a.low, b.high);
    mma_tf32(z, a.high, b.low);
    mma_tf32(z, a.high, b.high);
  }
  static constexpr int kTiles = 1;
  using Piece = ConvTf32::Piece;
  static __device__ __forceinline__ Piece round(const float (&v)[4]) {
    return {make_uint4(__float_as_uint(v[0]), __float_as_uint(v[2]), __float_as_uint(v[1]), __float_as_uint(v[3]))};
  }
  static __device__ __forceinline__ void store(unsigned char* fragments, int64_t step, int tile, int lane, Piece p) {
    ConvTf32::store(fragments, step, tile, lane, p);
  }
};

// Rows too wide for shared memory: spins, logits, random words and sums of the row lie in the workspace.
template <class P>
struct ConvBig : P {
  static constexpr bool kBig = true;
};

// A star prior is added to the logits.
template <class P>
struct ConvStar : P {
  static constexpr bool kStar = true;
};

// Spins are kept as the upper byte of a bf16 that is +-1/2, or 0 outside the lattice; their weights are doubled.
constexpr unsigned char kSpinUp = 0x3f, kSpinDown = 0xbf;

// The spins of 16 samples at 16 columns, from `at` = row of sample 0 + first column.
__device__ __forceinline__ void spin_fragment(uint32_t (&a)[4], const unsigned char* at, int stride, int lane) {
  const unsigned char* low = at + (lane / 4) * stride + 2 * (lane % 4);
  const unsigned char* high = low + 8 * stride;
  a[0] = uint32_t(low[0]) << 8 | uint32_t(low[1]) << 24;
  a[1] = uint32_t(high[0]) << 8 | uint32_t(high[1]) << 24;
  a[2] = uint32_t(low[8]) << 8 | uint32_t(low[9]) << 24;
  a[3] = uint32_t(high[8]) << 8 | uint32_t(high[9]) << 24;
}

__device__ __forceinline__ void activate(float (&v)[4], const float (&z)[4], const float* slope, int tile, int lane) {
  const float2 s = *reinterpret_cast<const float2*>(slope + tile * 8 + 2 * (lane % 4));
  v[0] = z[0] > 0.0f ? z[0] : s.x * z[0];
  v[1] = z[1] > 0.0f ? z[1] : s.y * z[1];
  v[2] = z[2] > 0.0f ? z[2] : s.x * z[2];
  v[3] = z[3] > 0.0f ? z[3] : s.y * z[3];
}

}  // namespace vanfast
