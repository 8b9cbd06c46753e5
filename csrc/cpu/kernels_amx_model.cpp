// The AMX path with every tile instruction written out in C++, as Intel's manual defines it (TDPBF16PS: even and odd
// products summed apart along the row, then added to the sum; denormals are not treated apart here). Slow; for tests.
#include "cpu/kernels.h"

namespace vanfast::cpu {
namespace {

struct ModelTiles {
  float sum[4][kTileRows][kTileWords];
  Word weight[2][kTileRows][kTileWords], input[2][kTileWords][kTileWords];

  static void configure() {}
  static void release() {}
  template <int I>
  void load_sum(const float* c) {
    for (int r = 0; r < kTileRows; ++r) __builtin_memcpy(sum[I][r], c + r * kLanes, 64);
  }
  template <int I>
  void store_sum(float* c) const {
    for (int r = 0; r < kTileRows; ++r) __builtin_memcpy(c + r * kLanes, sum[I][r], 64);
  }
  template <int I>
  void load_weight(const Word* w) {
    __builtin_memcpy(weight[I], w, sizeof weight[I]);
  }
  template <int I>
  void load_input(const Word* b) {
    for (int k = 0; k < kTileWords; ++k) __builtin_memcpy(input[I][k], b + k * kLanes, 64);
  }
  static float low(Word w) { return as_float(w << 16); }
  static float high(Word w) { return as_float(w & 0xffff0000u); }
  static float as_float(Word w) {
    float f;
    __builtin_memcpy(&f, &w, 4);
    return f;
  }
  template <int Sum, int Weight, int Input>
  void dot() {
    for (int m = 0; m < kTileRows; ++m)
      for (int n = 0; n < kTileWords; ++n) {
        float even = 0.0f, odd = 0.0f;
        for (int k = 0; k < kTileWords; ++k) {
          even += low(weight[Weight][m][k]) * low(input[Input][k][n]);
          odd += high(weight[Weight][m][k]) * high(input[Input][k][n]);
        }
        sum[Sum][m][n] += even + odd;
      }
  }
};

#include "cpu/amx.inl"

void activate_tiles(const float* in, const float* slope, int units, Word* out) {
  auto rounded = [&](int unit, int lane) -> Word {
    if (unit >= units) return 0;
    float z = in[unit * kLanes + lane];
    if (slope && z < 0.0f) z *= slope[unit];
    Word bits;
    __builtin_memcpy(&bits, &z, 4);
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  };
  const int padded = (units + 2 * kTileWords - 1) / (2 * kTileWords) * 2 * kTileWords;
  for (int u = 0; u < padded; u += 2)
    for (int lane = 0; lane < kLanes; ++lane)
      out[u / 2 * kLanes + lane] = rounded(u, lane) | rounded(u + 1, lane) << 16;
}

const MatMul kModelBf16 = {true, true, true, 2 * kTileWords, multiply_tiles<ModelTiles>, activate_tiles};

}  // namespace

const Kernels kAmxModelKernels = [] {
  Kernels model = kBaseKernels;
  model.name = "amx_model";
  model.bf16 = &kModelBf16;
  return model;
}();

}  // namespace vanfast::cpu
