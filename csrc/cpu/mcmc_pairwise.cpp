// Chains by single-site updates with cached fields, alone or as replicas that exchange temperatures.
//
// A task is a few chains; their R replicas fill groups of kLanes walkers, which stay in cache between sweeps.
#include <algorithm>
#include <mutex>
#include <numeric>

#include "cpu/mcmc_run.h"
#include "cpu/packing.h"
#include "cpu/replicas.h"
#include "cpu/watched.h"

namespace vanfast::cpu {
namespace {

class Walkers {
 public:
  Walkers(const PairTable& table, double quantum, const std::vector<double>& betas, const Schedule& schedule,
          const McmcKernels& kernels, int64_t first_chain, int64_t chains)
      : table_(table),
        quantum_(quantum),
        schedule_(schedule),
        kernels_(kernels),
        chains_(chains),
        replicas_(betas, schedule.seed, schedule.first + static_cast<uint64_t>(first_chain), chains) {
    const int64_t replicas = replicas_.count(), count = replicas_.walkers();
    const int64_t groups = (count + kLanes - 1) / kLanes;
    lanes_.resize(groups * kLanes * 4);
    scale_.resize(groups * kLanes);
    local_.resize(static_cast<size_t>(groups) * table.num_sites * kLanes);
    down_.resize(static_cast<size_t>(groups) * table.num_sites);
    for (int64_t g = 0; g < groups; ++g) {
      uint32_t* at = lanes_.data() + g * kLanes * 4;
      groups_.push_back({at, at + kLanes, scale_.data() + g * kLanes,
                         local_.data() + static_cast<size_t>(g) * table.num_sites * kLanes,
                         down_.data() + static_cast<size_t>(g) * table.num_sites,
                         reinterpret_cast<int32_t*>(at + 2 * kLanes)});
    }
    first_walker_ = (schedule.first + static_cast<uint64_t>(first_chain)) * static_cast<uint64_t>(replicas);
    for (int64_t w = 0; w < groups * kLanes; ++w) {
      const uint64_t index = first_walker_ + static_cast<uint64_t>(w);
      groups_[w / kLanes].low[w % kLanes] = static_cast<uint32_t>(index);
      groups_[w / kLanes].high[w % kLanes] = static_cast<uint32_t>(index >> 32);
      if (w < count) set_beta(w);
    }
    start(first_chain, count);
  }

  void sweep(int64_t number, bool heat_bath) {
    const uint64_t blocks = (static_cast<uint64_t>(table_.num_sites) + 3) / 4;
    for (const WalkerGroup& group : groups_)
      kernels_.sweep(table_, group, schedule_.seed, static_cast<uint64_t>(number) * blocks, heat_bath);
  }

  // Adds turned spins of a sweep to flips[slot], and forgets them.
  void count(std::vector<int64_t>& flips, bool wanted) {
    for (int64_t w = 0; w < replicas_.walkers(); ++w)
      if (wanted) flips[replicas_.slot(w)] += groups_[w / kLanes].flips[w % kLanes];
    for (const WalkerGroup& group : groups_) std::fill_n(group.flips, kLanes, 0);
  }

  void swap(int64_t number, std::vector<int64_t>& accepted, bool wanted) {
    energy_.resize(groups_.size() * kLanes);
    for (size_t g = 0; g < groups_.size(); ++g) kernels_.energies(table_, groups_[g], energy_.data() + g * kLanes);
    const auto difference = [&](int64_t a, int64_t b) {
      return 0.5 * quantum_ * static_cast<double>(energy_[a] - energy_[b]);
    };
    replicas_.swap(number, difference, [&](int64_t walker) { set_beta(walker); }, accepted, wanted);
  }

  // Spins of every chain at temperature `target`, chain c to rows + c stride.
  void draw(int target, int8_t* rows, int64_t stride) const {
    const int64_t replicas = replicas_.count();
    if (replicas == 1) {
      for (int64_t first = 0; first < chains_; first += kLanes)
        unpack_lanes(groups_[first / kLanes].down, table_.num_sites, 1, 0,
                     static_cast<int>(std::min<int64_t>(kLanes, chains_ - first)), rows + first * stride, stride);
      return;
    }
    for (int64_t w = 0; w < chains_ * replicas; ++w) {
      const int lane = static_cast<int>(w % kLanes);
      if (replicas_.slot(w) == target)
        unpack_lanes(groups_[w / kLanes].down, table_.num_sites, 1, lane, lane + 1, rows + w / replicas * stride,
                     stride);
    }
  }

