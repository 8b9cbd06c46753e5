#include "cpu/transfer_matrix.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "cpu/parallel.h"

namespace vanfast::cpu {
namespace {

constexpr int kMaxBits = 26;
// Above ln(1e17 2^kMaxBits): weights this far below the largest one change no digit of a sum.
constexpr double kDigits = 64;

// Weights and energies of one setting of (old spin, new spin), one a lane.
template <class Real, int kLanes>
struct Factor {
  Real weight[kLanes], energy[kLanes];
};

template <class Real, int kLanes>
class Lanes {
 public:
  explicit Lanes(int max_bits) {
    for (auto& u : u_) u.assign((size_t{1} << max_bits) * kLanes, Real(0));
    for (int l = 0; l < kLanes; ++l) {
      u_[0][l] = 1;
      ground_[l] = centre_[l] = log_norm_[l] = 0;
    }
  }

  void add_site(const TransferStep& step, const double* field, double beta) {
    Factor<Real, kLanes> factor[2][2];  // [old][new]
    for (int old = 0; old < 2; ++old) {
      for (int fresh = 0; fresh < 2; ++fresh) {
        for (int l = 0; l < kLanes; ++l) {
          const double bond = std::abs(step.replaced) - step.replaced * (2 * old - 1) * (2 * fresh - 1);
          const double energy = bond + std::abs(field[l]) - field[l] * (2 * fresh - 1);
          factor[old][fresh].energy[l] = energy;
          factor[old][fresh].weight[l] = std::exp(Real(-beta * energy));
        }
      }
    }
    for (int l = 0; l < kLanes; ++l) ground_[l] -= std::abs(step.replaced) + std::abs(field[l]);
    step.fresh ? grow(factor[0]) : replace(step.slot, factor);
    for (const TransferBond& bond : step.live) {
      penalise(step.slot, bond.other, bond.coupling > 0, 2 * std::abs(bond.coupling), beta);
      for (int l = 0; l < kLanes; ++l) ground_[l] -= std::abs(bond.coupling);
    }
  }

  // Normalises u0 and centres the energy of u1 and u2.
  void rescale() {
    Real sum[2][kLanes] = {}, inverse[kLanes], mean[kLanes];
    for (size_t k = 0; k < size(); k += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        sum[0][l] += u_[0][k + l];
        sum[1][l] += u_[1][k + l];
      }
    }
    for (int l = 0; l < kLanes; ++l) {
      inverse[l] = 1 / sum[0][l];
      mean[l] = static_cast<double>(sum[1][l] * inverse[l]);
      centre_[l] += static_cast<double>(mean[l]);
      log_norm_[l] += static_cast<double>(std::log(sum[0][l]));
    }
    for (size_t k = 0; k < size(); k += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        const Real a = u_[0][k + l] * inverse[l], b = u_[1][k + l] * inverse[l], c = u_[2][k + l] * inverse[l];
        u_[0][k + l] = a;
        u_[1][k + l] = b - mean[l] * a;
        u_[2][k + l] = c - mean[l] * (2 * b - mean[l] * a);
      }
    }
  }

  void finish(int lane, double beta, double* log_z, double* energy, double* variance) const {
    Real sum[3] = {};
    for (size_t k = 0; k < size(); k += kLanes) {
      for (int n = 0; n < 3; ++n) sum[n] += u_[n][k + lane];
    }
    const Real mean = sum[1] / sum[0];
    *log_z = log_norm_[lane] + static_cast<double>(std::log(sum[0])) - beta * ground_[lane];
    *energy = ground_[lane] + centre_[lane] + static_cast<double>(mean);
    *variance = std::max(0.0, static_cast<double>(sum[2] / sum[0] - mean * mean));
  }

 private:
  size_t size() const { return (size_t{1} << bits_) * kLanes; }

  void grow(const Factor<Real, kLanes>* factor) {
    const size_t half = size();
    ++bits_;
    for (size_t k = 0; k < half; k += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        const Real a = u_[0][k + l], b = u_[1][k + l], c = u_[2][k + l];
        for (int fresh = 0; fresh < 2; ++fresh) {
          const Real w = factor[fresh].weight[l], e = factor[fresh].energy[l];
          const size_t to = k + l + fresh * half;
          u_[0][to] = w * a;
          u_[1][to] = w * (b + e * a);
          u_[2][to] = w * (c + e * (2 * b + e * a));
        }
      }
    }
  }

  void replace(int slot, const Factor<Real, kLanes> (&factor)[2][2]) {
    const size_t stride = (size_t{1} << slot) * kLanes;
    for (size_t block = 0; block < size(); block += 2 * stride) {
      for (size_t k = block; k < block + stride; k += kLanes) {
        for (int l = 0; l < kLanes; ++l) {
          const size_t at[2] = {k + l, k + l + stride};
          Real a[2], b[2], c[2];
          for (int old = 0; old < 2; ++old) {
            a[old] = u_[0][at[old]];
            b[old] = u_[1][at[old]];
            c[old] = u_[2][at[old]];
          }
          for (int fresh = 0; fresh < 2; ++fresh) {
            Real sum[3] = {};
            for (int old = 0; old < 2; ++old) {
              const Real w = factor[old][fresh].weight[l], e = factor[old][fresh].energy[l];
              const Real raised = b[old] + e * a[old];
              sum[0] += w * a[old];
              sum[1] += w * raised;
              sum[2] += w * (c[old] + e * (b[old] + raised));
            }
            for (int n = 0; n < 3; ++n) u_[n][at[fresh]] = sum[n];
          }
        }
      }
    }
  }

  // Adds `energy` to the states in which the spins of two slots are equal (or differ) against the bond's sign.
  void penalise(int a, int b, bool ferromagnetic, double energy, double beta) {
    const Real e = energy, w = std::exp(Real(-beta * energy));
    const int low = std::min(a, b), high = std::max(a, b);
    const size_t inner = (size_t{1} << low) * kLanes, outer = (size_t{1} << high) * kLanes;
    for (size_t top = 0; top < size(); top += 2 * outer) {
      for (size_t middle = 0; middle < outer; middle += 2 * inner) {
        const size_t base = top + middle;
        const size_t starts[2] = {base + (ferromagnetic ? inner : 0), base + outer + (ferromagnetic ? 0 : inner)};
        for (size_t start : starts) {
          Real *p0 = &u_[0][start], *p1 = &u_[1][start], *p2 = &u_[2][start];
          for (size_t k = 0; k < inner; ++k) {
            const Real raised = p1[k] + e * p0[k];
            p2[k] = w * (p2[k] + e * (p1[k] + raised));
            p1[k] = w * raised;
            p0[k] = w * p0[k];
          }
        }
      }
    }
  }

  int bits_ = 0;
  std::vector<Real> u_[3];
  double ground_[kLanes];    // energy from which the exponents of u0 count
  double centre_[kLanes];    // above it, the energy from which u1 and u2 count
  double log_norm_[kLanes];  // what u0 was divided by
};

