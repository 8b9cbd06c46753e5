// Nested log-sigmoids in terms of simd.inl; included once per instruction set, inside that set's namespace, which gives
// besides: minimum(a, b), b where either is not a number; capped_magnitude(x, cap), the cap where x is not a number;
// lookup(table of 16, index), by the index's four low bits; and reduce(v), the sum of a vector's entries.

struct LogSigmoid {
  vf value, slope;  // slope = d ln sigma(z) / dz = sigma(-z)
};

struct Piece {
  vu index;
  vf r;
};

static inline Piece log_sigmoid_piece(vf z) {
  const vf t = capped_magnitude(z, splat(kLogSigmoidEnd));
  const vu v = reinterpret_cast<vu>(fused(t, splat(1.0f / kLogSigmoidScale), splat(1.0f)));
  return {v >> 21, reinterpret_cast<vf>(v) - reinterpret_cast<vf>(v & 0xffe00000u)};
}

// ln sigma(z), see log_sigmoid.h; what is not a number stays so.
static inline vf table_log_sigmoid(vf z) {
  const auto [index, r] = log_sigmoid_piece(z);
  vf p = lookup(kLogSigmoid[5], index);
#pragma GCC unroll 5
  for (int d = 4; d >= 0; --d) p = fused(p, r, lookup(kLogSigmoid[d], index));
  return minimum(vf{}, z) + p;
}

static inline LogSigmoid log_sigmoid_with_slope(vf z) {
  const auto [index, r] = log_sigmoid_piece(z);
  vf p = lookup(kLogSigmoid[5], index), q = p;
#pragma GCC unroll 5
  for (int d = 4; d >= 0; --d) {
    p = fused(p, r, lookup(kLogSigmoid[d], index));
    if (d) q = fused(q, r, p);
  }
  // q = dp/dv; the derivative of the second term is odd in z
  const vu sign = reinterpret_cast<vu>(z) & 0x80000000u;
  const vf scale = reinterpret_cast<vf>(sign | reinterpret_cast<vu>(splat(1.0f / kLogSigmoidScale)));
  return {minimum(vf{}, z) + p, fused(q, scale, z < 0.0f ? splat(1.0f) : vf{})};
}

// Y of one branch: p = (weight_0, shift_0, ..., weight_k, shift_k, read-out)
template <int Levels>
static inline vf nest(const float* p, int levels, vf y) {
#pragma GCC unroll 4
  for (int j = 0; j < (Levels ? Levels : levels); ++j)
    y = table_log_sigmoid(fused(splat(p[2 * j]), y, splat(p[2 * j + 1])));
  return y;
}

// Two vectors of lanes at a time, so that a parameter is read once for both.
constexpr int kNestVectors = 2;

template <int Levels>
static void nest_logit_levels(const NestRow& row, const float* spin, float* u, float* logit) {
  const int levels = Levels ? Levels : row.levels, branch = nest_branch(levels);
  for (int v = 0; v < kLanes; v += kNestVectors * kWidth) {
    vf x[kNestVectors], sum[kNestVectors];
    for (int n = 0; n < kNestVectors; ++n) {
      const int at = v + n * kWidth;
      x[n] = load(spin + at);
      const vf own = fused(splat(row.coupling), x[n], load(u + ptrdiff_t(row.site) * kLanes + at));
      sum[n] = fused(splat(row.direct), own, splat(row.bias));
    }
    const float* p = row.parameters;
    for (int pair = 0; pair < row.pairs; ++pair, p += 1 + 2 * branch) {
      float* field = u + ptrdiff_t(row.later[pair]) * kLanes + v;
#pragma GCC unroll 2
      for (int n = 0; n < kNestVectors; ++n) {
        const vf y = fused(splat(p[0]), x[n], load(field + n * kWidth));
        store(field + n * kWidth, y);
        sum[n] = fused(splat(p[branch]), nest<Levels>(p + 1, levels, y), sum[n]);
        sum[n] = fused(splat(p[2 * branch]), nest<Levels>(p + 1 + branch, levels, y), sum[n]);
      }
    }
    for (int n = 0; n < kNestVectors; ++n) store(logit + v + n * kWidth, sum[n]);
  }
}

static void nest_logit(const NestRow& row, const float* spin, float* u, float* logit) {
  switch (row.levels) {
    case 1:
      return nest_logit_levels<1>(row, spin, u, logit);
    case 2:
      return nest_logit_levels<2>(row, spin, u, logit);
    case 3:
      return nest_logit_levels<3>(row, spin, u, logit);
    default:
      return nest_logit_levels<0>(row, spin, u, logit);
  }
}

// ---- backward -----------------------------------------------------------------------------------------------------

