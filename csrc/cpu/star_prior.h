// What a Hamiltonian alone adds to the logits of a network: the star of each site and its later neighbours.
//
//   logit_i += 2 f_i + 2 sum_{l>i} artanh(tanh a_il tanh f_l),   f_l = beta h_l + sum_{s<i} a_sl x_s,   a = beta J
//
// The fields f of a group run along: every drawn spin is added to those of its later neighbours, a few on a lattice,
// all later sites in a dense system. There arithmetic takes ten times as long as a second-level cache needs to bring
// the fields, and it holds those of some thousand sites: nothing is blocked.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels.h"

namespace vanfast::cpu {

// Sites in drawing order. earlier[start[l] .. start[l + 1]): sites before l that it is coupled to, ascending.
struct StarSpec {
  int sites = 0;
  const double* fields = nullptr;     // [sites], beta h
  const int64_t* start = nullptr;     // [sites + 1]
  const int64_t* earlier = nullptr;   // [start[sites]]
  const double* couplings = nullptr;  // [start[sites]], beta J
};

class StarPrior {
 public:
  StarPrior() = default;  // adds nothing
  StarPrior(const StarSpec& spec, const Kernels& kernels);

  // Running fields of one group, [values()], aligned; 0 without a prior.
  int64_t values() const { return static_cast<int64_t>(fields_.size()) * kLanes; }
  void begin(float* running) const;
  // Adds to the logit [kLanes] of a site.
  void add(int site, const float* running, float* logit) const {
    if (fields_.empty()) return;
    kernels_->star_logit(row(site), running, logit);
  }
  // Takes up the spin [kLanes] of a site.
  void drawn(int site, const float* spin, float* running) const {
    if (fields_.empty()) return;
    kernels_->star_update(row(site), spin, running);
  }

 private:
  StarRow row(int site) const {
    const int64_t at = start_[site];
    return {site,
            static_cast<int>(start_[site + 1] - at),
            static_cast<int>(strong_[site] - at),
            later_.data() + at,
            couplings_.data() + at,
            shares_.data() + at};
  }

  const Kernels* kernels_ = nullptr;
  std::vector<float> fields_;            // [sites], 2 beta h / ln 2
  std::vector<int64_t> start_, strong_;  // [sites + 1], [sites]: a site's pairs with later ones, and its strong ones
  std::vector<int32_t> later_;
  std::vector<float> couplings_, shares_;
};

}  // namespace vanfast::cpu
