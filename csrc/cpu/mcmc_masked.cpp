// Chains of a masked stack's -T0 ln q, alone or as replicas that exchange temperatures.
//
// A task is a few chains; their R replicas fill groups of kLanes walkers. A group goes through a whole sweep, in which
// all its lanes try the same site, with its pre-activations and all weights in the second-level cache. Every sweep
// begins with an exact evaluation (one sixtieth of the work of MADE 256-180-120-256), so that roundings of the updates
// do not pile up, and what follows a sweep depends on the spins alone.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

#include "cpu/mcmc_run.h"
#include "cpu/parallel.h"
#include "cpu/replicas.h"
#include "cpu/watched.h"

namespace vanfast::cpu {
namespace {

double soft_plus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

class Group {
 public:
  Group(const MaskedFlips& flips, bool z2) : flips_(flips) {
    for (int k = 0; k < (z2 ? 2 : 1); ++k) {
      states_.push_back(flips.make_state());
      proposals_.push_back(flips.make_proposal());
    }
  }

  // Spins in drawing order, bit set for -1.
  void set(int p, int lane, bool down) { spins()[p * kLanes + lane] = down ? -1.0f : 1.0f; }
  float* spins() { return states_[0].spins.data(); }

  // Exact ln q of the present spins.
  void refresh() {
    if (is_fresh_) return;
    if (z2())
      for (size_t i = 0; i < states_[0].spins.size(); ++i) states_[1].spins[i] = -states_[0].spins[i];
    for (size_t k = 0; k < states_.size(); ++k) flips_.refresh(states_[k], proposals_[k]);
    for (int i = 0; i < kLanes; ++i) {
      log_q[i] = states_[0].later[i];
      if (!z2()) continue;
      excess_[i] = states_[1].later[i] - states_[0].later[i];
      joined_[i] = soft_plus(excess_[i]);
      log_q[i] += joined_[i] - std::log(2.0);
    }
    is_fresh_ = true;
  }

  // What turning spin p adds to ln q, for p = 0, 1, ... N - 1 after `refresh`.
  const MaskedFlips::Sums& change(int p) {
    is_fresh_ = false;
    flips_.propose(states_[0], proposals_[0], p, change_);
    if (z2()) join(p);
    return change_;
  }

  // One sweep; words of position p are in block `block` + p / 4. Calls `pause` between sites.
  template <class Pause>
  void sweep(const Kernels& kernels, uint64_t seed, uint64_t block, bool heat_bath, Pause pause) {
    refresh();
    for (int p = 0; p < flips_.num_sites(); ++p) {
      if (p % 4 == 0) {
        const uint64_t at = block + static_cast<uint64_t>(p) / 4;
        kernels.flips.walker_words(seed, low, high, at, walker_stream(kSiteWords, at), words_);
      }
      const MaskedFlips::Sums& by = change(p);
      for (int i = 0; i < kLanes; ++i) gain_[i] = static_cast<float>(by[i]) * scale[i];
      const uint32_t mask =
          kernels.flips.decide(gain_, spins() + p * kLanes, words_ + p % 4 * kLanes, heat_bath, turned);
      if (mask) {
        for (size_t k = 0; k < states_.size(); ++k) flips_.take(states_[k], proposals_[k], p, mask);
        if (z2())
          for (int i = 0; i < kLanes; ++i)
            if (mask >> i & 1) {
              excess_[i] = next_excess_[i];
              joined_[i] = next_joined_[i];
            }
      }
      if (p % 64 == 63) pause();
    }
  }

  alignas(64) uint32_t low[kLanes], high[kLanes];  // of the walkers' indices
  alignas(64) float scale[kLanes];                 // beta T0
  alignas(64) int32_t turned[kLanes];              // counts up
  double log_q[kLanes];                            // since `refresh`

 private:
  bool z2() const { return states_.size() == 2; }

