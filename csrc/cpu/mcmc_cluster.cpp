// Wolff's and Swendsen and Wang's cluster updates: one chain a task, spins as bytes, random words in runs of kRunBlocks
// blocks. Word number n of a chain is word n % (4 kRunBlocks) / kRunBlocks of block n % kRunBlocks of its run.
#include <algorithm>
#include <mutex>
#include <numeric>

#include "cpu/mcmc_run.h"
#include "cpu/packing.h"
#include "cpu/watched.h"

namespace vanfast::cpu {
namespace {

constexpr int kRunBlocks = 64;

// The random words of a chain, one after the other.
class Words {
 public:
  Words(uint64_t seed, uint64_t chain, uint64_t first_run, const McmcKernels& kernels)
      : seed_(seed), chain_(chain), run_(first_run), kernels_(kernels), words_(4 * kRunBlocks) {}
  uint32_t next() {
    if (at_ == 4 * kRunBlocks) fill();
    return words_[at_++];
  }

 private:
  void fill() {
    kernels_.walker_run(seed_, chain_, kClusterWords, run_++ * kRunBlocks, kRunBlocks, words_.data());
    at_ = 0;
  }
  uint64_t seed_, chain_, run_;
  const McmcKernels& kernels_;
  Buffer<uint32_t> words_;
  int at_ = 4 * kRunBlocks;
};

class Chain {
 public:
  Chain(const ClusterTable& table, const Schedule& schedule, const McmcKernels& kernels, int64_t chain)
      : table_(table),
        words_(schedule.seed, schedule.first + static_cast<uint64_t>(chain),
               // a run that goes on takes words that none before it can have reached
               static_cast<uint64_t>(schedule.sweep) << 20, kernels),
        spins_(start_values(schedule, schedule.first + static_cast<uint64_t>(chain),
                            schedule.start ? schedule.start + chain * table.num_sites : nullptr, table.num_sites,
                            table.states)),
        stack_(table.num_sites) {}

  const int8_t* spins() const { return spins_.data(); }

  // Turns the cluster of a random site, or gives it another state, a free site's every other time; returns its size.
  int64_t wolff() {
    const auto n = static_cast<uint64_t>(table_.num_sites);
    const auto seed_site = static_cast<int32_t>(words_.next() * n >> 32);
    if (table_.start[seed_site] == table_.start[seed_site + 1] && words_.next() >> 31) return 0;
    const int8_t old = spins_[seed_site], now = table_.states ? other(old) : static_cast<int8_t>(-old);
    int64_t size = 0, top = 0;
    spins_[seed_site] = now;
    stack_[top++] = seed_site;
    while (top) {
      const int32_t site = stack_[--top];
      ++size;
      for (int32_t e = table_.start[site]; e < table_.start[site + 1]; ++e) {
        const int32_t other = table_.neighbour[e];
        if (spins_[other] != old || words_.next() >= table_.threshold[e]) continue;
        spins_[other] = now;
        stack_[top++] = other;
      }
    }
    return size;
  }

  // Every cluster gets a random sign or state; returns how many sites changed. Sites are joined to roots of smaller
  // number.
  int64_t swendsen_wang() {
    int32_t* root = stack_.data();
    std::iota(root, root + table_.num_sites, 0);
    const auto find = [root](int32_t site) {
      while (root[site] != site) {
        root[site] = root[root[site]];
        site = root[site];
      }
      return site;
    };
    for (int32_t site = 0; site < table_.num_sites; ++site)
      for (int32_t e = table_.start[site]; e < table_.start[site + 1]; ++e) {
        const int32_t other = table_.neighbour[e];
        if (other < site || spins_[other] != spins_[site] || words_.next() >= table_.threshold[e]) continue;
        const int32_t a = find(site), b = find(other);
        root[std::max(a, b)] = std::min(a, b);
      }
    int64_t turned = 0;
    uint32_t signs = 0;
    int left = 0;
    for (int32_t site = 0; site < table_.num_sites; ++site) {
      if (root[site] != site) {
        root[site] = root[root[site]];  // of a smaller site: its sign is there already
      } else if (table_.states) {
        root[site] = -1 - any_state(words_.next(), table_.states);
      } else {
        if (!left) {
          signs = words_.next();
          left = 32;
        }
        root[site] = -1 - static_cast<int32_t>(signs & 1);
        signs >>= 1;
        --left;
      }
      const int value = -1 - root[site], old = spins_[site], now = table_.states ? value : value ? -old : old;
      turned += now != old;
      spins_[site] = static_cast<int8_t>(now);
    }
    return turned;
  }

