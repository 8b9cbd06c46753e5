// Site-by-site transfer: the partition function of a short-ranged system and its first two derivatives in beta.
//
// Sites are added one after another to a vector over the spins of the frontier, the sites that still matter to later
// ones. A new site takes over the bit ("slot") of one that does not matter any more, which is summed out, or a new
// bit. Beside the weights u0 = sum exp(-beta E) the vector carries u1 = sum E exp(-beta E) and u2 = sum E^2 exp(-beta
// E), so the energy and its variance are exact derivatives. Energies are counted from the satisfied bond and field,
// and at every rescaling u0 is normalised and E centred about its mean; what was taken out is kept in sums.
//
// Sites that are given (the first row of a torus, which meets the last) have no bit: the whole transfer runs once for
// each setting of their spins, several settings at a time in SIMD lanes. A setting is one lane of one task, whatever
// the number of threads: results do not depend on it.
#pragma once

#include <cstdint>
#include <vector>

namespace vanfast::cpu {

// A bond of the site being added, to a slot of the frontier or to a given site.
struct TransferBond {
  int32_t other;
  double coupling;
};

struct TransferStep {
  int slot;         // bit of the new site
  bool fresh;       // the vector grows by this bit (then slot is the number of bits so far)
  double replaced;  // coupling to the site that leaves this bit, 0 where there is none
  double field;
  std::vector<TransferBond> live, given;  // bonds to frontier sites that stay, and to given sites
};

struct Transfer {
  std::vector<double> log_z, energy, variance;  // one entry a setting
};

// Runs all steps for the settings 0 .. settings - 1; bit g of a setting is given site g, 1 for +1.
// cut: the largest sum of |J| over the bonds between added and still missing sites, at any step. It bounds how far
// below the largest weight a weight that matters can be, and chooses double or long double.
// Throws std::invalid_argument for steps that do not fit together, or when beta * cut is beyond long double.
Transfer transfer(const std::vector<TransferStep>& steps, int64_t settings, double beta, double cut, int threads);

}  // namespace vanfast::cpu
