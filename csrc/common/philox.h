// Philox4x32-10 (Salmon et al., SC 2011): the project's only source of randomness, a pure function of
// key = seed and counter = (sample low, sample high, site / 4, stream); the word of a site is number site % 4.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define VANFAST_HOST_DEVICE __host__ __device__
#else
#define VANFAST_HOST_DEVICE
#endif

namespace vanfast {

enum Stream : uint32_t { kSpinStream = 0, kFlipStream = 1, kMonteCarloStream = 2, kInitStream = 3 };

constexpr uint32_t kPhiloxMul0 = 0xD2511F53u, kPhiloxMul1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxKey0 = 0x9E3779B9u, kPhiloxKey1 = 0xBB67AE85u;
constexpr int kPhiloxRounds = 10;

struct PhiloxWords {
  uint32_t word[4];
};

VANFAST_HOST_DEVICE inline PhiloxWords philox(uint64_t seed, uint64_t sample, uint32_t block, uint32_t stream) {
  uint32_t c0 = static_cast<uint32_t>(sample), c1 = static_cast<uint32_t>(sample >> 32), c2 = block, c3 = stream;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = uint64_t(kPhiloxMul0) * c0, p1 = uint64_t(kPhiloxMul1) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    k0 += kPhiloxKey0;
    k1 += kPhiloxKey1;
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace vanfast
