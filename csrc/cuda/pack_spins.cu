// Spins +1 and -1 (int8 [count, N]) to bits and back.
//   pack_planes    for a site, the bits of 128 samples side by side (pack_spins.cuh): what dense and bond energies read
//   pack_spins     for a sample, eight sites a byte: the format of stored sample sets
//   unpack_spins   its inverse
//
// pack_planes: a block owns 128 samples and kSites sites, a warp 32 samples, a lane reads kBytes sites of its own
// sample at once and the warp votes on each site. pack_spins and unpack_spins: a thread owns one byte of bits, or two
// where rows are multiples of 16 spins. Everything in registers. No random words.
//
// Floor on H200: N bytes and N / 8 bytes a sample at 4.3 TB/s. Prediction: pack_spins and unpack_spins 85 % of it;
// pack_planes takes about 3 instructions a site and 32 samples, 60 % of it where N is a multiple of 16.
#include <stdexcept>

#include "cuda/pack_bits.cuh"
#include "cuda/pack_spins.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kThreads = 128, kSites = 256;
static_assert(kThreads == kWarp * kPlaneWords);

template <int kBytes>
__global__ void __launch_bounds__(kThreads)
    pack_planes_kernel(const int8_t* __restrict__ spins, int64_t count, int num_sites, uint32_t* __restrict__ planes) {
  const int word = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t sample = int64_t(blockIdx.x) * kPlaneSamples + threadIdx.x;
  uint32_t* tile = planes + int64_t(blockIdx.x) * (num_sites + 1) * kPlaneWords + word;
  const int begin = blockIdx.y * kSites, end = min(num_sites, begin + kSites);
  for (int site = begin; site < end; site += kBytes) {
    uint32_t minus = 0;
    if (sample < count) {
      const int8_t* own = spins + sample * num_sites + site;
      if constexpr (kBytes == 16) {
        minus = minus_bits16(__ldg(reinterpret_cast<const uint4*>(own)));
      } else if constexpr (kBytes == 4) {
        minus = minus_bits4(__ldg(reinterpret_cast<const uint32_t*>(own)));
      } else {
        minus = *own < 0;
      }
    }
    uint32_t mine = 0;
#pragma unroll
    for (int k = 0; k < kBytes; ++k) {
      const uint32_t votes = __ballot_sync(kFull, minus >> k & 1u);
      if (lane == k) mine = votes;
    }
    if (lane < kBytes) tile[int64_t(site + lane) * kPlaneWords] = mine;
  }
  if (blockIdx.y == 0 && lane == 0) tile[int64_t(num_sites) * kPlaneWords] = 0;
}

// kBytes of a row of bits by a thread: 2 where a row is whole words of 16 spins, else 1.
template <int kBytes>
__global__ void __launch_bounds__(kThreads)
    pack_spins_kernel(const int8_t* __restrict__ spins, int64_t pieces, int num_sites, uint8_t* __restrict__ packed) {
  const int64_t piece = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (piece >= pieces) return;
  if constexpr (kBytes == 2) {
    const uint32_t minus = minus_bits16(__ldg(reinterpret_cast<const uint4*>(spins) + piece));
    reinterpret_cast<uint16_t*>(packed)[piece] = static_cast<uint16_t>(~minus);
  } else {
    const int row_bytes = (num_sites + 7) / 8;
    const int64_t row = piece / row_bytes;
    const int first = 8 * static_cast<int>(piece - row * row_bytes), sites = min(8, num_sites - first);
    const int8_t* own = spins + row * num_sites + first;
    uint32_t plus = 0;
    for (int k = 0; k < sites; ++k) plus |= uint32_t(own[k] > 0) << k;
    packed[piece] = static_cast<uint8_t>(plus);
  }
}

// Four bits to four spins: bit k moves to bit 8 k, where 1 is +1 and 0 becomes 0xff.
__device__ __forceinline__ uint32_t spins_of_nibble(uint32_t nibble) {
  const uint32_t plus = (nibble * 0x00204081u) & 0x01010101u;
  return plus | (0x01010101u - plus) * 0xffu;
}

