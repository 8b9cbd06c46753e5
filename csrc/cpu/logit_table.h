// Conditionals that are looked up: for each the draw's threshold and ln q of both outcomes, in float64.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels.h"

namespace vanfast::cpu {

class LogitTable {
 public:
  LogitTable() = default;
  explicit LogitTable(size_t entries) : thresholds_(entries), terms_(entries) {}

  void set(size_t entry, double logit);
  // One site of kLanes samples: entry first + index[lane]. index[lane] += step where the spin is up.
  void draw(size_t first, uint32_t step, const uint32_t* word, uint32_t* index, float* spin, double* log_q) const;
  void score(size_t first, uint32_t step, const float* spin, uint32_t* index, double* log_q) const;
  void logits(size_t first, const uint32_t* index, float* logit) const;

  int64_t bytes() const { return int64_t(thresholds_.size()) * int64_t(sizeof(uint32_t) + sizeof(Terms)); }

 private:
  struct Terms {
    double majority, logit;  // ln sigma(|logit|); the other outcome's is less by |logit|
  };
  std::vector<uint32_t> thresholds_;  // floor(sigma(-|logit|) 2^32)
  std::vector<Terms> terms_;
};

}  // namespace vanfast::cpu
