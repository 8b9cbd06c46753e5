// Inner loops for AVX2 with FMA.
#include "common/draw_state.h"
#include "common/philox.h"
#include "cpu/kernels.h"
#include "cpu/log_sigmoid.h"
#include "cpu/mcmc.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx2,fma")

namespace vanfast::cpu {
namespace avx2 {

#define VANFAST_WIDTH 8
constexpr int kMicroRows = 4;
static inline __m256 fused(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
typedef uint32_t Bits __attribute__((vector_size(32)));
typedef uint64_t Longs __attribute__((vector_size(32)));
static inline Longs mul_even(Bits a, Bits b) {
  return reinterpret_cast<Longs>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
typedef int32_t Ints __attribute__((vector_size(32)));
static inline Ints truncate(__m256 x) { return __builtin_convertvector(x, Ints); }
static inline uint32_t sign_bits(__m256 x) { return static_cast<uint32_t>(_mm256_movemask_ps(x)); }
static inline __m256 minimum(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
static inline __m256 capped_magnitude(__m256 x, __m256 cap) {
  return _mm256_min_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x), cap);
}
static inline __m256 lookup(const float* table, Bits index) {
  const __m256i i = reinterpret_cast<__m256i>(index);
  const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), i);
  const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), i);
  return _mm256_blendv_ps(low, high, reinterpret_cast<__m256>(index << 28));
}
static inline float reduce(__m256 x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

#include "cpu/simd.inl"

#include "cpu/nest.inl"

#include "cpu/star.inl"

#include "cpu/states.inl"

#include "cpu/kernels.inl"

}  // namespace avx2

constexpr Kernels kAvx2Kernels = avx2::table("avx2", nullptr);

}  // namespace vanfast::cpu
#endif
