// What the lanes of the Monte Carlo kernels share.
#pragma once

#include "cuda/mcmc.cuh"

namespace vanfast::cuda {

// The keys of all rounds: as an argument of a kernel they are operands in constant memory, where philox() adds them up.
struct PhiloxKeys {
  uint32_t low[kPhiloxRounds], high[kPhiloxRounds];

  explicit PhiloxKeys(uint64_t seed) {
    for (uint32_t round = 0; round < kPhiloxRounds; ++round) {
      low[round] = static_cast<uint32_t>(seed) + round * kPhiloxKey0;
      high[round] = static_cast<uint32_t>(seed >> 32) + round * kPhiloxKey1;
    }
  }
};

// philox() of the seed that the keys are of.
__device__ __forceinline__ PhiloxWords philox(const PhiloxKeys& keys, uint64_t sample, uint32_t block,
                                              uint32_t stream) {
  uint32_t c0 = static_cast<uint32_t>(sample), c1 = static_cast<uint32_t>(sample >> 32), c2 = block, c3 = stream;
#pragma unroll
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = uint64_t(kPhiloxMul0) * c0, p1 = uint64_t(kPhiloxMul1) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ keys.low[round];
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ keys.high[round];
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
  }
  return {{c0, c1, c2, c3}};
}

__device__ __forceinline__ int64_t walker_of(const Walkers& walkers, int word, int lane) {
  return int64_t{32} * word + lane - walkers.shift;
}

__device__ __forceinline__ bool is_wanted(const Walkers& walkers, int64_t walker) {
  return walker >= 0 && walker < walkers.count;
}

// Adds to a 64-bit counter, whose sum does not depend on the order; counters are never negative at the end.
__device__ __forceinline__ void add_to(int64_t* counter, int64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(counter), static_cast<unsigned long long>(value));
}

// The sum over a warp, in all lanes.
__device__ __forceinline__ int64_t warp_sum(int64_t x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const auto other = static_cast<unsigned long long>(x);
    x += static_cast<int64_t>(__shfl_xor_sync(0xFFFFFFFFu, other, distance));
  }
  return x;
}

// Word k of four, k not known at compile time: no array that would have to lie in memory.
__device__ __forceinline__ uint32_t word_of(const PhiloxWords& words, int k) {
  const uint32_t low = k & 1 ? words.word[1] : words.word[0], high = k & 1 ? words.word[3] : words.word[2];
  return k & 2 ? high : low;
}

}  // namespace vanfast::cuda
