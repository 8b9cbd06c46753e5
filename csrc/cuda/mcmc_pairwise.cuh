// The decision of one spin in a local field; the twin of csrc/cpu/mcmc_pairwise.inl, operation by operation: no fused
// multiply-add, so that it decides as the CPU does.
#pragma once

#include "cuda/mcmc_device.cuh"

namespace vanfast::cuda {

// exp(x) for x <= 0, relative error below 2e-7; below -87 it stays at exp(-87).
__device__ __forceinline__ float exp_negative(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float shifted = __fadd_rn(__fmul_rn(x, 1.44269504f), 12582912.0f);  // 1.5 2^23: low bits are round(x / ln 2)
  const float n = __fadd_rn(shifted, -12582912.0f);
  const float r = __fadd_rn(__fadd_rn(x, -__fmul_rn(n, 0.693145752f)), -__fmul_rn(n, 1.42860677e-6f));
  float p = __fadd_rn(__fmul_rn(0.00139013098f, r), 0.00836320016f);
  p = __fadd_rn(__fmul_rn(p, r), 0.0416668541f);
  p = __fadd_rn(__fmul_rn(p, r), 0.16666577f);
  p = __fadd_rn(__fmul_rn(p, r), 0.499999996f);
  const float e = __fadd_rn(__fadd_rn(__fmul_rn(__fmul_rn(r, r), p), r), 1.0f);
  return __uint_as_float(__float_as_uint(e) + (__float_as_uint(shifted) << 23));
}

// Metropolis: s turns with probability kTries min(1, exp(-x)), x = 2 beta s f, to 31 binary digits.
// Heat bath: s becomes the sign of x = 2 beta f, or with probability sigma(-|x|) its opposite (the draw rule).
// local: f / quantum; scale: 2 beta quantum.
__device__ __forceinline__ bool turns(bool heat_bath, int32_t local, float scale, bool down, uint32_t word) {
  const float x = __fmul_rn(static_cast<float>(local), scale);
  if (heat_bath) {
    const float e = exp_negative(-fabsf(x));
    const bool minority = word < static_cast<uint32_t>(__fmul_rn(__fdiv_rn(e, __fadd_rn(1.0f, e)), 4294967296.0f));
    return ((x < 0.0f) != minority) != down;
  }
  const float cost = down ? -x : x;
  const float e = exp_negative(cost > 0.0f ? -cost : 0.0f);
  return (word >> 1) < static_cast<uint32_t>(__fmul_rn(e, static_cast<float>(kTries * 2147483648.0)));
}

// What a lane keeps of its walker during a launch.
struct LaneWalker {
  bool wanted;
  int64_t number;
  uint64_t index;
  int slot;
  float scale;
  int flips = 0;
  int64_t energy = 0;  // change of 2 E / quantum

  __device__ LaneWalker(const Walkers& walkers, const Temperatures& temperatures, int word, int lane)
      : number(walker_of(walkers, word, lane)) {
    wanted = is_wanted(walkers, number);
    index = walkers.base + static_cast<uint64_t>(int64_t{32} * word + lane);
    slot = wanted ? temperatures.slot[number] : 0;
    scale = temperatures.scale[slot];
  }

  __device__ __forceinline__ void count(bool turned, bool down, int32_t local) {
    if (!turned) return;
    ++flips;
    energy += (down ? -4 : 4) * static_cast<int64_t>(local);
  }

  // Adds what this lane has counted; all lanes of the warp come here.
  __device__ void finish(const Temperatures& temperatures, const Sweeps& sweeps) const {
    if (temperatures.energy && wanted && energy != 0) add_to(temperatures.energy + number, energy);
    if (!sweeps.flips) return;
    if (temperatures.replicas > 1) {
      if (wanted && flips) add_to(sweeps.flips + slot, flips);
      return;
    }
    const int64_t total = warp_sum(wanted ? flips : 0);
    if (threadIdx.x % 32 == 0) add_to(sweeps.flips, total);
  }
};

}  // namespace vanfast::cuda
