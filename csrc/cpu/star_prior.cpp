#include "cpu/star_prior.h"

#include <algorithm>

namespace vanfast::cpu {

StarPrior::StarPrior(const StarSpec& spec, const Kernels& kernels)
    : kernels_(&kernels), fields_(spec.fields, spec.fields + spec.sites), start_(size_t(spec.sites) + 1, 0) {
  const int64_t pairs = spec.start[spec.sites];
  for (int64_t k = 0; k < pairs; ++k) ++start_[spec.earlier[k] + 1];
  for (int i = 0; i < spec.sites; ++i) start_[i + 1] += start_[i];
  later_.resize(pairs);
  couplings_.resize(pairs);
  std::vector<int64_t> next(start_.begin(), start_.end() - 1);
  for (int l = 0; l < spec.sites; ++l)
    for (int64_t k = spec.start[l]; k < spec.start[l + 1]; ++k) {
      const int64_t to = next[spec.earlier[k]]++;
      later_[to] = l;
      couplings_[to] = static_cast<float>(spec.couplings[k]);
    }
}

void StarPrior::begin(float* running) const {
  for (size_t l = 0; l < fields_.size(); ++l) std::fill_n(running + l * kLanes, kLanes, fields_[l]);
}

}  // namespace vanfast::cpu
