// What the values of a site are, spins +-1 or states 0 .. q - 1, and the group G of maps of values, the same at every
// site, that a distribution is averaged over: q(s) = 1/|G| sum_g q_theta(g s). Spins have Z2 or no symmetry.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cpu/kernels.h"

namespace vanfast::cpu {

class Alphabet {
 public:
  Alphabet(bool z2) : order_(z2 ? 2 : 1) {}
  // maps [order][states], the elements of G as permutations of the states, the identity first.
  Alphabet(int states, std::vector<int8_t> maps)
      : states_(states), order_(static_cast<int>(maps.size()) / states), maps_(std::move(maps)), steps_(maps_.size()) {
    for (int g = 0; g < order_; ++g)
      for (int k = 0; k < states; ++k)
        steps_[size_t(g) * states + maps_[size_t(g) * states + k]] = maps_[size_t((g + 1) % order_) * states + k];
  }

  int states() const { return states_; }  // q, or 0 for spins
  int order() const { return order_; }    // |G|
  int logits() const { return states_ ? states_ : 1; }

  // The element of G that a sample's word of the symmetry stream chooses; the lowest words choose the last one.
  int element(uint32_t word) const { return order_ - 1 - static_cast<int>(uint64_t(word) * order_ >> 32); }
  int8_t image(int element, float value) const {
    if (!states_) return static_cast<int8_t>(element ? -value : value);
    return maps_[size_t(element) * states_ + static_cast<int>(value)];
  }
  // The image of a configuration under element g becomes that under the next one, after the last the first.
  void advance(int g, float* values, int64_t count) const {
    if (!states_) {
      for (int64_t i = 0; i < count; ++i) values[i] = -values[i];
      return;
    }
    const int8_t* step = steps_.data() + size_t(g) * states_;
    for (int64_t i = 0; i < count; ++i) values[i] = step[static_cast<int>(values[i])];
  }
  // log_q [kLanes] += ln q_theta of a site's values, from its logits [logits()][kLanes]
  void score(const Kernels& kernels, const float* logits, const float* values, double* log_q) const {
    if (states_)
      kernels.score_states(logits, states_, values, log_q);
    else
      kernels.score(logits, values, log_q);
  }

 private:
  int states_ = 0, order_;
  std::vector<int8_t> maps_, steps_;
};

}  // namespace vanfast::cpu
