#include "cpu/energy.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace vanfast::cpu {

EnergyModel::EnergyModel(int num_sites, const int32_t* edges, const double* couplings, int64_t count,
                         const double* fields)
    : num_sites_(num_sites),
      edges_(edges, edges + 2 * count),
      couplings_(couplings, couplings + count),
      fields_(fields, fields + num_sites) {}

void EnergyModel::evaluate(const int8_t* spins, int64_t count, double* energy, int64_t first_row) const {
  for (int64_t row = 0; row < count; ++row) {
    const int8_t* s = spins + row * num_sites_;
    double sum = 0;
    for (int i = 0; i < num_sites_; ++i) {
      if (s[i] != 1 && s[i] != -1)
        throw std::invalid_argument("spins must hold only +1 and -1, found " + std::to_string(s[i]) +
                                    " at configuration " + std::to_string(first_row + row) + ", site " +
                                    std::to_string(i));
      sum -= fields_[i] * s[i];
    }
    for (size_t e = 0; e < couplings_.size(); ++e) sum -= couplings_[e] * (s[edges_[2 * e]] * s[edges_[2 * e + 1]]);
    energy[row] = sum;
  }
}

}  // namespace vanfast::cpu
