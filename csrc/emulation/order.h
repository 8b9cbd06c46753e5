// Who runs next: a random order of the threads that can go on, drawn from a seed. Blocks take one of three ways, each
// likely to show other mistakes: any thread each time, warps by a priority, threads by a priority; priorities hold for
// long, so that some run far ahead of others, and are drawn anew now and then.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace vanfast::emulation {

class Order {
 public:
  void set_seed(uint64_t seed) { state_ = seed; }

  // All threads can run.
  void start(unsigned threads) {
    threads_ = threads;
    way_ = static_cast<Way>(draw(3));
    ready_ = 0;
    words_.fill(0);
    shuffle();
    for (unsigned t = 0; t < threads; ++t) add(t);
  }

  bool any() const { return ready_ > 0; }

  void add(unsigned thread) { set(place_[thread]), ++ready_; }

  void remove(unsigned thread) { words_[place_[thread] / 64] &= ~(uint64_t(1) << place_[thread] % 64), --ready_; }

  unsigned next() {
    if (way_ != kAny && draw(256) == 0) renew();
    unsigned place = way_ == kAny ? static_cast<unsigned>(draw(threads_)) : 0;
    uint64_t word = words_[place / 64] >> place % 64 << place % 64;
    for (place /= 64; word == 0; word = words_[place]) place = (place + 1) % words_.size();
    return at_[place * 64 + static_cast<unsigned>(__builtin_ctzll(word))];
  }

  std::vector<uint64_t> permutation(uint64_t count) {
    std::vector<uint64_t> result(count);
    std::iota(result.begin(), result.end(), 0);
    for (uint64_t i = count; i > 1; --i) std::swap(result[i - 1], result[draw(i)]);
    return result;
  }

 private:
  enum Way { kAny, kWarps, kThreads };
  static constexpr unsigned kWarp = 32;

  void set(unsigned place) { words_[place / 64] |= uint64_t(1) << place % 64; }

  uint64_t draw(uint64_t below) {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
  }

  void shuffle() {
    std::vector<uint64_t> order = permutation(threads_);
    if (way_ == kWarps) {  // warps one after another, each with its lanes in disorder
      const std::vector<uint64_t> warps = permutation((threads_ + kWarp - 1) / kWarp);
      unsigned count = 0;
      std::vector<uint64_t> by_warp;
      for (const uint64_t warp : warps)
        for (const uint64_t thread : order)
          if (thread / kWarp == warp) by_warp.push_back(thread), ++count;
      order = by_warp;
    }
    for (unsigned p = 0; p < threads_; ++p) at_[p] = static_cast<unsigned>(order[p]), place_[order[p]] = p;
  }

  void renew() {
    std::vector<unsigned> ready;
    for (unsigned p = 0; p < threads_; ++p)
      if (words_[p / 64] >> p % 64 & 1) ready.push_back(at_[p]);
    shuffle();
    words_.fill(0);
    for (const unsigned thread : ready) set(place_[thread]);
  }

  uint64_t state_ = 0;
  unsigned threads_ = 0, ready_ = 0;
  Way way_ = kAny;
  std::array<uint64_t, 16> words_{};  // which places can run
  std::array<unsigned, 1024> at_{}, place_{};
};

}  // namespace vanfast::emulation
