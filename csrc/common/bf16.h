// bfloat16: the upper half of a float, rounded to nearest, ties to even; a NaN becomes 0x7fff as on NVIDIA GPUs.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/philox.h"  // VANFAST_HOST_DEVICE

namespace vanfast {

struct bf16 {
  uint16_t bits;
};

VANFAST_HOST_DEVICE inline bf16 to_bf16(float value) {
#if defined(__CUDA_ARCH__)
  bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  if ((word & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16)};
#endif
}

VANFAST_HOST_DEVICE inline float to_float(bf16 value) {
  const uint32_t word = uint32_t(value.bits) << 16;
#if defined(__CUDA_ARCH__)
  return __uint_as_float(word);
#else
  float result;
  std::memcpy(&result, &word, sizeof result);
  return result;
#endif
}

// Two values in a word, as tensor cores take them: the lower index in the lower half.
VANFAST_HOST_DEVICE inline uint32_t pack_bf16(float low, float high) {
#if defined(__CUDA_ARCH__)
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
#else
  return uint32_t(to_bf16(low).bits) | uint32_t(to_bf16(high).bits) << 16;
#endif
}

}  // namespace vanfast
