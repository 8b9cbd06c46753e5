// Sites of q states in terms of simd.inl: drawing, scoring and differentiating a categorical conditional. Included once
// per instruction set, inside that set's namespace. The draw rule is that of common/draw_state.h.

// One vector of lanes: the largest logit, the last state that has it, and e_k = exp(x_k - top) summed over the others.
struct Softmax {
  vf top, majority, others;
};

// e[k] is 0 for the majority, whose own is 1.
static inline Softmax softmax(const float* logits, int states, vf* e) {
  Softmax s{load(logits), vf{}, vf{}};
  for (int k = 1; k < states; ++k) {
    const vf x = load(logits + k * kLanes);
    s.majority = x >= s.top ? splat(static_cast<float>(k)) : s.majority;
    s.top = x >= s.top ? x : s.top;
  }
  for (int k = 0; k < states; ++k) {
    const vf share = exp_negative(load(logits + k * kLanes) - s.top);
    e[k] = s.majority == splat(static_cast<float>(k)) ? vf{} : share;
    s.others += e[k];
  }
  return s;
}

// ln(1 + r) for 0 <= r < 2^23: beyond 1 the exponent of 1 + r is taken out.
static inline vf log1p_positive(vf r) {
  const vu bits = reinterpret_cast<vu>(1.0f + r);
  const vf exponent = __builtin_convertvector(reinterpret_cast<vi>(bits >> 23) - 127, vf);
  const vf mantissa = reinterpret_cast<vf>((bits & 0x007fffffu) | 0x3f800000u) - 1.0f;
  const vf part = log1p_unit(r > 1.0f ? mantissa : r);
  return r > 1.0f ? fused(exponent, splat(0.693147181f), part) : part;
}

static void draw_states(const float* logits, int states, const uint32_t* words, float* state, double* log_q) {
  alignas(64) float term[kLanes];
  vf e[kMostStates];
  for (int v = 0; v < kLanes; v += kWidth) {
    const Softmax s = softmax(logits + v, states, e);
    const vu word = load_bits(words + v);
    vf drawn = s.majority, gap = {};
    vu below = {};
    for (int k = 0; k < states; ++k) {
      const vf part = e[k] / (1.0f + s.others) * 4294967296.0f;
      const vu share = reinterpret_cast<vu>(truncate(part));  // at most 2^31, see draw
      drawn = word - below < share ? splat(static_cast<float>(k)) : drawn;
      gap = word - below < share ? s.top - load(logits + k * kLanes + v) : gap;
      below += share;
    }
    store(state + v, drawn);
    store(term + v, log1p_positive(s.others) + gap);
  }
  for (int i = 0; i < kLanes; ++i) log_q[i] -= static_cast<double>(term[i]);
}

static void score_states(const float* logits, int states, const float* state, double* log_q) {
  alignas(64) float term[kLanes];
  vf e[kMostStates];
  for (int v = 0; v < kLanes; v += kWidth) {
    const Softmax s = softmax(logits + v, states, e);
    const vf given = load(state + v);
    vf gap = {};
    for (int k = 0; k < states; ++k)
      gap = given == splat(static_cast<float>(k)) ? s.top - load(logits + k * kLanes + v) : gap;
    store(term + v, log1p_positive(s.others) + gap);
  }
  for (int i = 0; i < kLanes; ++i) log_q[i] -= static_cast<double>(term[i]);
}

static void one_hot(const float* state, int states, int sites, float* out) {
  for (int site = 0; site < sites; ++site)
    for (int k = 0; k < states; ++k)
      for (int v = 0; v < kLanes; v += kWidth) {
        const vf given = load(state + site * kLanes + v);
        store(out + (ptrdiff_t(site) * states + k) * kLanes + v,
              given == splat(static_cast<float>(k)) ? splat(1.0f) : vf{});
      }
}

// weight ([k = state] - p_k). Where the majority was drawn, 1 - p is the sum of the others: exact also if that is
// small.
static void state_gradient(const float* logits, int states, const float* state, const float* weight, int sites,
                           float* out) {
  vf e[kMostStates];
  for (int site = 0; site < sites; ++site)
    for (int v = 0; v < kLanes; v += kWidth) {
      const ptrdiff_t at = ptrdiff_t(site) * states * kLanes + v;
      const Softmax s = softmax(logits + at, states, e);
      const vf given = load(state + site * kLanes + v), w = load(weight + v), norm = 1.0f + s.others;
      for (int k = 0; k < states; ++k) {
        const vf here = splat(static_cast<float>(k));
        const vf p = (s.majority == here ? splat(1.0f) : e[k]) / norm;
        const vf missed = s.majority == here ? s.others / norm : 1.0f - p;
        store(out + at + k * kLanes, w * (given == here ? missed : -p));
      }
    }
}
