// Spins of a warp's 32 samples as sign bits, for kernels whose lanes are samples.
//
// A word holds 32 consecutive sites of one sample, a set bit is a spin -1. Site j of a word lies at bit j/2 for even j
// and 16 + j/2 for odd j: a shift and a mask then turn a pair of sites into two bf16 numbers +-1, that is one register
// of an mma operand.
#pragma once

#include "common/draw.h"
#include "common/philox.h"
#include "cuda/mma.cuh"
#include "cuda/runtime.cuh"

namespace vanfast::cuda {

constexpr int kWarp = 32;
constexpr int kWordSites = 32;

__device__ constexpr int bit_of_site(int j) { return (j >> 1) + 16 * (j & 1); }
__device__ constexpr int site_of_bit(int bit) { return bit < 16 ? 2 * bit : 2 * (bit - 16) + 1; }

// Register i = 2 * step + half of the B operands of m16n8k16 over one word, for a lane that is number t in its quad.
__device__ inline uint32_t spin_operand(uint32_t word, int t, int i) {
  return ((word << (15 - t - 4 * i)) & 0x80008000u) | 0x3F803F80u;
}

// ln q = sum_i ln sigmoid(t_i), t = s x, as sum_i min(t_i, 0) - ln prod_i (1 + exp(-|t_i|)), the product in float64 and
// one logarithm for many sites. fold() at least every 1000 sites: a factor is at most 2.
struct LogProbability {
  double sum = 0.0, product = 1.0;

  __device__ void add(float logit, bool up) {
    const float t = up ? logit : -logit;
    sum += t < 0.0f ? t : 0.0f;
    product = fma(product, static_cast<double>(expf(-fabsf(logit))), product);
  }
  __device__ void fold() {
    sum -= log(product);
    product = 1.0;
  }
};

// Where samples are read and written: int8 [count][sites] in raster order. order[p] is the raster index of the p-th
// drawn site, null for raster order.
struct SpinRows {
  int8_t* spins;
  const int* order;
  int64_t count;
  int sites;

  // Of a drawn site, in the row of each sample; -1 for sites past the last.
  __device__ int place(int site) const { return site >= sites ? -1 : order ? __ldg(order + site) : site; }
};

// The word of each lane's sample n0 + lane, read with lanes as sites. Samples past the end are all +1.
__device__ inline uint32_t load_word(const SpinRows& rows, int64_t n0, int word, int lane) {
  constexpr int kFlight = 8;  // loads under way
  const int place = rows.place(kWordSites * word + site_of_bit(lane));
  uint32_t mine = 0;
#pragma unroll 1
  for (int i = 0; i < kWarp; i += kFlight) {
    int8_t spin[kFlight];
#pragma unroll
    for (int j = 0; j < kFlight; ++j)
      spin[j] = place >= 0 && n0 + i + j < rows.count ? rows.spins[(n0 + i + j) * rows.sites + place] : int8_t(1);
#pragma unroll
    for (int j = 0; j < kFlight; ++j) {
      const uint32_t all = __ballot_sync(0xFFFFFFFFu, spin[j] < 0);
      if (lane == i + j) mine = all;
    }
  }
  return mine;
}

__device__ inline void store_word(const SpinRows& rows, int64_t n0, int word, int lane, uint32_t mine) {
  const int place = rows.place(kWordSites * word + site_of_bit(lane));
#pragma unroll 4
  for (int i = 0; i < kWarp; ++i) {
    const uint32_t other = __shfl_sync(0xFFFFFFFFu, mine, i);
    if (place >= 0 && n0 + i < rows.count) rows.spins[(n0 + i) * rows.sites + place] = (other >> lane) & 1 ? -1 : 1;
  }
}

}  // namespace vanfast::cuda
