// Markov chains of whole runs: schedules, drawing of configurations, threads. The loops are in mcmc.h.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/alphabet.h"
#include "cpu/masked_flips.h"
#include "cpu/mcmc.h"

namespace vanfast::cpu {

struct Schedule {
  uint64_t seed, first;  // first: index of the first chain
  int64_t chains, burn_in, draws, thin;
  int64_t sweep;  // sweeps that came before, when a run is continued
  int threads;
  const int8_t* start;                // [chains][N]; null: random
  int8_t* spins;                      // [chains][draws][N]
  std::function<void(int64_t)> poll;  // takes sweeps of chains done so far; may throw
  int64_t sweeps() const { return burn_in + draws * thin; }
  // Which draw is taken after `done` sweeps of this run, or -1.
  int64_t draw_after(int64_t done) const {
    return done > burn_in && (done - burn_in) % thin == 0 ? (done - burn_in) / thin - 1 : -1;
  }
};

// Updates of single spins, float64 [R] and [R - 1] in the Python layer: turned spins at each temperature and accepted
// swaps of each pair of neighbours, over all chains and sweeps after burn-in.
struct Turned {
  std::vector<int64_t> flips, swaps;
};

// Metropolis or heat bath on any pairs; betas[R] falling or not, R > 1: replicas that exchange temperatures after every
// sweep. Replica r of chain c is walker c R + r. Draws are those at betas[target].
Turned run_pairwise(const PairTable& table, double quantum, const std::vector<double>& betas, int target,
                    bool heat_bath, const Schedule& schedule, const McmcKernels& kernels);

// The same for sites of q states; changed sites are counted as turned.
Turned run_potts(const PottsTable& table, double quantum, const std::vector<double>& betas, int target, bool heat_bath,
                 const Schedule& schedule, const McmcKernels& kernels);

// The same at one beta for bit planes. Walker w is chains 32 w .. 32 w + 31, which schedule.first need not be aligned
// to.
Turned run_planes(const PlaneTable& table, bool heat_bath, const Schedule& schedule, const McmcKernels& kernels);

// Metropolis or heat bath on -T0 ln q of a masked stack, with betas and draws as above, over spins or states. Sites are
// tried in drawing order; order[p] is the raster index of the p-th, empty for raster order. q is the mean of q_theta
// over the images of a configuration under the alphabet's group.
Turned run_masked(const MaskedFlips& flips, const std::vector<int64_t>& order, const Alphabet& alphabet, double T0,
                  const std::vector<double>& betas, int target, bool heat_bath, const Schedule& schedule,
                  const Kernels& kernels);

// What changes of single sites of values[count][N] add to ln q: changes[count][N] of turning each spin, or
// changes[count][N][q] of giving each site each state.
void flip_changes(const MaskedFlips& flips, const std::vector<int64_t>& order, const Alphabet& alphabet,
                  const int8_t* values, int64_t count, int threads, double* changes, const std::function<void()>& poll);

// Ferromagnetic couplings without fields, of spins or of sites with q states.
struct ClusterTable {
  int num_sites;
  int states;                 // q, or 0 for spins
  const int32_t* start;       // [N + 1] into neighbour and threshold
  const int32_t* neighbour;   // each bond twice
  const uint32_t* threshold;  // a bond between equal spins is set iff word < threshold = (1 - exp(-2 beta J)) 2^32,
                              // one between equal states with beta J in place of 2 beta J
};

struct Clusters {
  int64_t count, flips;  // clusters built (Wolff) or sweeps (Swendsen-Wang), and spins that turned, after burn-in
  std::vector<int64_t> per_sweep;  // [chains], Wolff: clusters of a sweep
};

// Wolff: per_sweep clusters make a sweep; 0: as many as turn N spins on the average of the first half of the burn-in,
// in which a sweep is as many as turn N spins.
Clusters run_wolff(const ClusterTable& table, int64_t per_sweep, const Schedule& schedule, const McmcKernels& kernels);
Clusters run_swendsen_wang(const ClusterTable& table, const Schedule& schedule, const McmcKernels& kernels);

// Rows of spins from bits set for -1: bit `lane` of down[site stride], lanes first .. last - 1, goes to
// rows[(lane - first) row_stride + site].
void unpack_lanes(const uint32_t* down, int num_sites, int stride, int first, int last, int8_t* rows,
                  int64_t row_stride);
// Bit i % 32 of bits[i / 32], set for -1, of one walker at the start.
void start_bits(const Schedule& schedule, uint64_t walker, const int8_t* given, int num_sites,
                std::vector<uint32_t>& bits);
// What a walker starts with, spins or, with `states` above 0, states: those given, or random ones.
std::vector<int8_t> start_values(const Schedule& schedule, uint64_t walker, const int8_t* given, int num_sites,
                                 int states);

}  // namespace vanfast::cpu
