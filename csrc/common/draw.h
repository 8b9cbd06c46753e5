// The draw rule and its logarithm, the twin of vanfast/random.py: for a logit x = ln q(+1) - ln q(-1) and a random word
// the spin is sign(x) (+ at 0), or its opposite iff word < floor(sigma(-|x|) 2^32), and ln q = ln sigma(spin x).
#pragma once

#include <cmath>
#include <cstdint>

#include "common/philox.h"  // VANFAST_HOST_DEVICE

namespace vanfast {

// Whether the spin is up. The rarer spin is compared with its own small probability: exact in both tails.
VANFAST_HOST_DEVICE inline bool draw_spin(float logit, uint32_t word) {
  const float e = expf(-fabsf(logit));
  const uint32_t threshold = static_cast<uint32_t>(e / (1.0f + e) * 4294967296.0f);  // at most 2^31
  return (logit >= 0.0f) != (word < threshold);
}

// ln sigma(x) for a spin up, ln sigma(-x) for a spin down.
VANFAST_HOST_DEVICE inline double log_sigmoid_term(float logit, bool up) {
  const float a = fabsf(logit);
  const double common = static_cast<double>(log1pf(expf(-a)));
  return (logit >= 0.0f) == up ? -common : -(common + static_cast<double>(a));
}

}  // namespace vanfast
