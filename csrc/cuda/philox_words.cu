// words[n] = Philox4x32-10 of key `seed` and counter (first + n, block, stream), n < count: shows that a device draws
// the words that the contract names. A thread owns one n; nothing is kept in shared memory.
#include "common/philox.h"
#include "cuda/philox_words.cuh"

namespace vanfast {
namespace {

constexpr int kThreads = 128;

__global__ void philox_words_kernel(uint32_t* __restrict__ words, int64_t count, uint64_t seed, uint64_t first,
                                    uint32_t block, uint32_t stream_number) {
  const int64_t n = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= count) return;
  const PhiloxWords drawn = philox(seed, first + static_cast<uint64_t>(n), block, stream_number);
  for (int i = 0; i < 4; ++i) words[4 * n + i] = drawn.word[i];
}

}  // namespace

void launch_philox_words(uint32_t* words, int64_t count, uint64_t seed, uint64_t first, uint32_t block,
                         uint32_t stream_number, StreamHandle stream) {
  if (count < 0 || count > int64_t(1) << 31) throw std::invalid_argument("count must lie between 0 and 2^31");
  if (count == 0) return;
  const unsigned blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  VANFAST_LAUNCH(philox_words_kernel, blocks, kThreads, 0, stream, words, count, seed, first, block, stream_number);
}

}  // namespace vanfast
