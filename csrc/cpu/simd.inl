// Vector types of one instruction set. The including file defines VANFAST_WIDTH (floats per vector), a namespace,
// fused(a, b, c) = a b + c, rounded once where the set has FMA, mul_even(a, b), the 64-bit products of the even 32-bit
// lanes, truncate(x) to int32 and sign_bits(x), one bit a lane. No standard library templates here: their instances
// could replace those of other files.

// Words and floats share memory, hence may_alias.
typedef float vf __attribute__((vector_size(4 * VANFAST_WIDTH), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * VANFAST_WIDTH)));
typedef uint32_t vu __attribute__((vector_size(4 * VANFAST_WIDTH), may_alias));
typedef uint64_t vl __attribute__((vector_size(4 * VANFAST_WIDTH)));

constexpr int kWidth = VANFAST_WIDTH;
constexpr int kVectors = kLanes / kWidth;  // vectors of one row

static inline vf load(const float* p) { return *reinterpret_cast<const vf*>(p); }
static inline vf load(const Word* p) { return reinterpret_cast<vf>(*reinterpret_cast<const vu*>(p)); }
static inline vu load_bits(const uint32_t* p) { return *reinterpret_cast<const vu*>(p); }
static inline void store(float* p, vf v) { *reinterpret_cast<vf*>(p) = v; }
static inline void store_bits(uint32_t* p, vu v) { *reinterpret_cast<vu*>(p) = v; }
static inline vf splat(float x) { return x - vf{}; }
static inline vf magnitude(vf x) { return reinterpret_cast<vf>(reinterpret_cast<vu>(x) & 0x7fffffffu); }

// exp(x) for x <= 0, relative error below 1e-7; below -87 it stays at exp(-87).
static inline vf exp_negative(vf x) {
  x = x < -87.0f ? splat(-87.0f) : x;
  const vf shifted =
      fused(x, splat(1.44269504f), splat(12582912.0f));  // 1.5 2^23: the sum's low bits are round(x / ln 2)
  const vf n = shifted - 12582912.0f;
  vf r = fused(n, splat(-0.693145752f), x);  // ln 2 in two parts, the first exact in few bits
  r = fused(n, splat(-1.42860677e-6f), r);
  vf p = fused(splat(0.00139013098f), r, splat(0.00836320016f));
  p = fused(p, r, splat(0.0416668541f));
  p = fused(p, r, splat(0.16666577f));
  p = fused(p, r, splat(0.499999996f));
  const vf e = fused(r * r, p, r) + 1.0f;
  return reinterpret_cast<vf>(reinterpret_cast<vi>(e) + (reinterpret_cast<vi>(shifted) << 23));
}

// 2 artanh(s) for 0 <= s <= 1/3, relative error below 2e-7.
static inline vf twice_artanh(vf s) {
  const vf u = s * s;
  vf p = fused(splat(0.230788277f), u, splat(0.21742759f));
  p = fused(p, u, splat(0.28589372f));
  p = fused(p, u, splat(0.399997966f));
  p = fused(p, u, splat(0.666666666f));
  return fused(s * u, p, 2.0f * s);
}

// ln(1 + e) for 0 <= e <= 1, relative error below 2e-7.
static inline vf log1p_unit(vf e) { return twice_artanh(e / (2.0f + e)); }

// bf16 (round to nearest, ties to even) of finite x, still as a float.
static inline vf round_bf16(vf x) {
  const vu bits = reinterpret_cast<vu>(x);
  return reinterpret_cast<vf>((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}