 private:
  int8_t other(int state) {
    const int step = 1 + any_state(words_.next(), table_.states - 1);
    return static_cast<int8_t>((state + step) % table_.states);
  }

  const ClusterTable& table_;
  Words words_;
  std::vector<int8_t> spins_;
  std::vector<int32_t> stack_;
};

// Runs all chains; step(chain, burning, clusters of the chain) makes a sweep and returns (clusters, turned spins).
template <class Step>
Clusters run_chains(const ClusterTable& table, const Schedule& schedule, const McmcKernels& kernels, Step&& step) {
  Clusters total{0, 0, std::vector<int64_t>(schedule.chains)};
  std::mutex guard;
  watched_for(
      schedule.chains, schedule.threads,
      [&](int64_t task, Watch& watch) {
        Chain chain(table, schedule, kernels, task);
        int64_t burnt_clusters = 0, burnt = 0, clusters = 0, turned = 0, per_sweep = 0;
        // A sweep that ends once N spins have turned ends after large clusters rather than small ones: in the second
        // half of the burn-in the number of clusters is fixed already, so that draws do not remember this.
        for (int64_t done = 0; done < schedule.sweeps();) {
          if (done < (schedule.burn_in + 1) / 2) {
            const auto [count, flips] = step(chain, int64_t{0});
            burnt_clusters += count;
            burnt += flips;
          } else {
            if (!per_sweep)
              per_sweep = burnt ? std::max<int64_t>(1, (table.num_sites * burnt_clusters + burnt / 2) / burnt) : 1;
            const auto [count, flips] = step(chain, per_sweep);
            clusters += done < schedule.burn_in ? 0 : count;
            turned += done < schedule.burn_in ? 0 : flips;
          }
          const int64_t draw = schedule.draw_after(++done);
          if (draw >= 0)
            std::copy_n(chain.spins(), table.num_sites,
                        schedule.spins + (task * schedule.draws + draw) * table.num_sites);
          watch.advance(1);
        }
        std::lock_guard<std::mutex> lock(guard);
        total.count += clusters;
        total.flips += turned;
        total.per_sweep[task] = per_sweep;
      },
      schedule.poll);
  return total;
}

}  // namespace

Clusters run_wolff(const ClusterTable& table, int64_t per_sweep, const Schedule& schedule, const McmcKernels& kernels) {
  Clusters total = run_chains(table, schedule, kernels, [&](Chain& chain, int64_t found) {
    const int64_t wanted = per_sweep ? per_sweep : found;
    int64_t clusters = 0, flips = 0;
    do {
      flips += chain.wolff();
      ++clusters;
    } while (wanted ? clusters < wanted : flips < table.num_sites);
    return std::pair(clusters, flips);
  });
  if (per_sweep) std::fill(total.per_sweep.begin(), total.per_sweep.end(), per_sweep);
  return total;
}

Clusters run_swendsen_wang(const ClusterTable& table, const Schedule& schedule, const McmcKernels& kernels) {
  return run_chains(table, schedule, kernels,
                    [](Chain& chain, int64_t) { return std::pair(int64_t{1}, chain.swendsen_wang()); });
}

}  // namespace vanfast::cpu
