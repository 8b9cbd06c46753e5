#include "cpu/star_prior.h"

#include <algorithm>
#include <cmath>

namespace vanfast::cpu {

namespace {

// Fields and couplings count in ln 2 / 2: exp(-2 |f|) is then a power of 2.
constexpr double kUnits = 2.0 / 0.69314718055994531;

bool is_weak(double coupling) { return std::abs(coupling) <= kStarWeak; }

}  // namespace

StarPrior::StarPrior(const StarSpec& spec, const Kernels& kernels)
    : kernels_(&kernels), start_(size_t(spec.sites) + 1, 0), strong_(spec.sites, 0) {
  for (int l = 0; l < spec.sites; ++l) fields_.push_back(static_cast<float>(kUnits * spec.fields[l]));
  const int64_t pairs = spec.start[spec.sites];
  for (int64_t k = 0; k < pairs; ++k) {
    ++start_[spec.earlier[k] + 1];
    strong_[spec.earlier[k]] += is_weak(spec.couplings[k]);
  }
  for (int i = 0; i < spec.sites; ++i) {
    strong_[i] += start_[i];
    start_[i + 1] += start_[i];
  }
  later_.resize(pairs);
  couplings_.resize(pairs);
  shares_.resize(pairs);
  std::vector<int64_t> next_weak(start_.begin(), start_.end() - 1), next_strong = strong_;
  for (int l = 0; l < spec.sites; ++l)
    for (int64_t k = spec.start[l]; k < spec.start[l + 1]; ++k) {
      const double a = spec.couplings[k];
      const int64_t to = (is_weak(a) ? next_weak : next_strong)[spec.earlier[k]]++;
      later_[to] = l;
      couplings_[to] = static_cast<float>(kUnits * a);
      shares_[to] = static_cast<float>(std::copysign(std::exp(-2.0 * std::abs(a)), a));
    }
}

void StarPrior::begin(float* running) const {
  for (size_t l = 0; l < fields_.size(); ++l) std::fill_n(running + l * kLanes, kLanes, fields_[l]);
}

}  // namespace vanfast::cpu
