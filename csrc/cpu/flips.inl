// Changes of single sites in a masked stack in terms of simd.inl, kernels.inl and nest.inl; see FlipKernels in
// kernels.h.

static void flip_input(const float* z, const float* column, const float* change, const float* slope, int units,
                       float* next, float* difference) {
  vf x[kVectors];
  for (int n = 0; n < kVectors; ++n) x[n] = load(change + n * kWidth);
  for (int u = 0; u < units; ++u) {
    const vf w = splat(column[u]);
    for (int n = 0; n < kVectors; ++n) {
      const int at = u * kLanes + n * kWidth;
      const vf before = load(z + at), after = fused(w, x[n], before);
      store(next + at, after);
      if (difference) {
        const vf a = splat(slope ? slope[u] : 1.0f);
        store(difference + at, prelu(after, a) - prelu(before, a));
      }
    }
  }
}

static void add_panel(const Word* a, int rows, int words, const Word* b, const float* z, float* next) {
  panel<Fp32Step>(a, rows, words, b, z, next);
}

static void activation_difference(const float* z, const float* next, const float* slope, int units, float* difference) {
  for (int u = 0; u < units; ++u) {
    const vf a = splat(slope ? slope[u] : 1.0f);
    for (int v = 0; v < kLanes; v += kWidth) {
      const int at = u * kLanes + v;
      store(difference + at, prelu(load(next + at), a) - prelu(load(z + at), a));
    }
  }
}

// Sums of eight sites in float, which hold seven digits of some nats; those of all sites in double.
static void sum_scores(const float* logit, const float* spin, int sites, double* sums) {
  alignas(64) float few[kLanes];
  for (int first = 0; first < sites; first += 8) {
    const int end = first + 8 < sites ? first + 8 : sites;
    vf sum[kVectors] = {};
    for (int p = first; p < end; ++p)
      for (int n = 0; n < kVectors; ++n) {
        const int at = p * kLanes + n * kWidth;
        sum[n] += table_log_sigmoid(load(logit + at) * load(spin + at));
      }
    for (int n = 0; n < kVectors; ++n) store(few + n * kWidth, sum[n]);
    for (int i = 0; i < kLanes; ++i) sums[i] += static_cast<double>(few[i]);
  }
}

// ln q = x_state - top - ln sum_k exp(x_k - top). The sums of eight sites, from 1 to q each, are multiplied before the
// logarithm is taken.
template <int Q>
static void sum_state_scores_of(const float* logits, int states, const float* state, int sites, double* sums) {
  const int q = Q ? Q : states;
  alignas(64) float few[kLanes];
  for (int first = 0; first < sites; first += 8) {
    const int end = first + 8 < sites ? first + 8 : sites;
    for (int v = 0; v < kLanes; v += kWidth) {
      vf product = splat(1.0f), gap = {};
      for (int p = first; p < end; ++p) {
        const float* x = logits + ptrdiff_t(p) * q * kLanes + v;
        const vf given = load(state + p * kLanes + v);
        vf top = load(x), own = top, sum = {};
        for (int k = 1; k < q; ++k) {
          const vf y = load(x + k * kLanes);
          top = y > top ? y : top;
          own = given == splat(static_cast<float>(k)) ? y : own;
        }
        for (int k = 0; k < q; ++k) sum += exp_negative(load(x + k * kLanes) - top);
        product *= sum;
        gap += own - top;
      }
      store(few + v, gap - log1p_positive(product - 1.0f));
    }
    for (int i = 0; i < kLanes; ++i) sums[i] += static_cast<double>(few[i]);
  }
}

static void sum_state_scores(const float* logits, int states, const float* state, int sites, double* sums) {
  switch (states) {
    case 3:
      return sum_state_scores_of<3>(logits, states, state, sites, sums);
    case 5:
      return sum_state_scores_of<5>(logits, states, state, sites, sums);
    default:
      return sum_state_scores_of<0>(logits, states, state, sites, sums);
  }
}

static void take(uint32_t mask, const float* next, int units, float* z) {
  vu lane{};
  for (int i = 0; i < kWidth; ++i) lane[i] = i;
  vu all[kVectors];
  for (int n = 0; n < kVectors; ++n)
    all[n] = reinterpret_cast<vu>(((mask + vu{}) >> (lane + static_cast<uint32_t>(n * kWidth)) & 1u) != 0u);
  for (int u = 0; u < units; ++u)
    for (int n = 0; n < kVectors; ++n) {
      const int at = u * kLanes + n * kWidth;
      store(z + at, all[n] ? load(next + at) : load(z + at));
    }
}

static void walker_words(uint64_t seed, const uint32_t* low, const uint32_t* high, uint64_t block, uint32_t stream,
                         uint32_t* out) {
  for (int v = 0; v < kLanes; v += kWidth) {
    vu c0 = load_bits(low + v), c1 = load_bits(high + v), c2 = static_cast<uint32_t>(block) + vu{}, c3 = stream + vu{};
    philox_rounds(seed, c0, c1, c2, c3);
    store_bits(out + v, c0);
    store_bits(out + kLanes + v, c1);
    store_bits(out + 2 * kLanes + v, c2);
    store_bits(out + 3 * kLanes + v, c3);
  }
}

// Metropolis: turn with probability kTries min(1, exp(gain)), to 31 binary digits. Heat bath: the spin becomes the sign
// of x = -gain spin, the logit of +1, or with probability sigma(-|x|) its opposite (the draw rule).
static uint32_t decide(const float* gain, const float* spin, const uint32_t* words, bool heat_bath, int32_t* turned) {
  uint32_t mask = 0;
  for (int v = 0; v < kLanes; v += kWidth) {
    const vf g = load(gain + v);
    const vu word = load_bits(words + v);
    vu turn;
    if (heat_bath) {
      const vf x = -g * load(spin + v), e = exp_negative(-magnitude(x));
      const vu minority = reinterpret_cast<vu>(word < reinterpret_cast<vu>(truncate(e / (1.0f + e) * 4294967296.0f)));
      turn = reinterpret_cast<vu>(x < 0.0f) ^ minority ^ reinterpret_cast<vu>(load(spin + v) < 0.0f);
    } else {
      const vf e = exp_negative(g < 0.0f ? g : vf{});
      turn = reinterpret_cast<vu>((word >> 1) <
                                  reinterpret_cast<vu>(truncate(e * static_cast<float>(kTries * 2147483648.0))));
    }
    uint32_t* count = reinterpret_cast<uint32_t*>(turned) + v;
    store_bits(count, load_bits(count) - turn);
    mask |= sign_bits(reinterpret_cast<vf>(turn)) << v;
  }
  return mask;
}

static void other_states(const float* state, int states, const uint32_t* words, float* proposed, uint32_t* rest) {
  const float q = static_cast<float>(states);
  for (int v = 0; v < kLanes; v += kWidth) {
    const WidePair product = multiply_wide(load_bits(words + v), static_cast<uint32_t>(states - 1));
    const vf k = load(state + v) + 1.0f + __builtin_convertvector(reinterpret_cast<vi>(product.high), vf);
    store(proposed + v, k >= q ? k - q : k);
    store_bits(rest + v, product.low);
  }
}

static constexpr FlipKernels kFlips = {flip_input,   add_panel,        activation_difference,
                                       sum_scores,   sum_state_scores, take,
                                       walker_words, decide,           other_states};
