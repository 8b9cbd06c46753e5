// Energies of batches of Potts configurations, E(s) = -sum_{i<j} J_ij [s_i = s_j] - sum_i h_{s_i}, in float64.
//
// 64 samples at a time are transposed to [site][sample], so that a bond compares 64 neighbours in memory. Bonds of
// equal coupling come one behind the other and are counted in integers: exact where couplings and fields are. A
// sample's terms are summed in a fixed order, so its energy depends neither on batch nor on threads.
#pragma once

#include <cstdint>
#include <vector>

namespace vanfast::cpu {

class PottsEnergy {
 public:
  // edges [count][2] of different sites in [0, num_sites), couplings [count], fields [states].
  PottsEnergy(int num_sites, int states, const int32_t* edges, const double* couplings, int64_t count,
              const double* fields);

  int num_sites() const { return num_sites_; }
  int states() const { return static_cast<int>(fields_.size()); }

  // Writes energy[count] of states [count][num_sites], on so many threads, 0 for all.
  // Throws std::invalid_argument on a value outside [0, states).
  void evaluate(const int8_t* states, int64_t count, double* energy, int threads) const;

 private:
  struct Bond {
    int32_t a, b;
  };
  struct Run {  // bonds first .. end - 1 share a coupling
    double coupling;
    int64_t first, end;
  };
  void evaluate_tile(const int8_t* states, int64_t count, double* energy) const;

  int num_sites_;
  bool has_fields_;
  std::vector<Bond> bonds_;
  std::vector<Run> runs_;
  std::vector<double> fields_;
};

}  // namespace vanfast::cpu
