// CUDA's language as far as the kernels use it: qualifiers and vector types. Static __shared__ is left out on purpose.
#pragma once

#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

using cudaStream_t = void*;

#define VANFAST_VECTOR(type, scalar)                                                           \
  struct alignas(2 * sizeof(scalar)) type##2 { scalar x, y; };                                 \
  struct type##3 { scalar x, y, z; };                                                          \
  struct alignas(sizeof(scalar) > 4 ? 16 : 4 * sizeof(scalar)) type##4 { scalar x, y, z, w; }; \
  inline type##2 make_##type##2(scalar x, scalar y) { return {x, y}; }                         \
  inline type##3 make_##type##3(scalar x, scalar y, scalar z) { return {x, y, z}; }            \
  inline type##4 make_##type##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }

VANFAST_VECTOR(char, signed char)
VANFAST_VECTOR(uchar, unsigned char)
VANFAST_VECTOR(short, short)
VANFAST_VECTOR(ushort, unsigned short)
VANFAST_VECTOR(int, int)
VANFAST_VECTOR(uint, unsigned)
VANFAST_VECTOR(longlong, long long)
VANFAST_VECTOR(ulonglong, unsigned long long)
VANFAST_VECTOR(float, float)
VANFAST_VECTOR(double, double)
#undef VANFAST_VECTOR

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Set anew whenever another emulated thread goes on.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;
