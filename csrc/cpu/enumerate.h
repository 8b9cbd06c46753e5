// Exact sums over all 2^N states of E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i.
//
// Bit i of a state's index is site i, 1 for +1. The states of one setting of the high bits are a chunk: its energies
// are one table (couplings among the low sites) plus a linear function of the low spins, built by doubling. Its
// weights are folded in half site by site, which yields the sums weighted with each spin and then the chunk's total in
// 2 * 2^low operations. Chunks belong to a fixed set of tasks, summed in order: threads do not change a bit.
#pragma once

#include <cstdint>
#include <vector>

namespace vanfast::cpu {

constexpr int kMaxEnumeratedSites = 24;

struct Enumeration {
  double min_energy;                  // E_0, the ground state's
  double log_sum;                     // ln sum exp(-beta (E - E_0)), at least 0
  double mean_excess;                 // <E - E_0>
  double variance;                    // of E
  std::vector<double> magnetization;  // <s_i>, [N]
  std::vector<double> correlation;    // <s_i s_j>, [N][N]
};

// edges [count][2] of different sites in [0, num_sites), couplings [count], fields [num_sites]; all finite.
// log_prob is null or receives ln p of all 2^N states.
// Throws std::invalid_argument unless 1 <= num_sites <= kMaxEnumeratedSites.
Enumeration enumerate(int num_sites, const int32_t* edges, const double* couplings, int64_t count, const double* fields,
                      double beta, int threads, double* log_prob);

}  // namespace vanfast::cpu
