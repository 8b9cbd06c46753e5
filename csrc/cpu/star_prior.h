// What a Hamiltonian alone adds to the logits of a network: the star of each site and its later neighbours.
//
//   logit_i += 2 f_i + 2 sum_{l>i} artanh(tanh a_il tanh f_l),   f_l = beta h_l + sum_{s<i} a_sl x_s,   a = beta J
//
// The fields f of a group run along: every drawn spin is added to those of its later neighbours, a few on a lattice,
// all later sites in a dense system. Then a site costs a vector of 26 cycles for each later neighbour and one of memory
// traffic, which a second-level cache serves up to some thousand sites; larger blocks would gain nothing.
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
    const int64_t at = start_[site];
    kernels_->star_logit(running, site, later_.data() + at, couplings_.data() + at, pairs(site), logit);
  }
  // Takes up the spin [kLanes] of a site.
  void drawn(int site, const float* spin, float* running) const {
    if (fields_.empty()) return;
    const int64_t at = start_[site];
    kernels_->star_update(spin, later_.data() + at, couplings_.data() + at, pairs(site), running);
  }

 private:
  int pairs(int site) const { return static_cast<int>(start_[site + 1] - start_[site]); }

  const Kernels* kernels_ = nullptr;
  std::vector<float> fields_;
  std::vector<int64_t> start_;  // [sites + 1]: a site's pairs with later ones
  std::vector<int32_t> later_;  // ascending for every site
  std::vector<float> couplings_;
};

}  // namespace vanfast::cpu
