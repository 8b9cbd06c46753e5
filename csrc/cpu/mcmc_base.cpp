// Monte Carlo kernels for any 64-bit CPU: 128-bit vectors.
#include "cpu/mcmc.h"

namespace vanfast::cpu {
namespace mcmc_base {

#define VANFAST_WIDTH 4
typedef float Floats __attribute__((vector_size(16)));
typedef uint32_t Bits __attribute__((vector_size(16)));
typedef uint64_t Longs __attribute__((vector_size(16)));
static inline Longs mul_even(Bits a, Bits b) {
  const Longs low = {0xffffffffu, 0xffffffffu};
  return (reinterpret_cast<Longs>(a) & low) * (reinterpret_cast<Longs>(b) & low);
}
// 2^31 must become 0x80000000 on every CPU: go through the halved value, which int32 holds.
static inline Bits truncate(Floats x) {
  typedef int32_t Ints __attribute__((vector_size(16)));
  const Bits big = reinterpret_cast<Bits>(x >= 2147483648.0f);
  return (reinterpret_cast<Bits>(__builtin_convertvector(big ? x - 2147483648.0f : x, Ints))) | (big & 0x80000000u);
}
static inline uint32_t sign_bits(Bits x) { return x[0] >> 31 | x[1] >> 31 << 1 | x[2] >> 31 << 2 | x[3] >> 31 << 3; }
static inline bool any_bit(Bits x) {
  const Longs half = reinterpret_cast<Longs>(x);
  return (half[0] | half[1]) != 0;
}

#include "cpu/mcmc_set.inl"

}  // namespace mcmc_base

constexpr McmcKernels kBaseMcmc = mcmc_base::kTable;

}  // namespace vanfast::cpu