 private:
  void set_beta(int64_t walker) {
    // at most so large that a product with 2^31 stays finite: then every move is decided anyway
    groups_[walker / kLanes].scale[walker % kLanes] =
        static_cast<float>(std::min(2.0 * replicas_.beta(walker) * quantum_, 1e28));
  }

  void start(int64_t first_chain, int64_t count) {
    const int64_t replicas = replicas_.count(), n = table_.num_sites;
    std::vector<int64_t> all_up(n);
    for (int64_t i = 0; i < n; ++i) {
      all_up[i] = table_.field[i];
      const int64_t from = table_.dense ? i * n : table_.start[i], to = table_.dense ? from + n : table_.start[i + 1];
      for (int64_t e = from; e < to; ++e) all_up[i] += table_.twice[e] / 2;
    }
    std::vector<uint32_t> bits, mask(n);
    for (size_t g = 0; g < groups_.size(); ++g) {
      std::fill(mask.begin(), mask.end(), 0);
      for (int lane = 0; lane < kLanes; ++lane) {
        const int64_t w = static_cast<int64_t>(g) * kLanes + lane;
        if (w >= count) break;
        const int8_t* given = schedule_.start ? schedule_.start + (first_chain + w / replicas) * n : nullptr;
        start_bits(schedule_, first_walker_ + static_cast<uint64_t>(w), given, static_cast<int>(n), bits);
        for (int64_t i = 0; i < n; ++i) mask[i] |= (bits[i / 32] >> (i % 32) & 1) << lane;
      }
      const WalkerGroup& group = groups_[g];
      for (int64_t i = 0; i < n; ++i) {
        std::fill_n(group.local + i * kLanes, kLanes, static_cast<int32_t>(all_up[i]));
        group.down[i] = 0;
      }
      for (int64_t i = 0; i < n; ++i) kernels_.flip(table_, group, static_cast<int>(i), mask[i]);
      std::fill_n(group.flips, kLanes, 0);
    }
  }

  const PairTable& table_;
  double quantum_;
  const Schedule& schedule_;
  const McmcKernels& kernels_;
  int64_t chains_;
  Replicas replicas_;
  uint64_t first_walker_ = 0;
  std::vector<WalkerGroup> groups_;
  Buffer<uint32_t> lanes_, down_;
  Buffer<float> scale_;
  Buffer<int32_t> local_;
  std::vector<int64_t> energy_;
};

}  // namespace

Turned run_pairwise(const PairTable& table, double quantum, const std::vector<double>& betas, int target,
                    bool heat_bath, const Schedule& schedule, const McmcKernels& kernels) {
  const int64_t replicas = static_cast<int64_t>(betas.size());
  // Whole groups where there are chains enough for every thread.
  const int64_t whole = kLanes / std::gcd<int64_t>(kLanes, replicas);
  const int64_t threads = resolve_threads(schedule.threads);
  const int64_t share = std::max<int64_t>(1, std::min(whole, (schedule.chains + threads - 1) / threads));
  Turned total{std::vector<int64_t>(replicas), std::vector<int64_t>(replicas - 1)};
  std::mutex guard;
  watched_for((schedule.chains + share - 1) / share, schedule.threads,
              [&](int64_t task, Watch& watch) {
                const int64_t first = task * share, chains = std::min(share, schedule.chains - first);
                const int64_t row = schedule.draws * table.num_sites;
                Walkers walkers(table, quantum, betas, schedule, kernels, first, chains);
                Turned turned{std::vector<int64_t>(replicas), std::vector<int64_t>(replicas - 1)};
                for (int64_t done = 0; done < schedule.sweeps();) {
                  const bool wanted = done >= schedule.burn_in;
                  walkers.sweep(schedule.sweep + done, heat_bath);
                  walkers.count(turned.flips, wanted);
                  if (replicas > 1) walkers.swap(schedule.sweep + done, turned.swaps, wanted);
                  const int64_t draw = schedule.draw_after(++done);
                  if (draw >= 0) walkers.draw(target, schedule.spins + first * row + draw * table.num_sites, row);
                  watch.advance(chains);
                }
                std::lock_guard<std::mutex> lock(guard);
                for (int64_t r = 0; r < replicas; ++r) total.flips[r] += turned.flips[r];
                for (int64_t r = 0; r + 1 < replicas; ++r) total.swaps[r] += turned.swaps[r];
              },
              schedule.poll);
  return total;
}

}  // namespace vanfast::cpu
