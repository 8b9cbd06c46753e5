// Inner loops in terms of simd.inl; included once per instruction set, inside that set's namespace.

// ---- random words -------------------------------------------------------------------------------------------------

#include "cpu/philox.inl"

static void words(uint64_t seed, uint64_t first_sample, uint32_t block, uint32_t stream, uint32_t* out) {
  vu lane{};
  for (int i = 0; i < kWidth; ++i) lane[i] = i;
  for (int v = 0; v < kVectors; ++v) {
    // first_sample is a multiple of kLanes, so the low half never carries inside a group
    vu c0 = lane + static_cast<uint32_t>(first_sample) + static_cast<uint32_t>(v * kWidth);
    vu c1 = static_cast<uint32_t>(first_sample >> 32) + vu{}, c2 = block + vu{}, c3 = stream + vu{};
    philox_rounds(seed, c0, c1, c2, c3);
    uint32_t* p = out + v * kWidth;
    store_bits(p, c0);
    store_bits(p + kLanes, c1);
    store_bits(p + 2 * kLanes, c2);
    store_bits(p + 3 * kLanes, c3);
  }
}

// ---- drawing ------------------------------------------------------------------------------------------------------

static void draw(const float* logit, const uint32_t* word, float* spin, double* log_q) {
  alignas(64) float term[kLanes];
  for (int v = 0; v < kLanes; v += kWidth) {
    const vf x = load(logit + v), a = magnitude(x), e = exp_negative(-a);
    const vf minority = e / (1.0f + e) * 4294967296.0f;  // sigma(-|x|) 2^32 <= 2^31
    // 2^31 overflows int32 to 0x80000000, which read as unsigned is 2^31 again
    const vu threshold = reinterpret_cast<vu>(truncate(minority));
    const vi is_minority = reinterpret_cast<vi>(load_bits(word + v) < threshold);
    const vu sign = (reinterpret_cast<vu>(x < 0.0f) ^ reinterpret_cast<vu>(is_minority)) & 0x80000000u;
    store(spin + v, reinterpret_cast<vf>(sign | reinterpret_cast<vu>(splat(1.0f))));
    const vf extra = reinterpret_cast<vf>(is_minority & reinterpret_cast<vi>(a));
    store(term + v, log1p_unit(e) + extra);
  }
  for (int i = 0; i < kLanes; ++i) log_q[i] -= static_cast<double>(term[i]);
}

static void signs(const float* spins, int units, uint32_t* masks) {
  for (int u = 0; u < units; ++u) {
    uint32_t mask = 0;
    for (int v = 0; v < kLanes; v += kWidth) mask |= sign_bits(load(spins + u * kLanes + v)) << v;
    masks[u] = mask;
  }
}

static void score(const float* logit, const float* spin, double* log_q) {
  alignas(64) float term[kLanes];
  for (int v = 0; v < kLanes; v += kWidth) {
    const vf x = load(logit + v), a = magnitude(x), e = exp_negative(-a);
    const vu negative_x = reinterpret_cast<vu>(x < 0.0f) & 0x80000000u;  // -0.0 counts as +, as in draw
    const vu differs = (negative_x ^ reinterpret_cast<vu>(load(spin + v))) & 0x80000000u;
    const vf extra = reinterpret_cast<vf>(reinterpret_cast<vu>(differs != 0u) & reinterpret_cast<vu>(a));
    store(term + v, log1p_unit(e) + extra);
  }
  for (int i = 0; i < kLanes; ++i) log_q[i] -= static_cast<double>(term[i]);
}

// ---- mixtures -----------------------------------------------------------------------------------------------------

// ln sigma(x)
static inline vf log_sigmoid(vf x) { return (x < 0.0f ? x : vf{}) - log1p_unit(exp_negative(-magnitude(x))); }

static void mixture_logit(const float* log_weight, const float* x, int components, float* logit) {
  for (int v = 0; v < kLanes; v += kWidth) {
    vf top = load(log_weight + v);
    for (int k = 1; k < components; ++k) {
      const vf w = load(log_weight + k * kLanes + v);
      top = w > top ? w : top;
    }
    if (components == 1) {  // the logit itself, without a detour through exponentials
      store(logit + v, splat(x[0]));
      continue;
    }
    // each component's weight is split between up and down; the larger share first, so that no tail is lost
    vf up = splat(-1e30f), down = up;
    for (int k = 0; k < components; ++k) {
      const vf w = load(log_weight + k * kLanes + v) - top, xk = splat(x[k]);
      const vf u = w + log_sigmoid(xk), d = w + log_sigmoid(-xk);
      const vf top_up = u > up ? u : up, top_down = d > down ? d : down;
      up = top_up + log1p_unit(exp_negative(-magnitude(u - up)));
      down = top_down + log1p_unit(exp_negative(-magnitude(d - down)));
    }
    store(logit + v, up - down);
  }
}

