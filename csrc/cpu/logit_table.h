// Conditionals that are looked up: for each the draw's threshold and ln q of both outcomes, in float64.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels.h"

namespace vanfast::cpu {

class LogitTable {
 public:
  LogitTable() = default;
  explicit LogitTable(size_t entries) : rules_(entries), log_q_(entries) {}

  void set(size_t entry, double logit);
  // One site of kLanes samples: entry first + index[lane]. index[lane] += step where the spin is up.
  void draw(size_t first, uint32_t step, const uint32_t* word, uint32_t* index, float* spin, double* log_q) const;
  void score(size_t first, uint32_t step, const float* spin, uint32_t* index, double* log_q) const;
  void logits(size_t first, const uint32_t* index, float* logit) const;

 private:
  struct LogQ {
    double down, up;
  };
  // Low half: floor(sigma(-|logit|) 2^32), the draw's threshold; bit 32: the majority is up.
  std::vector<uint64_t> rules_;
  std::vector<LogQ> log_q_;
};

}  // namespace vanfast::cpu
