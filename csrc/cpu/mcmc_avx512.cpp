// Monte Carlo kernels for AVX-512 (F, BW, DQ, VL).
#include "cpu/mcmc.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")

namespace vanfast::cpu {
namespace mcmc_avx512 {

#define VANFAST_WIDTH 16
typedef float Floats __attribute__((vector_size(64)));
typedef uint32_t Bits __attribute__((vector_size(64)));
typedef uint64_t Longs __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
static inline Longs mul_even(Bits a, Bits b) {
  return reinterpret_cast<Longs>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
// 2^31 overflows int32 to 0x80000000, which read as unsigned is 2^31 again
static inline Bits truncate(Floats x) { return reinterpret_cast<Bits>(__builtin_convertvector(x, Ints)); }
static inline uint32_t sign_bits(Bits x) { return _mm512_movepi32_mask(reinterpret_cast<__m512i>(x)); }
static inline bool any_bit(Bits x) {
  const __m512i bits = reinterpret_cast<__m512i>(x);
  return _mm512_test_epi64_mask(bits, bits) != 0;
}

#include "cpu/mcmc_set.inl"

}  // namespace mcmc_avx512

constexpr McmcKernels kAvx512Mcmc = mcmc_avx512::kTable;

}  // namespace vanfast::cpu
#endif
