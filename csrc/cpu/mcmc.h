// The inner loops of the Monte Carlo engine, one table per instruction set; all sets give the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/draw_state.h"
#include "common/mcmc.h"
#include "cpu/kernels.h"

namespace vanfast::cpu {

// The spins of a walker at the start, bit set for -1: bit i % 32 of word i / 32.
inline uint32_t start_word(uint64_t seed, uint64_t walker, int word) {
  return walker_words(seed, walker, kStartWords, word / 4).word[word % 4];
}

// One of several states, all equally likely to 2^-32.
inline int any_state(uint32_t word, int states) { return static_cast<int>(uint64_t(word) * states >> 32); }

// Couplings and fields as multiples of a power of two, `quantum`: sums are exact and their order does not matter.
struct PairTable {
  int num_sites;
  bool dense;
  const int32_t* start;      // [N + 1] into neighbour and twice; null when dense
  const int32_t* neighbour;  // null when dense
  const int32_t* twice;      // 2 J_ij / quantum of every entry, or [N][N]
  const int32_t* field;      // [N], h_i / quantum
  const uint8_t* is_free;    // [N]: no bond and no field
};

// kLanes walkers; spins are bits, set for -1.
struct WalkerGroup {
  uint32_t* low;   // [kLanes], of the walkers' indices
  uint32_t* high;  // [kLanes]
  float* scale;    // [kLanes], 2 beta quantum
  int32_t* local;  // [N][kLanes], (h_i + sum_j J_ij s_j) / quantum
  uint32_t* down;  // [N]
  int32_t* flips;  // [kLanes], counts up
};

// Bonds that gain J where their sites are in the same state, in the same units.
struct PottsTable {
  int num_sites, states;
  bool has_fields;
  const int32_t* start;      // [N + 1] into neighbour and coupling
  const int32_t* neighbour;  // each bond twice
  const int32_t* coupling;   // J_ij / quantum
  const int32_t* field;      // [q], h_k / quantum
};

// kLanes walkers of sites with q states.
struct PottsGroup {
  const uint32_t *low, *high;  // [kLanes], of the walkers' indices
  const float* scale;          // [kLanes], beta quantum
  uint8_t* states;             // [N][kLanes]
  int32_t* turned;             // [kLanes], counts changes up
};

constexpr int kPlaneGroups = 16;                // words of 32 chains in a tile
constexpr int kTileChains = 32 * kPlaneGroups;  // chains of a tile

// Sites whose bonds all have the strength |J|; a stronger bond is entered several times.
struct PlaneTable {
  int num_sites;
  const int32_t* start;      // [N + 1]
  const int32_t* neighbour;  // entries
  const uint32_t* negative;  // entries: all ones where J < 0
  // Digit k, highest first, of a probability of class c for a site with z bonds: digits[(z kPlanes + k) kMostClasses +
  // c], all ones or 0. Heat bath: to stand against the field where c or z - c bonds are unsatisfied. Metropolis: to
  // turn where c < z / 2 are, and for c = (z + 1) / 2 where more are.
  const uint32_t* digits;
};

struct McmcKernels {
  // One sweep in raster order; the words of site i are in block `block` + i / 4.
  void (*sweep)(const PairTable& table, const WalkerGroup& group, uint64_t seed, uint64_t block, bool heat_bath);
  // Turns the walkers of `mask` at a site.
  void (*flip)(const PairTable& table, const WalkerGroup& group, int site, uint32_t mask);
  // twice[lane] = 2 E / quantum
  void (*energies)(const PairTable& table, const WalkerGroup& group, int64_t* twice);
  // One sweep of a tile, down[N][kPlaneGroups]; group g is walker `walker` + g. Site i begins at block
  // `block` + i kPlanes / 4. Returns how many spins turned of the chains in counted[kPlaneGroups].
  int64_t (*plane_sweep)(const PlaneTable& table, uint32_t* down, uint64_t seed, uint64_t walker, uint64_t block,
                         bool heat_bath, const uint32_t* counted);
  // As `sweep`, of sites with q states.
  void (*potts_sweep)(const PottsTable& table, const PottsGroup& group, uint64_t seed, uint64_t block, bool heat_bath);
  // Words of `blocks` blocks of one walker, a multiple of 16: out[4][blocks]; `block` is a multiple of `blocks`.
  void (*walker_run)(uint64_t seed, uint64_t walker, WordUse use, uint64_t block, int blocks, uint32_t* out);
};

extern const McmcKernels kBaseMcmc;
#if defined(__x86_64__)
extern const McmcKernels kAvx2Mcmc, kAvx512Mcmc;
#endif

// Those of an instruction set by its name in dispatch.h; empty: the best one. Throws std::invalid_argument.
const McmcKernels& mcmc_kernels_for(const std::string& isa);

}  // namespace vanfast::cpu
