// Which replica of a chain has which temperature, and exchanges of neighbouring temperatures.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "cpu/mcmc.h"

namespace vanfast::cpu {

// Replica r of chain c (counted from the first one here) is walker c R + r here, and starts at betas[r].
class Replicas {
 public:
  // first: index of the first chain
  Replicas(const std::vector<double>& betas, uint64_t seed, uint64_t first, int64_t chains)
      : betas_(betas), seed_(seed), first_(first), chains_(chains), walker_at_(betas.size()) {
    for (int64_t w = 0; w < walkers(); ++w) slot_.push_back(static_cast<int>(w % count()));
  }

  int64_t count() const { return static_cast<int64_t>(betas_.size()); }
  int64_t walkers() const { return chains_ * count(); }
  int slot(int64_t walker) const { return slot_[walker]; }
  double beta(int64_t walker) const { return betas_[slot_[walker]]; }

  // Temperatures k, k + 1 of all k of one parity exchange their replicas with probability
  // min(1, exp((beta_k - beta_{k+1}) (E_k - E_{k+1}))). difference(a, b) = E_a - E_b of two walkers; moved(walker) is
  // told of new temperatures. Accepted swaps are added to accepted[k] where they are wanted.
  template <class Difference, class Moved>
  void swap(int64_t number, Difference difference, Moved moved, std::vector<int64_t>& accepted, bool wanted) {
    const int replicas = static_cast<int>(count());
    const uint64_t blocks = (static_cast<uint64_t>(replicas) + 3) / 4;
    for (int64_t chain = 0; chain < chains_; ++chain) {
      for (int64_t w = chain * replicas; w < (chain + 1) * replicas; ++w) walker_at_[slot_[w]] = w;
      PhiloxWords words{};
      int loaded = -1;
      for (int k = static_cast<int>(number % 2); k + 1 < replicas; k += 2) {
        if (k / 4 != loaded) {
          loaded = k / 4;
          words = walker_words(seed_, first_ + static_cast<uint64_t>(chain), kSwapWords,
                               static_cast<uint64_t>(number) * blocks + loaded);
        }
        const int64_t a = walker_at_[k], b = walker_at_[k + 1];
        const double log_ratio = (betas_[k] - betas_[k + 1]) * difference(a, b);
        const double u = (words.word[k % 4] + 0.5) / 4294967296.0;
        if (log_ratio < 0 && u >= std::exp(log_ratio)) continue;
        slot_[a] = k + 1;
        slot_[b] = k;
        moved(a);
        moved(b);
        if (wanted) ++accepted[k];
      }
    }
  }

 private:
  const std::vector<double>& betas_;
  uint64_t seed_, first_;
  int64_t chains_;
  std::vector<int> slot_;
  std::vector<int64_t> walker_at_;
};

}  // namespace vanfast::cpu
