#include "cpu/packing.h"

#include <cstring>

namespace vanfast::cpu {

namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

uint32_t rounded_bits(float x) {
  const uint32_t bits = bits_of(x);
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
}

}  // namespace

PackedMatrix::PackedMatrix(const MatMul& math, const Matrix& matrix)
    : rows_(matrix.rows), columns_(matrix.columns / (math.pairs ? 2 : 1)), multiply_(math.multiply) {
  auto word = [&](int row, int column) -> Word {
    const float* w = matrix.values.data() + size_t(row) * matrix.columns;
    if (math.pairs) return (rounded_bits(w[2 * column]) >> 16) | rounded_bits(w[2 * column + 1]);
    return math.rounds ? rounded_bits(w[column]) : bits_of(w[column]);
  };
  const int height = math.tiles ? kTileRows : kPanelRows;
  const int panels = (rows_ + height - 1) / height;
  data_.assign(size_t(panels) * height * columns_, 0);
  for (int row = 0; row < rows_; ++row) {
    Word* panel = data_.data() + size_t(row / height) * height * columns_;
    const int r = row % height;
    for (int column = 0; column < columns_; ++column)
      if (math.tiles)
        panel[size_t(column / kTileWords) * kTileRows * kTileWords + r * kTileWords + column % kTileWords] =
            word(row, column);
      else
        panel[size_t(column) * kPanelRows + r] = word(row, column);
  }
}

}  // namespace vanfast::cpu
