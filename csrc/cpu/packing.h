// Weight matrices in the layout that an instruction set multiplies fastest, and the aligned memory they live in.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#include "cpu/kernels.h"

namespace vanfast::cpu {

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
  friend bool operator==(const AlignedAllocator&, const AlignedAllocator&) { return true; }
  friend bool operator!=(const AlignedAllocator&, const AlignedAllocator&) { return false; }
};

template <class T>
using Buffer = std::vector<T, AlignedAllocator<T>>;

// A row-major float matrix.
struct Matrix {
  int rows = 0, columns = 0;
  std::vector<float> values;
  Matrix() = default;
  Matrix(int r, int c) : rows(r), columns(c), values(size_t(r) * c, 0.0f) {}
  float& at(int r, int c) { return values[size_t(r) * columns + c]; }
};

// Columns are words: one unit each, or two for bf16 pairs.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  // Columns must come padded to math.unit_align per site.
  PackedMatrix(const MatMul& math, const Matrix& matrix);

  int rows() const { return rows_; }
  int columns() const { return columns_; }

  // c[m][lane] += sum_k weight[m][first + k] b[k][lane], m < rows, k < words
  void multiply(int first, int rows, int words, const Word* b, float* c) const {
    if (rows > 0 && words > 0) multiply_(data_.data(), columns_, first, rows, words, b, c);
  }
  // The panel that begins at `row`, from column `first` on; not of AMX tiles.
  const Word* panel(int row, int first) const {
    return data_.data() + size_t(row) * columns_ + size_t(first) * kPanelRows;
  }

 private:
  int rows_ = 0, columns_ = 0;
  Buffer<Word> data_;
  decltype(MatMul::multiply) multiply_ = nullptr;
};

// Activations per site in words, padding included.
inline int words_per_site(const MatMul& math, int units) {
  const int padded = (units + math.unit_align - 1) / math.unit_align * math.unit_align;
  return math.pairs ? padded / 2 : padded;
}
inline int padded_units(const MatMul& math, int units) { return words_per_site(math, units) * (math.pairs ? 2 : 1); }

}  // namespace vanfast::cpu
