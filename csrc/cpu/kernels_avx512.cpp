// Inner loops for AVX-512 (F, BW, DQ, VL), with its bf16 products, and with AMX tiles for bf16.
#include "common/draw_state.h"
#include "common/philox.h"
#include "cpu/kernels.h"
#include "cpu/log_sigmoid.h"
#include "cpu/mcmc.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 warns of its own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")

namespace vanfast::cpu {
namespace avx512 {

#define VANFAST_WIDTH 16
constexpr int kMicroRows = 8;
static inline __m512 fused(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
typedef uint32_t Bits __attribute__((vector_size(64)));
typedef uint64_t Longs __attribute__((vector_size(64)));
static inline Longs mul_even(Bits a, Bits b) {
  return reinterpret_cast<Longs>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
typedef int32_t Ints __attribute__((vector_size(64)));
static inline Ints truncate(__m512 x) { return __builtin_convertvector(x, Ints); }
static inline uint32_t sign_bits(__m512 x) { return _mm512_movepi32_mask(reinterpret_cast<__m512i>(x)); }
static inline __m512 minimum(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
static inline __m512 capped_magnitude(__m512 x, __m512 cap) { return _mm512_range_ps(x, cap, 0x0a); }
static inline __m512 lookup(const float* table, Bits index) {
  return _mm512_permutexvar_ps(reinterpret_cast<__m512i>(index), _mm512_load_ps(table));
}
static inline float reduce(__m512 x) { return _mm512_reduce_add_ps(x); }

#include "cpu/simd.inl"

#include "cpu/nest.inl"

#include "cpu/star.inl"

#include "cpu/states.inl"

#include "cpu/kernels.inl"

// One word column of bf16 pairs: acc + w0 b0 + w1 b1 in float32.
struct Bf16Step {
  static inline vf weight(Word w) { return reinterpret_cast<vf>(w + vu{}); }
  static inline vf apply(vf acc, vf w, vf b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(b));
  }
};

static constexpr MatMul kBf16 = {true, true, false, 2, multiply<Bf16Step>, activate_pairs<2>};

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16")

// Tile registers 0-3 are sums, 4-5 weights, 6-7 activations; all are 16 rows of 64 bytes.
struct HardwareTiles {
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  static inline void configure() {
    static const Config config;
    _tile_loadconfig(&config);
  }
  static inline void release() { _tile_release(); }
  // The intrinsics want literal register numbers, and GCC's do not say that they read memory: hence the barrier.
  template <int I>
  inline void load_sum(const float* c) {
    __asm__ volatile("" ::: "memory");
    if constexpr (I == 0) _tile_loadd(0, c, kLanes * 4);
    if constexpr (I == 1) _tile_loadd(1, c, kLanes * 4);
    if constexpr (I == 2) _tile_loadd(2, c, kLanes * 4);
    if constexpr (I == 3) _tile_loadd(3, c, kLanes * 4);
  }
  template <int I>
  inline void store_sum(float* c) {
    if constexpr (I == 0) _tile_stored(0, c, kLanes * 4);
    if constexpr (I == 1) _tile_stored(1, c, kLanes * 4);
    if constexpr (I == 2) _tile_stored(2, c, kLanes * 4);
    if constexpr (I == 3) _tile_stored(3, c, kLanes * 4);
    __asm__ volatile("" ::: "memory");
  }
  template <int I>
  inline void load_weight(const Word* w) {
    if constexpr (I == 0) _tile_loadd(4, w, kTileWords * 4);
    if constexpr (I == 1) _tile_loadd(5, w, kTileWords * 4);
  }
  template <int I>
  inline void load_input(const Word* b) {
    if constexpr (I == 0) _tile_loadd(6, b, kLanes * 4);
    if constexpr (I == 1) _tile_loadd(7, b, kLanes * 4);
  }
  template <int Sum, int Weight, int Input>
  inline void dot() {
    if constexpr (Sum == 0) _tile_dpbf16ps(0, 4, 6);
    if constexpr (Sum == 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (Sum == 2) _tile_dpbf16ps(2, 5, 6);
    if constexpr (Sum == 3) _tile_dpbf16ps(3, 5, 7);
    static_assert(Weight == Sum / 2 && Input == Sum % 2);
  }
};

#include "cpu/amx.inl"

static constexpr MatMul kAmxBf16 = {
    true, true, true, 2 * kTileWords, multiply_tiles<HardwareTiles>, activate_pairs<2 * kTileWords>};

#pragma GCC pop_options

}  // namespace avx512

constexpr Kernels kAvx512Kernels = avx512::table("avx512", nullptr);
constexpr Kernels kAvx512Bf16Kernels = avx512::table("avx512_bf16", &avx512::kBf16);
constexpr Kernels kAmxKernels = avx512::table("amx", &avx512::kAmxBf16);

}  // namespace vanfast::cpu
#endif
