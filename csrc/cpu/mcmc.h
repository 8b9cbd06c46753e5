// The inner loops of the Monte Carlo engine, one table per instruction set; all sets give the same bytes.
//
// Random words: counter = (walker low, walker high, block low, kMonteCarloStream | use << 8 | block high << 16), so
// that each use has 2^48 blocks of four words for every walker. A walker is a chain, or a replica of one under
// tempering; in the kernel of bit planes it is 32 consecutive chains, whose bits make a word. What happens to a chain
// is therefore a function of Hamiltonian, algorithm, beta, seed and its index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/draw_state.h"
#include "common/philox.h"
#include "cpu/kernels.h"

namespace vanfast::cpu {

enum WordUse : uint32_t {
  kSiteWords = 0,      // one word for each site and sweep, in blocks of four sites
  kStartWords = 1,     // what a walker starts with: one bit a site for spins, one word a site for states
  kPlaneWords = 2,     // kPlanes / 4 blocks for each site and sweep
  kSwapWords = 3,      // one word for each pair of neighbouring temperatures and sweep
  kClusterWords = 4,   // one word after the other
  kProposalWords = 5,  // one word for each step, of proposals by networks (Python)
};

constexpr uint64_t kWalkerBlocks = uint64_t{1} << 48;  // of each use

inline uint32_t walker_stream(WordUse use, uint64_t block) {
  return kMonteCarloStream | static_cast<uint32_t>(use) << 8 | static_cast<uint32_t>(block >> 32) << 16;
}

inline PhiloxWords walker_words(uint64_t seed, uint64_t walker, WordUse use, uint64_t block) {
  return philox(seed, walker, static_cast<uint32_t>(block), walker_stream(use, block));
}

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

constexpr int kPlaneGroups = 16;                  // words of 32 chains in a tile
constexpr int kTileChains = 32 * kPlaneGroups;    // chains of a tile
constexpr int kPlanes = 64;                       // binary digits of a probability
constexpr int kMostBonds = 15;                    // of a site in the kernel of bit planes
constexpr int kMostClasses = kMostBonds / 2 + 2;  // probabilities for one number of bonds

// Metropolis tries to turn a spin with probability 15/16. In sequential sweeps without such pauses some states, the
// one-spin-up state of the periodic 2x2 square among them, would turn into one another forever.
//
// Sites of q states: heat bath draws by common/draw_state.h from logits -beta E(k). Metropolis takes word (q - 1) as 64
// bits: the high half h chooses the state k + 1 + h mod q, the low half decides on it as a word on a spin's turn. With
// q = 2 both are the rules of spins, states 0 and 1 for -1 and +1.
constexpr double kTries = 0.9375;

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
