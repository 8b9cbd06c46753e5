#include "cpu/logit_table.h"

#include <cmath>

namespace vanfast::cpu {

void LogitTable::set(size_t entry, double logit) {
  const double a = std::fabs(logit), e = std::exp(-a), minority = e / (1.0 + e) * 4294967296.0;
  const uint64_t threshold = minority >= 0.0 ? static_cast<uint64_t>(minority) : 0u;  // not a number: never
  rules_[entry] = threshold | uint64_t(!(logit < 0.0)) << 32;
  const double likely = -std::log1p(e), rare = likely - a;
  log_q_[entry] = logit < 0.0 ? LogQ{likely, rare} : LogQ{rare, likely};
}

// No branches: outcomes are as good as random.
void LogitTable::draw(size_t first, uint32_t step, const uint32_t* word, uint32_t* index, float* spin,
                      double* log_q) const {
  const uint64_t* rules = rules_.data() + first;
  const double* terms = &log_q_[first].down;
  for (int lane = 0; lane < kLanes; ++lane) {
    const uint32_t at = index[lane];
    const uint64_t rule = rules[at];
    const uint32_t up = static_cast<uint32_t>(word[lane] < static_cast<uint32_t>(rule)) ^ uint32_t(rule >> 32);
    log_q[lane] += terms[2 * size_t(at) + up];
    spin[lane] = static_cast<float>(2 * static_cast<int>(up) - 1);
    index[lane] = at + step * up;
  }
}

void LogitTable::score(size_t first, uint32_t step, const float* spin, uint32_t* index, double* log_q) const {
  const double* terms = &log_q_[first].down;
  for (int lane = 0; lane < kLanes; ++lane) {
    const uint32_t at = index[lane], up = spin[lane] > 0.0f;
    log_q[lane] += terms[2 * size_t(at) + up];
    index[lane] = at + step * up;
  }
}

void LogitTable::logits(size_t first, const uint32_t* index, float* logit) const {
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto [down, up] = log_q_[first + index[lane]];
    logit[lane] = static_cast<float>(up - down);
  }
}

}  // namespace vanfast::cpu
