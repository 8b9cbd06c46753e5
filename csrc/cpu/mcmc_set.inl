// The Monte Carlo kernels of one instruction set. The including file defines VANFAST_WIDTH (32-bit lanes per vector), a
// namespace, mul_even(a, b), the 64-bit products of the even lanes, truncate(x) from [0, 2^31] to uint32, sign_bits(x),
// one bit a lane, and any_bit(x). Floating-point sums and products are rounded one by one (-ffp-contract=off, no FMA):
// every set computes the same.

typedef float vf __attribute__((vector_size(4 * VANFAST_WIDTH), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * VANFAST_WIDTH), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * VANFAST_WIDTH), may_alias));
typedef uint64_t vl __attribute__((vector_size(4 * VANFAST_WIDTH)));

constexpr int kWidth = VANFAST_WIDTH;
constexpr int kVectors = kLanes / kWidth;

static inline vu load(const uint32_t* p) { return *reinterpret_cast<const vu*>(p); }
static inline void store(uint32_t* p, vu v) { *reinterpret_cast<vu*>(p) = v; }
static inline vu splat(uint32_t x) { return x + vu{}; }
static inline vu lane_numbers() {
  vu lane{};
  for (int i = 0; i < kWidth; ++i) lane[i] = i;
  return lane;
}

#include "cpu/philox.inl"

#include "cpu/mcmc_pairwise.inl"

#include "cpu/mcmc_planes.inl"

#include "cpu/mcmc_potts.inl"

static void walker_run(uint64_t seed, uint64_t walker, WordUse use, uint64_t block, int blocks, uint32_t* out) {
  for (int b = 0; b < blocks; b += kWidth) {
    vu c0 = splat(static_cast<uint32_t>(walker)), c1 = splat(static_cast<uint32_t>(walker >> 32));
    vu c2 = lane_numbers() + static_cast<uint32_t>(block + b), c3 = splat(walker_stream(use, block));
    philox_rounds(seed, c0, c1, c2, c3);
    store(out + b, c0);
    store(out + blocks + b, c1);
    store(out + 2 * blocks + b, c2);
    store(out + 3 * blocks + b, c3);
  }
}

static constexpr McmcKernels kTable = {sweep, flip, energies, plane_sweep, potts_sweep, walker_run};
