// Spins as bits inside a kernel: a bit is 1 for spin -1, site i of a sample at bit (offset + i) of a stream of words.
#pragma once

#include <cstdint>

#include "cuda/runtime.cuh"

namespace vanfast::cuda {

constexpr int kWarp = 32;
constexpr unsigned kFull = 0xffffffffu;

// The sign bits of four bytes: bits 7, 15, 23, 31 move to 28 .. 31, and no other product of the multiplication carries.
__device__ __forceinline__ uint32_t minus_bits4(uint32_t four) { return ((four & 0x80808080u) * 0x00204081u) >> 28; }

__device__ __forceinline__ uint32_t minus_bits16(const uint4& bytes) {
  return minus_bits4(bytes.x) | minus_bits4(bytes.y) << 4 | minus_bits4(bytes.z) << 8 | minus_bits4(bytes.w) << 12;
}

// 32 bits of a stream from any position; reads one word more than it may need.
__device__ __forceinline__ uint32_t bits_at(const uint32_t* words, unsigned position) {
  const unsigned word = position >> 5;
  return __funnelshift_r(words[word], words[word + 1], position & 31);
}

// The lowest `count` of 32 bits, count >= 1.
__device__ __forceinline__ uint32_t low_bits(int count) { return kFull >> (count >= 32 ? 0 : 32 - count); }

// Words for the bits of `bytes` spins that start anywhere, with the word that bits_at reads in excess.
inline __host__ __device__ int words_for(int64_t bytes) { return static_cast<int>((bytes + 15 + 31) / 32 + 2); }

// The minus bits of a chunk that sticks out of the array, byte by byte.
__device__ inline uint16_t edge_bits(const int8_t* origin, int64_t chunk, int64_t begin, int64_t end) {
  uint32_t bits = 0;
  for (int b = 0; b < 16; ++b) {
    const int64_t at = 16 * chunk + b;
    if (at >= begin && at < end) bits |= uint32_t(origin[at] < 0) << b;
  }
  return static_cast<uint16_t>(bits);
}

// A warp reads spins [first, first + bytes) of `total` once, in aligned chunks of 16 bytes a lane, and leaves their
// bits in its own `words`. Returns the position of the first. __syncwarp before reading them.
__device__ inline int pack_stream(const int8_t* __restrict__ spins, int64_t total, int64_t first, int64_t bytes,
                                  uint32_t* words, int lane) {
  constexpr int kAhead = 4;  // loads in flight of a lane: 2 KB of a warp
  const int64_t skew = static_cast<int64_t>(reinterpret_cast<uintptr_t>(spins) & 15);
  const int8_t* origin = spins - skew;
  const int64_t start = (skew + first) / 16, end = (skew + first + bytes + 15) / 16;
  // Only the array's own first and last chunk can stick out of it.
  const int64_t whole = start == 0 && skew ? 1 : start, whole_end = min(end, (skew + total) / 16);
  auto* halves = reinterpret_cast<uint16_t*>(words);
  for (int64_t chunk = whole + lane; chunk < whole_end; chunk += kAhead * kWarp) {
    uint4 read[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k)
      if (chunk + k * kWarp < whole_end) read[k] = __ldg(reinterpret_cast<const uint4*>(origin) + chunk + k * kWarp);
#pragma unroll
    for (int k = 0; k < kAhead; ++k)
      if (chunk + k * kWarp < whole_end)
        halves[chunk + k * kWarp - start] = static_cast<uint16_t>(minus_bits16(read[k]));
  }
  if (lane == 0 && start < whole) halves[0] = edge_bits(origin, start, skew, skew + total);
  if (lane == 0 && whole_end < end) halves[end - 1 - start] = edge_bits(origin, end - 1, skew, skew + total);
  return static_cast<int>(skew + first - 16 * start);
}

// How warps share out samples: 2^k of them to a warp, so that they are about 2 KB of spins, and 32 / 2^k lanes to each.
struct WarpShare {
  int samples, lanes, words, warps;  // words of shared memory a warp, warps a block
  size_t shared_bytes;
};

inline WarpShare share_warps(int64_t num_sites) {
  constexpr int64_t kBytes = 2048, kSharedBytes = 48 << 10;
  WarpShare share{};
  share.samples = kWarp;
  while (share.samples > 1 && share.samples * num_sites > kBytes) share.samples /= 2;
  share.lanes = kWarp / share.samples;
  share.words = words_for(share.samples * num_sites);
  share.warps = 8;
  while (share.warps > 1 && int64_t{4} * share.warps * share.words > kSharedBytes) share.warps /= 2;
  share.shared_bytes = size_t{4} * share.warps * share.words;
  return share;
}

inline unsigned blocks_of(const WarpShare& share, int64_t count) {
  const int64_t samples = int64_t{share.warps} * share.samples, blocks = (count + samples - 1) / samples;
  if (blocks > INT32_MAX) throw std::invalid_argument("count is too large for one launch");
  return static_cast<unsigned>(blocks);
}

}  // namespace vanfast::cuda
