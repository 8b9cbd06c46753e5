// Inner loops for any CPU: 128-bit vectors, which every 64-bit target has in some form, and no FMA.
#include "common/draw_state.h"
#include "common/philox.h"
#include "cpu/kernels.h"
#include "cpu/log_sigmoid.h"
#include "cpu/mcmc.h"

namespace vanfast::cpu {
namespace base {

#define VANFAST_WIDTH 4
constexpr int kMicroRows = 4;
typedef float Floats __attribute__((vector_size(16)));
typedef uint32_t Bits __attribute__((vector_size(16)));
typedef uint64_t Longs __attribute__((vector_size(16)));
static inline Floats fused(Floats a, Floats b, Floats c) { return a * b + c; }
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
static inline uint32_t sign_bits(Floats x) {
  const Bits b = reinterpret_cast<Bits>(x) >> 31;
  return b[0] | b[1] << 1 | b[2] << 2 | b[3] << 3;
}
static inline Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
static inline Floats capped_magnitude(Floats x, Floats cap) {
  const Floats a = reinterpret_cast<Floats>(reinterpret_cast<Bits>(x) & 0x7fffffffu);
  return a < cap ? a : cap;
}
static inline Floats lookup(const float* table, Bits index) {
  return Floats{table[index[0] & 15], table[index[1] & 15], table[index[2] & 15], table[index[3] & 15]};
}
static inline float reduce(Floats x) { return (x[0] + x[1]) + (x[2] + x[3]); }

#include "cpu/simd.inl"

#include "cpu/nest.inl"

#include "cpu/star.inl"

#include "cpu/states.inl"

#include "cpu/kernels.inl"

}  // namespace base

constexpr Kernels kBaseKernels = base::table("base", nullptr);

}  // namespace vanfast::cpu
