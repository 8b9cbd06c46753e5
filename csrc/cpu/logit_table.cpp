#include "cpu/logit_table.h"

#include <cmath>

namespace vanfast::cpu {

void LogitTable::set(size_t entry, double logit) {
  const double a = std::fabs(logit), e = std::exp(-a), minority = e / (1.0 + e) * 4294967296.0;
  thresholds_[entry] = minority >= 0.0 ? static_cast<uint32_t>(minority) : 0u;  // not a number: never
  terms_[entry] = {-std::log1p(e), logit};
}

void LogitTable::draw(size_t first, uint32_t step, const uint32_t* word, uint32_t* index, float* spin,
                      double* log_q) const {
  const uint32_t* thresholds = thresholds_.data() + first;
  const Terms* terms = terms_.data() + first;
  for (int lane = 0; lane < kLanes; ++lane) {
    const uint32_t at = index[lane];
    const auto [majority, logit] = terms[at];
    const bool minority = word[lane] < thresholds[at];
    const uint32_t up = minority == (logit < 0.0);
    log_q[lane] += majority - (minority ? std::fabs(logit) : 0.0);
    spin[lane] = static_cast<float>(2 * static_cast<int>(up) - 1);
    index[lane] = at + (step & (0u - up));
  }
}

void LogitTable::score(size_t first, uint32_t step, const float* spin, uint32_t* index, double* log_q) const {
  const Terms* terms = terms_.data() + first;
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto [majority, logit] = terms[index[lane]];
    const uint32_t up = spin[lane] > 0.0f;
    log_q[lane] += majority - (up == (logit < 0.0) ? std::fabs(logit) : 0.0);
    index[lane] += step & (0u - up);
  }
}

void LogitTable::logits(size_t first, const uint32_t* index, float* logit) const {
  for (int lane = 0; lane < kLanes; ++lane) logit[lane] = static_cast<float>(terms_[first + index[lane]].logit);
}

}  // namespace vanfast::cpu
