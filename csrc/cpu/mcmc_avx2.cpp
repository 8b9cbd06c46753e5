// Monte Carlo kernels for AVX2.
#include "cpu/mcmc.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx2")

namespace vanfast::cpu {
namespace mcmc_avx2 {

#define VANFAST_WIDTH 8
typedef float Floats __attribute__((vector_size(32)));
typedef uint32_t Bits __attribute__((vector_size(32)));
typedef uint64_t Longs __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));
static inline Longs mul_even(Bits a, Bits b) {
  return reinterpret_cast<Longs>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
// 2^31 overflows int32 to 0x80000000, which read as unsigned is 2^31 again
static inline Bits truncate(Floats x) { return reinterpret_cast<Bits>(__builtin_convertvector(x, Ints)); }
static inline uint32_t sign_bits(Bits x) {
  return static_cast<uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(x)));
}
static inline bool any_bit(Bits x) {
  const __m256i bits = reinterpret_cast<__m256i>(x);
  return !_mm256_testz_si256(bits, bits);
}

#include "cpu/mcmc_set.inl"

}  // namespace mcmc_avx2

constexpr McmcKernels kAvx2Mcmc = mcmc_avx2::kTable;

}  // namespace vanfast::cpu
#endif
