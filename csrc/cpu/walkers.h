// Chains by single-site updates, alone or as replicas that exchange temperatures: what all such kernels share.
//
// A task is a few chains; their R replicas fill groups of kLanes walkers, which stay in cache between sweeps. A group
// goes through a whole sweep, in which all its lanes try the same site. A Group, which `make` gives, has
//   low, high [kLanes]      of the walkers' indices, turned [kLanes], which counts up
//   start(lane, schedule, index, given)  a walker's first configuration; begin() follows when all have theirs
//   set_beta(lane, beta)
//   sweep(number, pause)    calls pause() now and then, where a sweep is long
//   measure(); energy(lane) energies of the present configurations; the latter after the former
//   write(first lane, end lane, rows, stride)
#pragma once

#include <algorithm>
#include <mutex>
#include <numeric>
#include <vector>

#include "cpu/mcmc_run.h"
#include "cpu/replicas.h"
#include "cpu/watched.h"

namespace vanfast::cpu {

template <class Group>
class Walkers {
 public:
  template <class Make>
  Walkers(const std::vector<double>& betas, const Schedule& schedule, int num_sites, int64_t first_chain,
          int64_t chains, const Make& make)
      : replicas_(betas, schedule.seed, schedule.first + static_cast<uint64_t>(first_chain), chains) {
    const int64_t R = replicas_.count(), count = replicas_.walkers();
    const uint64_t first = (schedule.first + static_cast<uint64_t>(first_chain)) * static_cast<uint64_t>(R);
    groups_.reserve((count + kLanes - 1) / kLanes);
    for (int64_t w = 0; w < (count + kLanes - 1) / kLanes * kLanes; ++w) {
      if (w % kLanes == 0) groups_.push_back(make());
      Group& group = groups_.back();
      const int lane = static_cast<int>(w % kLanes);
      const uint64_t index = first + static_cast<uint64_t>(w);
      group.low[lane] = static_cast<uint32_t>(index);
      group.high[lane] = static_cast<uint32_t>(index >> 32);
      group.turned[lane] = 0;
      if (w >= count) continue;
      group.set_beta(lane, replicas_.beta(w));
      const int8_t* given = schedule.start ? schedule.start + (first_chain + w / R) * num_sites : nullptr;
      group.start(lane, schedule, index, given);
    }
    for (Group& group : groups_) group.begin();
  }

  template <class Pause>
  void sweep(int64_t number, Pause pause) {
    for (Group& group : groups_) group.sweep(number, pause);
  }

  // Adds turned spins of a sweep to flips[slot], and forgets them.
  void count(std::vector<int64_t>& flips, bool wanted) {
    for (int64_t w = 0; wanted && w < replicas_.walkers(); ++w) flips[replicas_.slot(w)] += of(w).turned[w % kLanes];
    for (Group& group : groups_) std::fill_n(group.turned, kLanes, 0);
  }

  void swap(int64_t number, std::vector<int64_t>& accepted, bool wanted) {
    for (Group& group : groups_) group.measure();
    const auto energy = [&](int64_t w) { return of(w).energy(static_cast<int>(w % kLanes)); };
    replicas_.swap(
        number, [&](int64_t a, int64_t b) { return energy(a) - energy(b); },
        [&](int64_t w) { of(w).set_beta(static_cast<int>(w % kLanes), replicas_.beta(w)); }, accepted, wanted);
  }

  // Configurations of every chain at temperature `target`, chain c to rows + c stride.
  void draw(int target, int8_t* rows, int64_t stride) {
    const int64_t R = replicas_.count(), step = R == 1 ? kLanes : 1;
    for (int64_t w = 0; w < replicas_.walkers(); w += step) {
      const int lane = static_cast<int>(w % kLanes);
      if (replicas_.slot(w) == target)
        of(w).write(lane, lane + static_cast<int>(std::min(step, replicas_.walkers() - w)), rows + w / R * stride,
                    stride);
    }
  }

 private:
  Group& of(int64_t walker) { return groups_[walker / kLanes]; }

  Replicas replicas_;
  std::vector<Group> groups_;
};

template <class Make>
Turned run_walkers(const std::vector<double>& betas, int target, const Schedule& schedule, int num_sites,
                   const Make& make) {
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
                const int64_t row = schedule.draws * num_sites;
                Walkers<decltype(make())> walkers(betas, schedule, num_sites, first, chains, make);
                Turned turned{std::vector<int64_t>(replicas), std::vector<int64_t>(replicas - 1)};
                for (int64_t done = 0; done < schedule.sweeps();) {
                  const bool wanted = done >= schedule.burn_in;
                  walkers.sweep(schedule.sweep + done, [&] { watch.advance(0); });
                  walkers.count(turned.flips, wanted);
                  if (replicas > 1) walkers.swap(schedule.sweep + done, turned.swaps, wanted);
                  const int64_t draw = schedule.draw_after(++done);
                  if (draw >= 0) walkers.draw(target, schedule.spins + first * row + draw * num_sites, row);
                  watch.advance(chains);
                }
                std::lock_guard<std::mutex> lock(guard);
                for (int64_t r = 0; r < replicas; ++r) total.flips[r] += turned.flips[r];
                for (int64_t r = 0; r + 1 < replicas; ++r) total.swaps[r] += turned.swaps[r];
              },
              schedule.poll);
  return total;
}

// Block of the words of site 0 in sweep `number`, whose sites are in blocks of four.
inline uint64_t sweep_block(int64_t number, int num_sites) {
  return static_cast<uint64_t>(number) * ((static_cast<uint64_t>(num_sites) + 3) / 4);
}

}  // namespace vanfast::cpu