  // ln(q(s) + q(-s)) = ln q(s) + ln(1 + exp(excess))
  void join(int p) {
    flips_.propose(states_[1], proposals_[1], p, other_);
    for (int i = 0; i < kLanes; ++i) {
      next_excess_[i] = excess_[i] + other_[i] - change_[i];
      next_joined_[i] = soft_plus(next_excess_[i]);
      change_[i] += next_joined_[i] - joined_[i];
    }
  }

  const MaskedFlips& flips_;
  std::vector<MaskedFlips::State> states_;  // of s, and with z2 of -s
  std::vector<MaskedFlips::Proposal> proposals_;
  bool is_fresh_ = false;
  MaskedFlips::Sums change_, other_, excess_{}, next_excess_{}, joined_{}, next_joined_{};
  alignas(64) uint32_t words_[4 * kLanes];
  alignas(64) float gain_[kLanes];
};

class Walkers {
 public:
  Walkers(const MaskedFlips& flips, const std::vector<int64_t>& order, bool z2, double T0,
          const std::vector<double>& betas, const Schedule& schedule, const Kernels& kernels, int64_t first_chain,
          int64_t chains)
      : order_(order),
        T0_(T0),
        num_sites_(flips.num_sites()),
        schedule_(schedule),
        kernels_(kernels),
        replicas_(betas, schedule.seed, schedule.first + static_cast<uint64_t>(first_chain), chains) {
    const int64_t count = replicas_.walkers();
    const uint64_t first =
        (schedule.first + static_cast<uint64_t>(first_chain)) * static_cast<uint64_t>(replicas_.count());
    for (int64_t g = 0; g * kLanes < count; ++g) groups_.emplace_back(flips, z2);
    std::vector<uint32_t> bits;
    for (int64_t w = 0; w < static_cast<int64_t>(groups_.size()) * kLanes; ++w) {
      Group& group = groups_[w / kLanes];
      const int lane = static_cast<int>(w % kLanes);
      const uint64_t index = first + static_cast<uint64_t>(w);
      group.low[lane] = static_cast<uint32_t>(index);
      group.high[lane] = static_cast<uint32_t>(index >> 32);
      group.scale[lane] = 0.0f;
      group.turned[lane] = 0;
      if (w >= count) continue;
      set_beta(w);
      const int8_t* given =
          schedule.start ? schedule.start + (first_chain + w / replicas_.count()) * num_sites_ : nullptr;
      start_bits(schedule, index, given, num_sites_, bits);
      for (int p = 0; p < num_sites_; ++p) group.set(p, lane, bits[raster(p) / 32] >> (raster(p) % 32) & 1);
    }
  }

  template <class Pause>
  void sweep(int64_t number, bool heat_bath, Pause pause) {
    const uint64_t blocks = (static_cast<uint64_t>(num_sites_) + 3) / 4;
    for (Group& group : groups_)
      group.sweep(kernels_, schedule_.seed, static_cast<uint64_t>(number) * blocks, heat_bath, pause);
  }

  // Adds turned spins of a sweep to flips[slot], and forgets them.
  void count(std::vector<int64_t>& flips, bool wanted) {
    for (int64_t w = 0; w < replicas_.walkers(); ++w)
      if (wanted) flips[replicas_.slot(w)] += groups_[w / kLanes].turned[w % kLanes];
    for (Group& group : groups_) std::fill_n(group.turned, kLanes, 0);
  }

  void swap(int64_t number, std::vector<int64_t>& accepted, bool wanted) {
    for (Group& group : groups_) group.refresh();
    const auto energy = [&](int64_t w) { return -T0_ * groups_[w / kLanes].log_q[w % kLanes]; };
    replicas_.swap(
        number, [&](int64_t a, int64_t b) { return energy(a) - energy(b); }, [&](int64_t w) { set_beta(w); }, accepted,
        wanted);
  }