// One vector of one branch, as in h2arnn's chain rule: delta_k = g readout sigma(-z_k), delta_{j-1} = delta_j weight_j
// sigma(-z_{j-1}). Returns the gradient with respect to u.
template <int Levels>
static inline vf nest_backward(const float* p, int levels, vf g, vf u, vf* sums) {
  LogSigmoid y[Levels ? Levels : kMostLevels];
  vf in = u;
#pragma GCC unroll 4
  for (int j = 0; j < levels; ++j) {
    y[j] = log_sigmoid_with_slope(fused(splat(p[2 * j]), in, splat(p[2 * j + 1])));
    in = y[j].value;
  }
  sums[2 * levels] = fused(g, in, sums[2 * levels]);
  vf delta = g * splat(p[2 * levels]);
#pragma GCC unroll 4
  for (int j = levels - 1; j >= 0; --j) {
    delta *= y[j].slope;
    sums[2 * j + 1] += delta;
    sums[2 * j] = fused(delta, j ? y[j - 1].value : u, sums[2 * j]);
    delta *= splat(p[2 * j]);
  }
  return delta;
}

// One branch of one pair, all groups. The second branch takes the spin of the site before out of the field.
template <int Levels, bool Fields>
static inline void nest_branch_gradient(const NestRow& row, int pair, int which, int groups, const NestBackward* group,
                                        float* sums) {
  const int levels = Levels ? Levels : row.levels, branch = nest_branch(levels);
  const float* record = row.parameters + ptrdiff_t(pair) * nest_stride(levels);
  const float* p = record + 1 + which * branch;
  const ptrdiff_t field = ptrdiff_t(row.later[pair]) * kLanes;
  vf sum[Levels ? 2 * Levels + 1 : 2 * kMostLevels + 1], coupling = {};
  for (int j = 0; j < branch; ++j) sum[j] = vf{};
  for (int g = 0; g < groups; ++g)
    for (int v = 0; v < kLanes; v += kWidth) {
      float* at = group[g].u + field + v;
      const vf u = load(at), x = load(group[g].spin + v);
      const vf delta = nest_backward<Levels>(p, levels, load(group[g].gradient + v), u, sum);
      if (which) store(at, fused(splat(-record[0]), x, u));
      if (Fields) {
        float* to = group[g].field_gradient + field + v;
        const vf all = load(to) + delta;
        store(to, all);
        if (which) coupling = fused(x, all, coupling);
      }
    }
  float* out = sums + ptrdiff_t(pair) * nest_stride(levels);
  for (int j = 0; j < branch; ++j) out[1 + which * branch + j] += reduce(sum[j]);
  if (Fields && which) out[0] += reduce(coupling);
}

template <int Levels, bool Fields>
static void nest_gradient_levels(const NestRow& row, int groups, const NestBackward* group, float* sums) {
  vf bias = {}, direct = {}, coupling = {};
  for (int g = 0; g < groups; ++g)
    for (int v = 0; v < kLanes; v += kWidth) {
      float* at = group[g].u + ptrdiff_t(row.site) * kLanes + v;
      const vf u = load(at), x = load(group[g].spin + v), grad = load(group[g].gradient + v);
      bias += grad;
      direct = fused(grad, u, direct);
      store(at, fused(splat(-row.coupling), x, u));
      if (Fields) {
        const vf own = grad * splat(row.direct);
        store(group[g].field_gradient + ptrdiff_t(row.site) * kLanes + v, own);
        coupling = fused(x, own, coupling);
      }
    }
  sums[0] += reduce(bias);
  sums[1] += reduce(direct);
  if (Fields) sums[2] += reduce(coupling);
  for (int pair = 0; pair < row.pairs; ++pair)
    for (int which = 0; which < 2; ++which)
      nest_branch_gradient<Levels, Fields>(row, pair, which, groups, group, sums + 3);
}

template <bool Fields>
static void nest_gradient_fields(const NestRow& row, int groups, const NestBackward* group, float* sums) {
  switch (row.levels) {
    case 1:
      return nest_gradient_levels<1, Fields>(row, groups, group, sums);
    case 2:
      return nest_gradient_levels<2, Fields>(row, groups, group, sums);
    case 3:
      return nest_gradient_levels<3, Fields>(row, groups, group, sums);
    default:
      return nest_gradient_levels<0, Fields>(row, groups, group, sums);
  }
}

static void nest_gradient(const NestRow& row, int groups, const NestBackward* group, float* sums) {
  if (group[0].field_gradient)
    nest_gradient_fields<true>(row, groups, group, sums);
  else
    nest_gradient_fields<false>(row, groups, group, sums);
}
