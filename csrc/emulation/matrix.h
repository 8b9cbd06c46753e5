// Tensor cores and asynchronous copies on the host, by the names of cuda/mma.cuh. A copy's data arrive only when it is
// waited for, and until then its destination is poisoned.
#pragma once

#include <cstdint>

#include "emulation/collectives.h"
#include "emulation/intrinsics.h"

namespace vanfast {
namespace emulation {

struct Product {
  float* d;
  const uint32_t *a, *b;
};

struct Rows {
  uint32_t* r;
  const void* row;
};

void multiply_bf16(void* const* operands, unsigned mask);
void multiply_tf32(void* const* operands, unsigned mask);
void load_rows(void* const* operands, unsigned mask);
void load_columns(void* const* operands, unsigned mask);

}  // namespace emulation

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], VANFAST_SITE) {
  using namespace emulation;
  Product operand{d, a, b};
  meet(site_of(file, line, "mma_bf16", false), kAllLanes, &operand, multiply_bf16);
}

inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], VANFAST_SITE) {
  using namespace emulation;
  Product operand{d, a, b};
  meet(site_of(file, line, "mma_tf32", false), kAllLanes, &operand, multiply_tf32);
}

inline uint32_t to_tf32(float value) {
  const uint32_t word = __float_as_uint(value);
  if ((word & 0x7f800000u) == 0x7f800000u) return word;  // infinities and NaN
  return (word + 0x1000u) & ~0x1fffu;
}

inline void load_matrix4(uint32_t (&r)[4], const void* shared_row, VANFAST_SITE) {
  using namespace emulation;
  check_shared(shared_row, 16, "load_matrix4");
  Rows operand{r, shared_row};
  meet(site_of(file, line, "load_matrix4", false), kAllLanes, &operand, load_rows);
}

inline void load_matrix4_transposed(uint32_t (&r)[4], const void* shared_row, VANFAST_SITE) {
  using namespace emulation;
  check_shared(shared_row, 16, "load_matrix4_transposed");
  Rows operand{r, shared_row};
  meet(site_of(file, line, "load_matrix4_transposed", false), kAllLanes, &operand, load_columns);
}

inline void copy_async16(void* shared, const void* global, bool valid) { emulation::start_copy(shared, global, valid); }

inline void copy_async_commit() { emulation::commit_copies(); }

template <int N>
void copy_async_wait(VANFAST_SITE) {
  emulation::wait_copies(emulation::site_of(file, line, "copy_async_wait", true), N);
}

}  // namespace vanfast
