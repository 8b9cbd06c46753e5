// Wolff's cluster updates: the cluster of a random site turns; bonds between equal spins belong to it with probability
// 1 - exp(-2 beta J).
//
// Grid: a block owns a chain; the cluster's sites in the order in which they were found, spins and marks lie in shared
// memory (4.5 bytes a site), else in a workspace. The cluster grows front by front: threads share out the sites found
// last, an atomic OR decides who adds a site, and after two barriers these are the front. The words of cluster n are
// addressed: block n (1 + bonds / 4) has the site and what a free spin does, the blocks behind word m for bond m
// (stream 2, use kClusterWords). A bond is thus set or not whoever asks, and a cluster does not depend on the order of
// threads.
//
// A sweep is as many clusters as turn N spins on the average of the first half of the burn-in, see csrc/cpu/mcmc_run.h.
//
// Predicted on H200: latency, 1 us a front (a Philox block, atomics, two barriers); square lattice L = 64 at beta_c,
// 100 fronts a cluster, eight blocks a multiprocessor: 1 ms for a cluster of 8192 chains.
#include "cuda/mcmc_clusters.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kThreads = 128, kBlocks = 8;

// Adds to the cluster what bonds of `site` reach.
__device__ __forceinline__ void grow(const Walkers& walkers, const ClusterSystem& system, const ClusterMemory& memory,
                                     uint64_t index, uint64_t block, bool old, int site) {
  const volatile uint32_t* marks = memory.bits;  // only to save random words: the atomic OR decides
  for (int e = __ldg(system.start + site); e < __ldg(system.start + site + 1); ++e) {
    const int2 entry = __ldg(system.entries + e);
    const uint32_t bit = 1u << (entry.x % 32);
    if (bit_of(memory.spins, entry.x) != old || (marks[entry.x / 32] & bit)) continue;
    const PhiloxWords random = walker_words(walkers.seed, index, kClusterWords, block + 1 + entry.y / 4);
    if (word_of(random, entry.y % 4) >= __ldg(system.threshold + entry.y)) continue;
    if (atomicOr(memory.bits + entry.x / 32, bit) & bit) continue;
    memory.sites[atomicAdd(memory.own, 1)] = entry.x;
  }
}

// Turns a cluster whose words begin at `block`; returns its size, in all threads.
__device__ int turn_cluster(const Walkers& walkers, const ClusterSystem& system, const ClusterMemory& memory,
                            uint64_t index, uint64_t block) {
  const int N = walkers.sites;
  const PhiloxWords random = walker_words(walkers.seed, index, kClusterWords, block);
  const int seed = static_cast<int>(static_cast<uint64_t>(random.word[0]) * static_cast<uint64_t>(N) >> 32);
  if (__ldg(system.start + seed) == __ldg(system.start + seed + 1) && random.word[1] >> 31) return 0;
  const bool old = bit_of(memory.spins, seed);
  if (threadIdx.x == 0) {  // whose the first front is
    memory.sites[0] = seed;
    memory.own[0] = 1;
    memory.bits[seed / 32] = 1u << (seed % 32);
  }
  int end = 1;
  for (int begin = 0; begin < end;) {
    for (int k = begin + static_cast<int>(threadIdx.x); k < end; k += kThreads)
      grow(walkers, system, memory, index, block, old, memory.sites[k]);
    __syncthreads();
    begin = end;
    end = memory.own[0];
    __syncthreads();  // all have read how many there are
  }
  for (int w = threadIdx.x; w < (N + 31) / 32; w += kThreads) {
    memory.spins[w] ^= memory.bits[w];
    memory.bits[w] = 0;
  }
  __syncthreads();
  return end;
}

template <bool kShared>
__global__ void __launch_bounds__(kThreads, kBlocks)
    mcmc_wolff_kernel(const Walkers walkers, const ClusterSystem system, int64_t ints, WolffState* __restrict__ states,
                      int64_t asked, uint64_t words, int64_t origin, int64_t burn_in, const Sweeps sweeps) {
  VANFAST_SHARED(shared);
  const int N = walkers.sites, chain = blockIdx.x;
  const ClusterMemory memory(kShared ? reinterpret_cast<int32_t*>(shared) : system.workspace + chain * ints, N);
  const uint64_t index = walkers.base + static_cast<uint64_t>(chain);
  const uint64_t blocks = 1 + (static_cast<uint64_t>(system.num_bonds) + 3) / 4;
  load_spins(walkers, chain, memory.spins);
  for (int w = threadIdx.x; w < (N + 31) / 32; w += kThreads) memory.bits[w] = 0;
  WolffState state = states[chain];  // before the barrier: a thread that finds free spins alone meets no other one
  __syncthreads();
  int64_t flips = 0;
  for (int64_t done = sweeps.first - origin; done < sweeps.first - origin + sweeps.count; ++done) {
    const bool learns = done < (burn_in + 1) / 2;
    if (!learns && state.per_sweep == 0) {
      const int64_t turned = state.burnt_flips;
      state.per_sweep = asked ? asked : 1;
      if (!asked && turned) state.per_sweep = max(state.per_sweep, (N * state.burnt + turned / 2) / turned);
    }
    const int64_t wanted = learns ? asked : state.per_sweep;
    int64_t clusters = 0, turned = 0;
    do {
      turned += turn_cluster(walkers, system, memory, index, words + static_cast<uint64_t>(state.clusters) * blocks);
      ++state.clusters;
      ++clusters;
    } while (wanted ? clusters < wanted : turned < N);
    if (learns) state.burnt += clusters, state.burnt_flips += turned;
    if (sweeps.flips) state.counted += clusters, flips += turned;
  }
  store_spins(walkers, chain, memory.spins);
  if (threadIdx.x) return;
  states[chain] = state;
  if (sweeps.flips) add_to(sweeps.flips, flips);
}

}  // namespace

void launch_mcmc_wolff(const Walkers& walkers, const ClusterSystem& system, WolffState* states, int64_t per_sweep,
                       uint64_t words, const Piece& piece, int64_t* flips, int shared_limit, StreamHandle stream) {
  const ClusterLaunch launch = cluster_launch(walkers, system, shared_limit);
  if (per_sweep < 0) throw std::invalid_argument("per_sweep must not be negative");
  const auto kernel = launch.shared ? mcmc_wolff_kernel<true> : mcmc_wolff_kernel<false>;
  walk(
      piece, false, flips,
      [&](const Sweeps& sweeps) {
        VANFAST_LAUNCH(kernel, static_cast<unsigned>(walkers.count), kThreads, launch.bytes, stream, walkers, system,
                       cluster_ints(walkers.sites), states, per_sweep, words, piece.sweep, piece.burn_in, sweeps);
      },
      [&](int64_t draw) { launch_mcmc_draw(walkers, 1, nullptr, 0, piece, draw, stream); });
}

}  // namespace vanfast::cuda