static void mixture_update(float* log_weight, const float* x, int components, const float* spin) {
  if (components == 1) return;
  for (int k = 0; k < components; ++k)
    for (int v = 0; v < kLanes; v += kWidth) {
      float* w = log_weight + k * kLanes + v;
      store(w, load(w) + log_sigmoid(load(spin + v) * x[k]));
    }
  // only differences matter: keep the largest at zero
  for (int v = 0; v < kLanes; v += kWidth) {
    vf top = load(log_weight + v);
    for (int k = 1; k < components; ++k) {
      const vf w = load(log_weight + k * kLanes + v);
      top = w > top ? w : top;
    }
    for (int k = 0; k < components; ++k) {
      float* w = log_weight + k * kLanes + v;
      store(w, load(w) - top);
    }
  }
}

// ---- activations --------------------------------------------------------------------------------------------------

static inline vf prelu(vf z, vf slope) { return z < 0.0f ? z * slope : z; }

static void activate_fp32(const float* in, const float* slope, int units, Word* out) {
  float* to = reinterpret_cast<float*>(out);
  for (int u = 0; u < units; ++u) {
    const vf a = splat(slope ? slope[u] : 1.0f);
    for (int v = 0; v < kLanes; v += kWidth) store(to + u * kLanes + v, prelu(load(in + u * kLanes + v), a));
  }
}

static void activate_rounded(const float* in, const float* slope, int units, Word* out) {
  float* to = reinterpret_cast<float*>(out);
  for (int u = 0; u < units; ++u) {
    const vf a = splat(slope ? slope[u] : 1.0f);
    for (int v = 0; v < kLanes; v += kWidth)
      store(to + u * kLanes + v, round_bf16(prelu(load(in + u * kLanes + v), a)));
  }
}

// Pairs of units in one word, the first in the low half, zero-padded to `Align` units.
template <int Align>
static void activate_pairs(const float* in, const float* slope, int units, Word* out) {
  const int padded = (units + Align - 1) / Align * Align;
  for (int u = 0; u < padded; u += 2)
    for (int v = 0; v < kLanes; v += kWidth) {
      vu word = {};
      if (u < units)
        word = reinterpret_cast<vu>(round_bf16(prelu(load(in + u * kLanes + v), splat(slope ? slope[u] : 1.0f)))) >> 16;
      if (u + 1 < units)
        word |= reinterpret_cast<vu>(
            round_bf16(prelu(load(in + (u + 1) * kLanes + v), splat(slope ? slope[u + 1] : 1.0f))));
      store_bits(out + u / 2 * kLanes + v, word);
    }
}

// ---- backward -----------------------------------------------------------------------------------------------------

static inline float across(vf v) {
  float sum = 0.0f;
  for (int i = 0; i < kWidth; ++i) sum += v[i];
  return sum;
}

static void logit_gradient(const float* logit, const float* spin, const float* weight, int units, float* out) {
  for (int u = 0; u < units; ++u)
    for (int v = 0; v < kLanes; v += kWidth) {
      const vf s = load(spin + u * kLanes + v), t = -s * load(logit + u * kLanes + v), e = exp_negative(-magnitude(t));
      const vf share = (t < 0.0f ? e : splat(1.0f)) / (1.0f + e);  // sigma(t), exact in both tails
      store(out + u * kLanes + v, load(weight + v) * s * share);
    }
}

static void activate_backward(const float* z, const float* slope, int units, float* grad, float* slope_grad) {
  for (int u = 0; u < units; ++u) {
    vf sum = {};
    for (int v = 0; v < kLanes; v += kWidth) {
      const vf x = load(z + u * kLanes + v), g = load(grad + u * kLanes + v);
      sum += x < 0.0f ? g * x : vf{};
      store(grad + u * kLanes + v, x < 0.0f ? g * slope[u] : g);
    }
    slope_grad[u] += across(sum);
  }
}

static void sum_lanes(const float* g, int units, float* sums) {
  for (int u = 0; u < units; ++u) {
    vf sum = {};
    for (int v = 0; v < kLanes; v += kWidth) sum += load(g + u * kLanes + v);
    sums[u] += across(sum);
  }
}

template <int R>
static inline void correlate_rows(const float* many, const float* one, int units, int sites, float* sums) {
  vf acc[R] = {};
  for (int site = 0; site < sites; ++site)
    for (int v = 0; v < kLanes; v += kWidth) {
      const vf x = load(one + site * kLanes + v);
      for (int r = 0; r < R; ++r) acc[r] = fused(load(many + (ptrdiff_t(site) * units + r) * kLanes + v), x, acc[r]);
    }
  for (int r = 0; r < R; ++r) sums[r] += across(acc[r]);
}

static void correlate(const float* many, const float* one, int units, int sites, float* sums) {
  int u = 0;
  for (; u + 8 <= units; u += 8) correlate_rows<8>(many + u * kLanes, one, units, sites, sums + u);
  for (; u < units; ++u) correlate_rows<1>(many + u * kLanes, one, units, sites, sums + u);
}

// ---- matrix product -----------------------------------------------------------------------------------------------