template <int kBytes>
__global__ void __launch_bounds__(kThreads)
    unpack_spins_kernel(const uint8_t* __restrict__ packed, int64_t pieces, int num_sites, int8_t* __restrict__ spins) {
  const int64_t piece = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (piece >= pieces) return;
  if constexpr (kBytes == 2) {
    const uint32_t bits = __ldg(reinterpret_cast<const uint16_t*>(packed) + piece);
    reinterpret_cast<uint4*>(spins)[piece] = make_uint4(spins_of_nibble(bits & 15u), spins_of_nibble(bits >> 4 & 15u),
                                                        spins_of_nibble(bits >> 8 & 15u), spins_of_nibble(bits >> 12));
  } else {
    const int row_bytes = (num_sites + 7) / 8;
    const int64_t row = piece / row_bytes;
    const int first = 8 * static_cast<int>(piece - row * row_bytes), sites = min(8, num_sites - first);
    int8_t* own = spins + row * num_sites + first;
    const uint32_t bits = packed[piece];
    for (int k = 0; k < sites; ++k) own[k] = static_cast<int8_t>(2 * int(bits >> k & 1u) - 1);
  }
}

void check_sizes(int64_t count, int num_sites) {
  if (count < 0 || num_sites < 1) throw std::invalid_argument("num_sites must be at least 1, count 0");
}

unsigned blocks_for(int64_t pieces, int64_t share) {
  const int64_t blocks = (pieces + share - 1) / share;
  if (blocks > INT32_MAX) throw std::invalid_argument("count is too large for one launch");
  return static_cast<unsigned>(blocks);
}

bool is_aligned(const void* pointer, int bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

}  // namespace

void launch_pack_planes(const int8_t* spins, int64_t count, int num_sites, uint32_t* planes, StreamHandle stream) {
  check_sizes(count, num_sites);
  if (count == 0) return;
  const dim3 grid(blocks_for(count, kPlaneSamples), blocks_for(num_sites, kSites));
  if (grid.y > 65535) throw std::invalid_argument("num_sites is too large for one launch");
  if (num_sites % 16 == 0 && is_aligned(spins, 16))
    VANFAST_LAUNCH(pack_planes_kernel<16>, grid, kThreads, 0, stream, spins, count, num_sites, planes);
  else if (num_sites % 4 == 0 && is_aligned(spins, 4))
    VANFAST_LAUNCH(pack_planes_kernel<4>, grid, kThreads, 0, stream, spins, count, num_sites, planes);
  else
    VANFAST_LAUNCH(pack_planes_kernel<1>, grid, kThreads, 0, stream, spins, count, num_sites, planes);
}

void launch_pack_spins(const int8_t* spins, int64_t count, int num_sites, uint8_t* packed, StreamHandle stream) {
  check_sizes(count, num_sites);
  if (count == 0) return;
  if (num_sites % 16 == 0 && is_aligned(spins, 16) && is_aligned(packed, 2)) {
    const int64_t pieces = count * (num_sites / 16);
    VANFAST_LAUNCH(pack_spins_kernel<2>, blocks_for(pieces, kThreads), kThreads, 0, stream, spins, pieces, num_sites,
                   packed);
  } else {
    const int64_t pieces = count * ((num_sites + 7) / 8);
    VANFAST_LAUNCH(pack_spins_kernel<1>, blocks_for(pieces, kThreads), kThreads, 0, stream, spins, pieces, num_sites,
                   packed);
  }
}

void launch_unpack_spins(const uint8_t* packed, int64_t count, int num_sites, int8_t* spins, StreamHandle stream) {
  check_sizes(count, num_sites);
  if (count == 0) return;
  if (num_sites % 16 == 0 && is_aligned(spins, 16) && is_aligned(packed, 2)) {
    const int64_t pieces = count * (num_sites / 16);
    VANFAST_LAUNCH(unpack_spins_kernel<2>, blocks_for(pieces, kThreads), kThreads, 0, stream, packed, pieces, num_sites,
                   spins);
  } else {
    const int64_t pieces = count * ((num_sites + 7) / 8);
    VANFAST_LAUNCH(unpack_spins_kernel<1>, blocks_for(pieces, kThreads), kThreads, 0, stream, packed, pieces, num_sites,
                   spins);
  }
}

}  // namespace vanfast::cuda