int check(const std::vector<TransferStep>& steps) {
  int bits = 0;
  for (size_t t = 0; t < steps.size(); ++t) {
    const TransferStep& step = steps[t];
    const bool fits = step.fresh ? step.slot == bits : step.slot >= 0 && step.slot < bits;
    if (step.fresh) ++bits;
    const bool live = std::all_of(step.live.begin(), step.live.end(), [&](const TransferBond& bond) {
      return bond.other >= 0 && bond.other < bits && bond.other != step.slot;
    });
    const bool given = std::all_of(step.given.begin(), step.given.end(),
                                   [](const TransferBond& bond) { return bond.other >= 0 && bond.other < kMaxBits; });
    if (!fits || !live || !given || bits > kMaxBits) {
      throw std::invalid_argument("transfer step " + std::to_string(t) + " uses bits that the vector does not have");
    }
  }
  return bits;
}

template <class Real, int kLanes>
void run(const std::vector<TransferStep>& steps, int bits, int64_t first, int64_t settings, double beta,
         double headroom, Transfer& result) {
  Lanes<Real, kLanes> lanes(bits);
  double fall = 0;  // how far the largest weight can have moved since the last rescaling, in logarithms
  for (const TransferStep& step : steps) {
    double field[kLanes], couplings = std::abs(step.replaced);
    std::fill(field, field + kLanes, step.field);
    for (const TransferBond& bond : step.given) {
      for (int l = 0; l < kLanes; ++l) field[l] += (first + l) >> bond.other & 1 ? bond.coupling : -bond.coupling;
    }
    for (const TransferBond& bond : step.live) couplings += std::abs(bond.coupling);
    fall += 2 * beta * couplings + 1;
    if (fall > headroom) {
      lanes.rescale();
      fall = 2 * beta * couplings + 1;
    }
    lanes.add_site(step, field, beta);
  }
  for (int64_t l = 0; l < kLanes && first + l < settings; ++l) {
    lanes.finish(static_cast<int>(l), beta, &result.log_z[first + l], &result.energy[first + l],
                 &result.variance[first + l]);
  }
}

}  // namespace

Transfer transfer(const std::vector<TransferStep>& steps, int64_t settings, double beta, double cut, int threads) {
  const int bits = check(steps);
  double step_cut = 0;
  for (const TransferStep& step : steps) {
    double couplings = std::abs(step.replaced);
    for (const TransferBond& bond : step.live) couplings += std::abs(bond.coupling);
    step_cut = std::max(step_cut, couplings);
  }
  Transfer result;
  for (auto* values : {&result.log_z, &result.energy, &result.variance}) values->assign(settings, 0.0);
  const double needed = 2 * beta * (cut + step_cut) + kDigits;
  const double narrow = -std::log(std::numeric_limits<double>::min());
  const double wide = static_cast<double>(-std::log(std::numeric_limits<long double>::min()));
  if (!(needed < wide)) {
    throw std::invalid_argument("beta is too large: times the couplings across the frontier it is " +
                                std::to_string(beta * (cut + step_cut)) + ", at most " +
                                std::to_string((wide - kDigits) / 2) + " is in the range of the transfer matrix");
  }
  constexpr int kLanes = 4;
  const bool single = settings < kLanes;
  const int64_t lanes = needed < narrow && !single ? kLanes : 1;
  parallel_for((settings + lanes - 1) / lanes, threads, [&](int64_t task, int) {
    const int64_t first = task * lanes;
    if (needed >= narrow) {
      run<long double, 1>(steps, bits, first, settings, beta, wide - 2 * beta * cut - kDigits, result);
    } else if (single) {
      run<double, 1>(steps, bits, first, settings, beta, narrow - 2 * beta * cut - kDigits, result);
    } else {
      run<double, kLanes>(steps, bits, first, settings, beta, narrow - 2 * beta * cut - kDigits, result);
    }
  });
  return result;
}

}  // namespace vanfast::cpu
