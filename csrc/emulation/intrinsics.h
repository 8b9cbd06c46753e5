// Single-thread functions of CUDA. Atomics are plain: emulated threads run one at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "emulation/types.h"

namespace vanfast::emulation {

template <class To, class From>
To bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

template <class T, class F>
T update(T* address, F change) {
  const T before = *address;
  *address = change(before);
  return before;
}

// Deduces the type from the address alone, as CUDA's overloads do.
template <class T>
using Same = std::common_type_t<T>;

}  // namespace vanfast::emulation

inline int __float_as_int(float x) { return vanfast::emulation::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return vanfast::emulation::bits<unsigned>(x); }
inline float __int_as_float(int x) { return vanfast::emulation::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return vanfast::emulation::bits<float>(x); }
inline long long __double_as_longlong(double x) { return vanfast::emulation::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return vanfast::emulation::bits<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>(uint64_t(x) * y >> 32); }
inline unsigned __brev(unsigned x) {
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) result |= (x >> i & 1u) << (31 - i);
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t(high) << 32 | low) >> (shift & 31));
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = uint64_t(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned nibble = selector >> 4 * i & 15u, byte = static_cast<unsigned>(bytes >> 8 * (nibble & 7u)) & 255u;
    result |= (nibble & 8u ? (byte & 128u ? 255u : 0u) : byte) << 8 * i;
  }
  return result;
}
inline int __dp4a(int x, int y, int sum) {
  for (int i = 0; i < 4; ++i) sum += int(static_cast<signed char>(x >> 8 * i)) * static_cast<signed char>(y >> 8 * i);
  return sum;
}

inline float __fmaf_rn(float x, float y, float z) { return std::fmaf(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __saturatef(float x) { return x > 0.0f ? std::min(x, 1.0f) : 0.0f; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::lrintf(x)); }

using std::max;
using std::min;

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, vanfast::emulation::Same<T> value) {
  *address = value;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap() { throw std::runtime_error("__trap"); }

#define VANFAST_ATOMIC(name, expression)                                                     \
  template <class T>                                                                         \
  T name(T* address, vanfast::emulation::Same<T> value) {                                    \
    return vanfast::emulation::update(address, [&](T before) -> T { return (expression); }); \
  }
VANFAST_ATOMIC(atomicAdd, static_cast<T>(before + value))
VANFAST_ATOMIC(atomicSub, static_cast<T>(before - value))
VANFAST_ATOMIC(atomicMax, std::max(before, value))
VANFAST_ATOMIC(atomicMin, std::min(before, value))
VANFAST_ATOMIC(atomicAnd, static_cast<T>(before& value))
VANFAST_ATOMIC(atomicOr, static_cast<T>(before | value))
VANFAST_ATOMIC(atomicXor, static_cast<T>(before ^ value))
VANFAST_ATOMIC(atomicExch, (static_cast<void>(before), value))
#undef VANFAST_ATOMIC

template <class T>
T atomicCAS(T* address, vanfast::emulation::Same<T> expected, vanfast::emulation::Same<T> value) {
  return vanfast::emulation::update(address, [&](T before) { return before == expected ? T(value) : before; });
}