struct Fp32Step {  // one word column: acc + w b
  static inline vf weight(Word w) {
    float f;
    __builtin_memcpy(&f, &w, 4);
    return splat(f);
  }
  static inline vf apply(vf acc, vf w, vf b) { return fused(w, b, acc); }
};

// c[R][Vectors * kWidth] = from + panel columns times b, with R V independent sums in registers. Products with few rows
// would wait for each sum's latency, so there each sum is split in Chains by k mod Chains and joined in fixed order.
template <class Step, int R, int V, int Chains>
static inline void micro(const Word* a, int words, const Word* b, const float* from, float* c) {
  vf acc[Chains][R][V] = {};
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) acc[0][r][v] = load(from + r * kLanes + v * kWidth);
  int k = 0;
  for (; k + Chains <= words; k += Chains)
#pragma GCC unroll 4
    for (int chain = 0; chain < Chains; ++chain) {
      vf x[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) x[v] = load(b + (k + chain) * kLanes + v * kWidth);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const vf w = Step::weight(a[(k + chain) * kPanelRows + r]);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[chain][r][v] = Step::apply(acc[chain][r][v], w, x[v]);
      }
    }
  for (; k < words; ++k)
    for (int r = 0; r < R; ++r) {
      const vf w = Step::weight(a[k * kPanelRows + r]);
      for (int v = 0; v < V; ++v) acc[0][r][v] = Step::apply(acc[0][r][v], w, load(b + k * kLanes + v * kWidth));
    }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      vf sum = acc[0][r][v];
      if (Chains == 2) sum += acc[1][r][v];
      if (Chains == 4) sum = (sum + acc[1][r][v]) + (acc[2 % Chains][r][v] + acc[3 % Chains][r][v]);
      store(c + r * kLanes + v * kWidth, sum);
    }
}

// Rows of one panel: at most kMicroRows at a time, two vectors wide.
template <class Step, int R, int Chains>
static inline void panel_rows(const Word* a, int words, const Word* b, const float* from, float* c) {
  constexpr int V = 2;
  for (int v = 0; v < kVectors; v += V) {
    const int at = v * kWidth;
    if constexpr (R > kMicroRows) {
      micro<Step, kMicroRows, V, Chains>(a, words, b + at, from + at, c + at);
      micro<Step, R - kMicroRows, V, Chains>(a + kMicroRows, words, b + at, from + kMicroRows * kLanes + at,
                                             c + kMicroRows * kLanes + at);
    } else {
      micro<Step, R, V, Chains>(a, words, b + at, from + at, c + at);
    }
  }
}

// Rows of a panel: the first `rows`, at most all of them.
template <class Step>
static inline void panel(const Word* a, int rows, int words, const Word* b, const float* from, float* c) {
  switch (rows) {
    case 1:
      panel_rows<Step, 1, 4>(a, words, b, from, c);
      break;
    case 2:
      panel_rows<Step, 2, 4>(a, words, b, from, c);
      break;
    case 3:
      panel_rows<Step, 3, 2>(a, words, b, from, c);
      break;
    case 4:
      panel_rows<Step, 4, 2>(a, words, b, from, c);
      break;
    case 5:
      panel_rows<Step, 5, 1>(a, words, b, from, c);
      break;
    case 6:
      panel_rows<Step, 6, 1>(a, words, b, from, c);
      break;
    case 7:
      panel_rows<Step, 7, 1>(a, words, b, from, c);
      break;
    default:
      panel_rows<Step, 8, 1>(a, words, b, from, c);
  }
}

template <class Step>
static void multiply(const Word* weights, int columns, int first, int rows, int words, const Word* b, float* c) {
  // a block of b must stay in the first-level cache while all panels pass over it
  constexpr int kBlock = 192;
  const int blocks = (words + kBlock - 1) / kBlock;
  for (int block = 0, k = 0; block < blocks; ++block) {
    const int n = (words - k + (blocks - block) - 1) / (blocks - block);
    const Word* x = b + ptrdiff_t(k) * kLanes;
    for (int row = 0; row < rows; row += kPanelRows) {
      const Word* a = weights + ptrdiff_t(row) * columns + ptrdiff_t(first + k) * kPanelRows;
      float* out = c + ptrdiff_t(row) * kLanes;
      panel<Step>(a, rows - row, n, x, out, out);
    }
    k += n;
  }
}

constexpr MatMul kFp32 = {false, false, false, 1, multiply<Fp32Step>, activate_fp32};
constexpr MatMul kRounded = {true, false, false, 1, multiply<Fp32Step>, activate_rounded};

#include "cpu/flips.inl"

constexpr Kernels table(const char* name, const MatMul* bf16) {
  return {name,           kFp32,          kRounded,          bf16,        words,       draw,          signs,
          score,          logit_gradient, activate_backward, sum_lanes,   correlate,   mixture_logit, mixture_update,
          nest_logit,     nest_gradient,  star_logit,        star_update, draw_states, score_states,  one_hot,
          state_gradient, kFlips};
}
