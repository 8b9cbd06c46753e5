// The star prior in terms of simd.inl; included once per instruction set, inside that set's namespace, which gives
// minimum(a, b) besides.
//
//   2 artanh(tanh a tanh b) = sign(ab) ln[(1 + A E) / (A + E)],   A = exp(-2 |a|), E = exp(-2 |b|)
//
// Numerators and denominators of a run of pairs are multiplied, so that a run takes one logarithm and two divisions and
// a pair one exponential. Denominators are at least the product of the A: a run of kStarRun weak pairs underflows not.

// 2^-|w|, relative error below 1e-7, 1 at 0; beyond 125 it stays at 2^-125.
static inline vf star_exponential(vf w) {
  const vf x = minimum(magnitude(w), splat(125.0f)), shifted = 12582912.0f - x;  // low bits: round(-x), see simd.inl
  const vf r = (12582912.0f - shifted) - x;
  vf p = fused(splat(0.000153533620f), r, splat(0.00133988739f));
  p = fused(p, r, splat(0.00961843692f));
  p = fused(p, r, splat(0.0555033237f));
  p = fused(p, r, splat(0.240226477f));
  p = fused(p, r, splat(0.693147182f));
  p = fused(p, r, splat(1.0f));
  return reinterpret_cast<vf>(reinterpret_cast<vi>(p) + (reinterpret_cast<vi>(shifted) << 23));
}

// ln(n / d) of positive numbers, exactly odd when they change places.
static inline vf star_log(vf n, vf d) {
  const vf low = minimum(n, d), ratio = (n < d ? d : n) / low;
  const vi shifted =
      reinterpret_cast<vi>(ratio) - 0x3f3504f3;  // by 1 / sqrt 2, so that the rest is in [it, its double)
  const vf k = __builtin_convertvector(shifted >> 23, vf);
  const vf m = reinterpret_cast<vf>((shifted & 0x007fffff) + 0x3f3504f3);
  const vf log_m = twice_artanh((m - 1.0f) / (m + 1.0f));
  const vf out = fused(k, splat(0.693359375f), fused(k, splat(-2.12194440e-4f), log_m));
  return reinterpret_cast<vf>(reinterpret_cast<vu>(out) ^ (reinterpret_cast<vu>(n < d) & 0x80000000u));
}

// A pair of any strength: 2 min(|a|, |b|) - ln(1 + n / d), n = e - e', d = 1 + e', e = exp(-2 ||a| - |b||), e' =
// exp(-2 (|a| + |b|)), ln(1 + n / d) = 2 artanh(n / (2 d + n)). No tail is cut, however large a and b are.
static inline vf star_strong_pair(vf a, vf b) {
  const vf x = magnitude(a), y = magnitude(b);
  const vf near = exp_negative(-2.0f * magnitude(x - y)), far = exp_negative(-2.0f * (x + y));
  const vf n = near - far, low = twice_artanh(n / fused(splat(2.0f), far, n + 2.0f));
  const vf out = fused(splat(2.0f), minimum(x, y), -low);
  return reinterpret_cast<vf>(reinterpret_cast<vu>(out) ^
                              ((reinterpret_cast<vu>(a) ^ reinterpret_cast<vu>(b)) & 0x80000000u));
}

// Two vectors of lanes at a time.
static void star_logit(const StarRow& row, const float* fields, float* logit) {
  constexpr int V = 2;
  constexpr float kUnit = 0.346573590f;  // fields and couplings count in ln 2 / 2
  for (int v = 0; v < kLanes; v += V * kWidth) {
    vf total[V] = {};
    for (int first = 0; first < row.weak; first += kStarRun) {
      const int end = first + kStarRun < row.weak ? first + kStarRun : row.weak;
      vf numerator[V], denominator[V];
      for (int n = 0; n < V; ++n) numerator[n] = denominator[n] = splat(1.0f);
      for (int k = first; k < end; ++k) {
        const vf share = splat(row.shares[k]), a = magnitude(share);
        const float* w = fields + ptrdiff_t(row.later[k]) * kLanes + v;
#pragma GCC unroll 2
        for (int n = 0; n < V; ++n) {
          const vf b = load(w + n * kWidth), e = star_exponential(b);
          const vf with = fused(a, e, splat(1.0f)), against = a + e;
          const vi opposite = reinterpret_cast<vi>(reinterpret_cast<vu>(share) ^ reinterpret_cast<vu>(b)) < 0;
          numerator[n] *= opposite ? against : with;
          denominator[n] *= opposite ? with : against;
        }
      }
      for (int n = 0; n < V; ++n) total[n] += star_log(numerator[n], denominator[n]);
    }
    for (int k = row.weak; k < row.pairs; ++k) {
      const float* w = fields + ptrdiff_t(row.later[k]) * kLanes + v;
      for (int n = 0; n < V; ++n)
        total[n] += star_strong_pair(splat(kUnit * row.couplings[k]), kUnit * load(w + n * kWidth));
    }
    for (int n = 0; n < V; ++n) {
      const int at = v + n * kWidth;
      const vf own = load(fields + ptrdiff_t(row.site) * kLanes + at);
      store(logit + at, load(logit + at) + fused(splat(2.0f * kUnit), own, total[n]));
    }
  }
}

static void star_update(const StarRow& row, const float* spin, float* fields) {
  vf x[kVectors];
  for (int n = 0; n < kVectors; ++n) x[n] = load(spin + n * kWidth);
  for (int k = 0; k < row.pairs; ++k) {
    float* field = fields + ptrdiff_t(row.later[k]) * kLanes;
    const vf a = splat(row.couplings[k]);
    for (int n = 0; n < kVectors; ++n) store(field + n * kWidth, fused(a, x[n], load(field + n * kWidth)));
  }
}
