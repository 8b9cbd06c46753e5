// Energies of batches of spin configurations, E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i in float64.
#pragma once

#include <cstdint>
#include <vector>

namespace vanfast::cpu {

class EnergyModel {
 public:
  // edges [count][2] with i != j in [0, num_sites), couplings [count], fields [num_sites]; all finite.
  EnergyModel(int num_sites, const int32_t* edges, const double* couplings, int64_t count, const double* fields);

  int num_sites() const { return num_sites_; }

  // Writes energy[count] of spins [count][num_sites]. One thread; any number of threads may call at once.
  // Throws std::invalid_argument on a spin that is not +1 or -1, counting rows from first_row.
  void evaluate(const int8_t* spins, int64_t count, double* energy, int64_t first_row = 0) const;

 private:
  int num_sites_;
  std::vector<int32_t> edges_;
  std::vector<double> couplings_, fields_;
};

}  // namespace vanfast::cpu
