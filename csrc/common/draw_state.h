// The draw rule of a site of q states, the twin of vanfast/random.py and of the vectors in csrc/cpu/states.inl.
//
// With logits x_k the majority is the last state of the largest logit, x_m, and every other state owns floor(p_k 2^32)
// words, p_k = exp(x_k - x_m) / (1 + sum_{j != m} exp(x_j - x_m)). Their shares lie one behind the other from word 0 in
// ascending order of k, and the majority owns what is left. Every rare state is thus compared with its own small
// probability, whichever state it is, and for q = 2 the rule is that of common/draw.h with the logit x_1 - x_0.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/philox.h"  // VANFAST_HOST_DEVICE

namespace vanfast {

constexpr int kMostStates = 127;  // states are int8

// The state drawn for logits[k * stride], k < states, states >= 2. Shares are at most 2^31 each and never more than
// 2^32 in all: that of the majority, at least 1 / q, is larger than all roundings.
VANFAST_HOST_DEVICE inline int draw_state(const float* logits, int states, int stride, uint32_t word) {
  int majority = 0;
  for (int k = 1; k < states; ++k)
    if (logits[k * stride] >= logits[majority * stride]) majority = k;
  const float top = logits[majority * stride];
  float others = 0.0f;
  for (int k = 0; k < states; ++k)
    if (k != majority) others += expf(logits[k * stride] - top);
  uint32_t below = 0;
  for (int k = 0; k < states; ++k) {
    if (k == majority) continue;
    const uint32_t share = static_cast<uint32_t>(expf(logits[k * stride] - top) / (1.0f + others) * 4294967296.0f);
    if (word - below < share) return k;  // a word below the share wraps around, beyond every share
    below += share;
  }
  return majority;
}

}  // namespace vanfast
