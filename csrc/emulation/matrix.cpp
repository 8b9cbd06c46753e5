#include "emulation/matrix.h"

#include <cstring>

namespace vanfast::emulation {
namespace {

float low_half(uint32_t pair) { return __uint_as_float(pair << 16); }
float high_half(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }
float tf32(uint32_t word) { return __uint_as_float(word & ~0x1fffu); }  // what the hardware does not look at

// d += a b with d's fragments gathered from the lanes; sums are rounded to float after every term.
template <int K>
void multiply(void* const* operands, const float (&a)[16][K], const float (&b)[K][8]) {
  float d[16][8];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i)
      d[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2] = static_cast<const Product*>(operands[lane])->d[i];
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < K; ++k)
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i)
      static_cast<const Product*>(operands[lane])->d[i] = d[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
}

template <bool transposed>
void load(void* const* operands) {
  uint16_t matrix[4][8][8];
  for (int lane = 0; lane < 32; ++lane)
    std::memcpy(matrix[lane / 8][lane % 8], static_cast<const Rows*>(operands[lane])->row, 16);
  for (int lane = 0; lane < 32; ++lane)
    for (int m = 0; m < 4; ++m) {
      const int g = lane / 4, t = 2 * (lane % 4);
      const uint16_t low = transposed ? matrix[m][t][g] : matrix[m][g][t];
      const uint16_t high = transposed ? matrix[m][t + 1][g] : matrix[m][g][t + 1];
      static_cast<const Rows*>(operands[lane])->r[m] = uint32_t(low) | uint32_t(high) << 16;
    }
}

}  // namespace

void multiply_bf16(void* const* operands, unsigned) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const Product*>(operands[lane]);
    const int g = lane / 4, t = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i) {
      a[g + 8 * (i % 2)][t + 8 * (i / 2)] = low_half(own.a[i]);
      a[g + 8 * (i % 2)][t + 8 * (i / 2) + 1] = high_half(own.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[t + 8 * i][g] = low_half(own.b[i]);
      b[t + 8 * i + 1][g] = high_half(own.b[i]);
    }
  }
  multiply(operands, a, b);
}

void multiply_tf32(void* const* operands, unsigned) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const Product*>(operands[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][t + 4 * (i / 2)] = tf32(own.a[i]);
    for (int i = 0; i < 2; ++i) b[t + 4 * i][g] = tf32(own.b[i]);
  }
  multiply(operands, a, b);
}

void load_rows(void* const* operands, unsigned) { load<false>(operands); }
void load_columns(void* const* operands, unsigned) { load<true>(operands); }

}  // namespace vanfast::emulation
