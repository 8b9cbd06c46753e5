// What a Hamiltonian alone adds to the logits of a network: the star of each site and its later neighbours.
//
//   logit_i += 2 f_i + 2 sum_{l>i} artanh(tanh a_il tanh f_l),   f_l = beta h_l + sum_{s<i} a_sl x_s,   a = beta J
//
// The fields f of a sample run along in the caller's memory. Between the draw of a site and the logit of the next one a
// thread walks once through the later sites that it owns and that either of the two is coupled to (star_tables.cuh): a
// field is read, takes up the spin, is written back and gives its term. Site l belongs to slot l % kSlots; who owns a
// slot is the kernel's to say, slots are added in their order, so that no sum depends on it.
// A pair with |a| <= 2.5 costs one exponential, A = exp(-2 |a|) is known and E = exp(-2 |f|):
//   2 artanh(tanh a tanh f) = sign(a f) ln[(1 + A E) / (A + E)]
// and numerators and denominators of kStarRun pairs are multiplied before the one logarithm. Fields and couplings that
// add to them count in ln 2 / 2, so that E is a power of 2. Strong pairs are taken one by one, no tail is cut.
//
// Instructions of a warp and weak pair of a long row: 24 (counted in SASS of sm_90), and 8 bytes of fields a lane.
// H200: SK, N = 100, one layer, batch 100,000: 4950 pairs a sample, exponentials alone 0.13 ms; 1.5e5 instructions a
// tile of 32 samples, 5.9 tiles a scheduler: 0.5 ms predicted. N = 1024, batch 131,072: 6.9e10 pairs, 19 ms of
// exponentials, 56 ms of instructions, and 550 GB of fields through L2 at 5.5 TB/s: 0.12 s predicted. On a lattice two
// pairs a site add about 250 cycles of latency to each draw.
#pragma once

#include "cuda/runtime.cuh"
#include "cuda/star_tables.cuh"

namespace vanfast {

constexpr float kStarUnit = 0.346573590f;  // ln 2 / 2
constexpr int kStarFlight = 4;             // pairs whose fields are under way

// 2 artanh(tanh a tanh b) of any a and b: +-[2 min(|a|, |b|) - ln(1 + (e - e') / (1 + e'))], e = exp(-2 ||a| - |b||),
// e' = exp(-2 (|a| + |b|)).
__device__ inline float star_pair(float a, float b) {
  const float x = fabsf(a), y = fabsf(b);
  const float near = expf(-2.0f * fabsf(x - y)), far = expf(-2.0f * (x + y));
  const float out = 2.0f * fminf(x, y) - log1pf(__fdividef(near - far, 1.0f + far));
  return __uint_as_float(__float_as_uint(out) ^ ((__float_as_uint(a) ^ __float_as_uint(b)) & 0x80000000u));
}

// A run of weak pairs.
struct StarRun {
  float numerator = 1.0f, denominator = 1.0f;

  // The next kStarFlight pairs (kFull) or the last `pairs`, fewer than that.
  template <bool kFull>
  __device__ void multiply(const uint4* entries, int pairs, float spin, float* fields, int stride) {
    uint4 entry[kStarFlight];
    float w[kStarFlight];
#pragma unroll
    for (int i = 0; i < kStarFlight; ++i) {
      entry[i] = __ldg(entries + (kFull ? i : min(i, pairs - 1)));
      w[i] = fields[static_cast<int>(entry[i].x) * stride];
    }
#pragma unroll
    for (int i = 0; i < kStarFlight; ++i) {
      if (!kFull && i >= pairs) break;
      w[i] = fmaf(__uint_as_float(entry[i].y), spin, w[i]);
      fields[static_cast<int>(entry[i].x) * stride] = w[i];
      const float share = fabsf(__uint_as_float(entry[i].z)), e = exp2f(-fabsf(w[i]));
      const float with = fmaf(share, e, 1.0f), against = share + e;
      const bool opposite = (entry[i].z ^ __float_as_uint(w[i])) >> 31;
      numerator *= opposite ? against : with;
      denominator *= opposite ? with : against;
    }
  }
};

// One sample's fields, `stride` apart from site to site, all within 2^31. Fills those of a slot.
template <int kSlots>
__device__ inline void star_begin(const StarTables& star, int sites, int slot, float* fields, int stride) {
  const float2* from = static_cast<const float2*>(star.sites);
#pragma unroll 1
  for (int l = slot; l < sites; l += kSlots) fields[l * stride] = __ldg(&from[l].x);
}

// A slot's part of what is added to the logit of `site`, after its fields have taken up `spin`, that of the site before
// (0 before the first).
template <int kSlots>
__device__ inline float star_step(const StarTables& star, int site, int slot, float spin, float* fields, int stride) {
  const int4 row = __ldg(static_cast<const int4*>(star.rows) + (int64_t(site) * kSlots + slot));
  const uint4* entries = static_cast<const uint4*>(star.entries);
  float total = 0.0f;
  if (site % kSlots == slot) {
    const float2 own = __ldg(static_cast<const float2*>(star.sites) + site);
    total = 2.0f * kStarUnit * fmaf(own.y, spin, fields[site * stride]);
  }
#pragma unroll 1
  for (int first = row.x; first < row.y; first += kStarRun) {
    const int end = min(first + kStarRun, row.y), full = end - (end - first) % kStarFlight;
    StarRun run;
#pragma unroll 1
    for (int k = first; k < full; k += kStarFlight) run.multiply<true>(entries + k, kStarFlight, spin, fields, stride);
    if (full < end) run.multiply<false>(entries + full, end - full, spin, fields, stride);
    total += logf(__fdividef(run.numerator, run.denominator));
  }
#pragma unroll 1
  for (int k = row.y; k < row.w; ++k) {
    const uint4 entry = __ldg(entries + k);
    float* field = fields + static_cast<int>(entry.x) * stride;
    const float w = fmaf(__uint_as_float(entry.y), spin, *field);
    *field = w;
    if (k < row.z) total += star_pair(__uint_as_float(entry.z), kStarUnit * w);
  }
  return total;
}

}  // namespace vanfast
