// What the Monte Carlo kernels of the CPU and of CUDA agree on: random words, and the table of multi-spin coding.
//
// Random words: counter = (walker low, walker high, block low, kMonteCarloStream | use << 8 | block high << 16), so
// that each use has 2^48 blocks of four words for every walker. A walker is a chain, or a replica of one under
// tempering; in the kernel of bit planes it is 32 consecutive chains, whose bits make a word. What happens to a chain
// is therefore a function of Hamiltonian, algorithm, beta, seed and its index.
#pragma once

#include <cstdint>

#include "common/philox.h"

namespace vanfast {

enum WordUse : uint32_t {
  kSiteWords = 0,      // one word for each site and sweep, in blocks of four sites
  kStartWords = 1,     // what a walker starts with: one bit a site for spins, one word a site for states
  kPlaneWords = 2,     // kPlanes / 4 blocks for each site and sweep
  kSwapWords = 3,      // one word for each pair of neighbouring temperatures and sweep
  kClusterWords = 4,   // one word after the other; CUDA: by bond and by site
  kProposalWords = 5,  // one word for each step, of proposals by networks (Python)
};

constexpr uint64_t kWalkerBlocks = uint64_t{1} << 48;  // of each use

VANFAST_HOST_DEVICE inline uint32_t walker_stream(WordUse use, uint64_t block) {
  return kMonteCarloStream | static_cast<uint32_t>(use) << 8 | static_cast<uint32_t>(block >> 32) << 16;
}

VANFAST_HOST_DEVICE inline PhiloxWords walker_words(uint64_t seed, uint64_t walker, WordUse use, uint64_t block) {
  return philox(seed, walker, static_cast<uint32_t>(block), walker_stream(use, block));
}

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

}  // namespace vanfast