  // Spins of every chain at temperature `target`, chain c to rows + c stride.
  void draw(int target, int8_t* rows, int64_t stride) {
    const int64_t replicas = replicas_.count();
    std::vector<uint32_t> signs(num_sites_), down(num_sites_);
    for (size_t g = 0; g < groups_.size(); ++g) {
      kernels_.signs(groups_[g].spins(), num_sites_, signs.data());
      for (int p = 0; p < num_sites_; ++p) down[raster(p)] = signs[p];
      const int64_t begin = static_cast<int64_t>(g) * kLanes, end = std::min(begin + kLanes, replicas_.walkers());
      for (int64_t w = begin; w < end; ++w) {
        const int lane = static_cast<int>(w - begin);
        if (replicas_.slot(w) == target)
          unpack_lanes(down.data(), num_sites_, 1, lane, lane + 1, rows + w / replicas * stride, stride);
      }
    }
  }

 private:
  int64_t raster(int p) const { return order_.empty() ? p : order_[p]; }
  // at most so large that a product with a change of ln q stays finite: then every move is decided anyway
  void set_beta(int64_t w) {
    groups_[w / kLanes].scale[w % kLanes] = static_cast<float>(std::min(replicas_.beta(w) * T0_, 1e28));
  }

  const std::vector<int64_t>& order_;
  double T0_;
  int num_sites_;
  const Schedule& schedule_;
  const Kernels& kernels_;
  Replicas replicas_;
  std::vector<Group> groups_;
};

}  // namespace

Turned run_masked(const MaskedFlips& flips, const std::vector<int64_t>& order, bool z2, double T0,
                  const std::vector<double>& betas, int target, bool heat_bath, const Schedule& schedule,
                  const Kernels& kernels) {
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
                const int64_t row = schedule.draws * flips.num_sites();
                Walkers walkers(flips, order, z2, T0, betas, schedule, kernels, first, chains);
                Turned turned{std::vector<int64_t>(replicas), std::vector<int64_t>(replicas - 1)};
                for (int64_t done = 0; done < schedule.sweeps();) {
                  const bool wanted = done >= schedule.burn_in;
                  walkers.sweep(schedule.sweep + done, heat_bath, [&] { watch.advance(0); });
                  walkers.count(turned.flips, wanted);
                  if (replicas > 1) walkers.swap(schedule.sweep + done, turned.swaps, wanted);
                  const int64_t draw = schedule.draw_after(++done);
                  if (draw >= 0) walkers.draw(target, schedule.spins + first * row + draw * flips.num_sites(), row);
                  watch.advance(chains);
                }
                std::lock_guard<std::mutex> lock(guard);
                for (int64_t r = 0; r < replicas; ++r) total.flips[r] += turned.flips[r];
                for (int64_t r = 0; r + 1 < replicas; ++r) total.swaps[r] += turned.swaps[r];
              },
              schedule.poll);
  return total;
}

void flip_changes(const MaskedFlips& flips, const std::vector<int64_t>& order, bool z2, const int8_t* spins,
                  int64_t count, int threads, double* changes, const std::function<void()>& poll) {
  const int n = flips.num_sites();
  parallel_for((count + kLanes - 1) / kLanes, threads,
               [&](int64_t task, int) {
                 Group group(flips, z2);
                 const int64_t first = task * kLanes;
                 const int lanes = static_cast<int>(std::min<int64_t>(kLanes, count - first));
                 for (int p = 0; p < n; ++p)
                   for (int i = 0; i < lanes; ++i)
                     group.set(p, i, spins[(first + i) * n + (order.empty() ? p : order[p])] < 0);
                 group.refresh();
                 for (int p = 0; p < n; ++p) {
                   const MaskedFlips::Sums& change = group.change(p);
                   for (int i = 0; i < lanes; ++i)
                     changes[(first + i) * n + (order.empty() ? p : order[p])] = change[i];
                 }
               },
               poll);
}

}  // namespace vanfast::cpu
