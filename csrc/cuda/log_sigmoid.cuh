// log2 sigma(z) for z = x log2(e), that is ln sigma(x) / ln 2 = min(z, 0) - log2(1 + 2^-|z|).
//
// In base 2 an exponential is one instruction of the special function unit, which takes an eighth as many a cycle as
// there are FMAs. A logarithm would be another; log2(1 + e) = e Q(e), Q of degree 7, takes 8 FMAs instead: 11
// instructions and 8 cycles of that unit rather than 6 and 16. Minimax on [0, 1]: worst error of ln
// sigma 3.2e-8, 1.2e-7 with float32's rounding. It is absolute, as in csrc/cpu/log_sigmoid.h: Y is only ever added to.
#pragma once

#include "cuda/runtime.cuh"

namespace vanfast::cuda {

__device__ inline float power_of_2(float x) {  // x <= 0; below 2^-126: 0
#if defined(VANFAST_EMULATE)
  return exp2f(x);
#else
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}

__device__ inline float log2_sigmoid(float z) {
  const float e = power_of_2(-fabsf(z));
  float q = fmaf(-0.00930916332f, e, 0.0520590022f);
  q = fmaf(q, e, -0.137521356f);
  q = fmaf(q, e, 0.241864786f);
  q = fmaf(q, e, -0.347301096f);
  q = fmaf(q, e, 0.47868371f);
  q = fmaf(q, e, -0.721165776f);
  q = fmaf(q, e, 1.4426899f);
  return fmaf(-e, q, fminf(z, 0.0f));
}

}  // namespace vanfast::cuda
