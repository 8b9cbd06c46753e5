#include "cpu/product_rate.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace vanfast::cpu {

double product_rate(const Kernels& kernels, bool bf16, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  const MatMul& math = kernels.matmul(bf16);
  const int rows = 32, units = 128, words = words_per_site(math, units);
  threads = std::min(resolve_threads(threads), resolve_threads(0));
  std::atomic<int64_t> products{0};
  const auto begin = Clock::now();
  parallel_for(threads, threads, [&](int64_t, int) {
    const PackedMatrix weights(math, Matrix(rows, padded_units(math, units)));
    const Buffer<Word> input(size_t(words) * kLanes, 0);
    Buffer<float> sums(size_t(rows) * kLanes, 0.0f);
    while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds) {
      for (int i = 0; i < 100; ++i) weights.multiply(0, rows, words, input.data(), sums.data());
      products += 100;
    }
  });
  const double taken = std::chrono::duration<double>(Clock::now() - begin).count();
  return 2.0 * rows * units * kLanes * static_cast<double>(products) / taken;
}

}  // namespace vanfast::cpu
