// The update of one site of 32 chains by multi-spin coding; the twin of csrc/cpu/mcmc_planes.inl.
#pragma once

#include "cuda/mcmc_device.cuh"
#include "cuda/mcmc_launch.cuh"

namespace vanfast::cuda {

// All ones where the counted number, binary digits b, is n.
template <int kDigits>
__device__ __forceinline__ uint32_t equals(const uint32_t (&b)[4], int n) {
  uint32_t all = ~0u;
#pragma unroll
  for (int k = 0; k < kDigits; ++k) all &= ~(b[k] ^ (0u - (static_cast<uint32_t>(n) >> k & 1u)));
  return all;
}

// Turned chains of a site. kBonds 0: `run.bonds` of them. `unlike(e)`: all ones where bond e is unsatisfied.
template <int kBonds, bool kHeatBath, class Unlike>
__device__ __forceinline__ uint32_t plane_turns(int bonds_here, const uint4* digits, const PhiloxKeys& keys,
                                                uint64_t walker, uint64_t block, Unlike&& unlike) {
  constexpr int kDigits = !kBonds || kBonds > 7 ? 4 : kBonds > 3 ? 3 : 2;
  constexpr int kClasses = kBonds ? kBonds / 2 + 2 : kMostClasses;
  const int bonds = kBonds ? kBonds : bonds_here;
  const bool bath = kHeatBath || bonds == 0;  // Metropolis would turn a free spin in every sweep
  const int few = bath ? bonds / 2 + 1 : (bonds + 1) / 2;
  uint32_t b[4] = {};  // binary digits of the number of unsatisfied bonds
#pragma unroll
  for (int e = 0; e < (kBonds ? kBonds : kMostBonds); ++e) {
    if (e >= bonds) break;
    uint32_t carry = unlike(e);
#pragma unroll
    for (int k = 0; k < kDigits; ++k) {
      const uint32_t both = b[k] & carry;
      b[k] ^= carry;
      carry = both;
    }
  }
  uint32_t member[kClasses], against = 0, others = ~0u;
#pragma unroll
  for (int c = 0; c < kClasses; ++c) {
    member[c] = 0;
    if (c < few) {
      member[c] = equals<kDigits>(b, c);
      if (bath && 2 * c != bonds) {
        const uint32_t beyond = equals<kDigits>(b, bonds - c);
        member[c] |= beyond;
        against |= beyond;
      }
      others &= ~member[c];
    } else if (!bath && c == few) {
      member[c] = others;  // turning costs no energy
    }
  }
  const uint4* row = digits + bonds * (kPlanes / 4 * kMostClasses);
  uint32_t drawn = 0, open = ~0u;
  for (int plane = 0; plane < kPlanes; plane += 4) {
    const uint64_t at = block + static_cast<uint64_t>(plane) / 4;
    const PhiloxWords random = philox(keys, walker, static_cast<uint32_t>(at), walker_stream(kPlaneWords, at));
    const uint4* four = row + plane / 4 * kMostClasses;  // the same for all threads
    const auto decide = [&](uint32_t p, uint32_t word) {
      drawn |= open & p & ~word;
      open &= ~(p ^ word);
    };
    if (kBonds) {
      uint32_t p[4] = {};
#pragma unroll
      for (int c = 0; c < kClasses; ++c) {
        const uint4 masks = __ldg(four + c);
        p[0] |= member[c] & masks.x, p[1] |= member[c] & masks.y;
        p[2] |= member[c] & masks.z, p[3] |= member[c] & masks.w;
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) decide(p[k], random.word[k]);
    } else {
#pragma unroll 1  // nine classes of four masks would not fit into registers
      for (int k = 0; k < 4; ++k) {
        uint32_t p = 0;
#pragma unroll
        for (int c = 0; c < kClasses; ++c) p |= member[c] & __ldg(reinterpret_cast<const uint32_t*>(four + c) + k);
        decide(p, word_of(random, k));
      }
    }
    if (!open) break;
  }
  return drawn ^ against;
}

}  // namespace vanfast::cuda
