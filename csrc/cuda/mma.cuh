// Tensor cores and asynchronous copies, one instruction each. The operands of a warp lie in fragments as the PTX manual
// lays them out; with g = lane / 4 and t = lane % 4:
//   mma_bf16, 16 x 8 x 16: a = rows {g, g + 8} x pairs of columns {2t, 2t + 8}, order (g, 2t) (g + 8, 2t) (g, 2t + 8)
//     (g + 8, 2t + 8); b = pairs of rows {2t, 2t + 8} of column g; d = (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1)
//   mma_tf32, 16 x 8 x 8: a = (g, t) (g + 8, t) (g, t + 4) (g + 8, t + 4); b = (t, g) (t + 4, g); d as above
#pragma once

#include <cstdint>

#include "cuda/runtime.cuh"

#if defined(VANFAST_EMULATE)
#include "emulation/matrix.h"
#else

namespace vanfast {

// d += a b; a is 16 x 16 by rows, b 16 x 8 by columns, pairs of bf16 in a word.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b; a is 16 x 8 by rows, b 8 x 8 by columns, floats whose lowest 13 bits do not count (to_tf32 rounds).
__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// To nearest, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float value) {
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(value));
  return result;
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 matrices of 16-bit values; lane l names row l % 8 (16 bytes, aligned) of matrix l / 8, and r[m] gets
// columns 2t, 2t + 1 of row g of matrix m.
__device__ __forceinline__ void load_matrix4(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

// The same of the transposed matrices: r[m] gets rows 2t, 2t + 1 of column g.
__device__ __forceinline__ void load_matrix4_transposed(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

// Starts a copy of 16 aligned bytes past the registers and L1, or of zeros; nothing is read where `valid` is false.
__device__ __forceinline__ void copy_async16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}

// Closes the group of this thread's copies.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's groups are under way; other threads see the data after a barrier.
template <int N>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace vanfast
#endif
