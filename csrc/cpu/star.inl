// The star prior in terms of simd.inl; included once per instruction set, inside that set's namespace, which gives
// minimum(a, b) besides.

// 2 artanh(tanh a tanh b) for size = |a| and sign = sign(a): 2 min(|a|, |b|) - ln(1 + n / d), n = e - e', d = 1 + e',
// e = exp(-2 ||a| - |b||), e' = exp(-2 (|a| + |b|)), and ln(1 + n / d) = 2 artanh(n / (2 d + n)), one division. The
// error is below 2e-7 of min(1, |a|, |b|) + 2 min(|a|, |b|), and the result exactly odd in a and in b.
static inline vf star_pair(vf size, vu sign, vf b) {
  const vf y = magnitude(b);
  const vf near = exp_negative(-2.0f * magnitude(size - y)), far = exp_negative(-2.0f * (size + y));
  const vf n = near - far, low = twice_artanh(n / fused(splat(2.0f), far, n + 2.0f));
  const vf out = fused(splat(2.0f), minimum(size, y), -low);
  return reinterpret_cast<vf>(reinterpret_cast<vu>(out) ^ sign ^ (reinterpret_cast<vu>(b) & 0x80000000u));
}

// Two vectors of lanes at a time; a sum of eight pairs before it joins the total, so that errors do not add up.
static void star_logit(const float* fields, int site, const int32_t* later, const float* couplings, int pairs,
                       float* logit) {
  constexpr int V = 2, kRun = 8;
  for (int v = 0; v < kLanes; v += V * kWidth) {
    vf total[V] = {};
    for (int first = 0; first < pairs; first += kRun) {
      const int end = first + kRun < pairs ? first + kRun : pairs;
      vf sum[V] = {};
      for (int k = first; k < end; ++k) {
        const vf a = splat(couplings[k]), size = magnitude(a);
        const vu sign = reinterpret_cast<vu>(a) & 0x80000000u;
        const float* b = fields + ptrdiff_t(later[k]) * kLanes + v;
        for (int n = 0; n < V; ++n) sum[n] += star_pair(size, sign, load(b + n * kWidth));
      }
      for (int n = 0; n < V; ++n) total[n] += sum[n];
    }
    for (int n = 0; n < V; ++n) {
      const int at = v + n * kWidth;
      const vf own = load(fields + ptrdiff_t(site) * kLanes + at);
      store(logit + at, load(logit + at) + fused(splat(2.0f), own, total[n]));
    }
  }
}

static void star_update(const float* spin, const int32_t* later, const float* couplings, int pairs, float* fields) {
  vf x[kVectors];
  for (int n = 0; n < kVectors; ++n) x[n] = load(spin + n * kWidth);
  for (int k = 0; k < pairs; ++k) {
    float* field = fields + ptrdiff_t(later[k]) * kLanes;
    const vf a = splat(couplings[k]);
    for (int n = 0; n < kVectors; ++n) store(field + n * kWidth, fused(a, x[n], load(field + n * kWidth)));
  }
}
