// Swendsen and Wang's cluster updates: bonds between equal spins are set with probability 1 - exp(-2 beta J), and every
// cluster of set bonds gets a random sign.
//
// Grid: a block owns a chain; labels, spins and signs lie in shared memory (4.5 bytes a site: up to 51,000 sites), else
// in a workspace. All random words are addressed, none drawn in turn: bond m has word m of the sweep, the sign of the
// cluster with label l is bit l of the words behind (stream 2, use kClusterWords). Clusters are joined without locks: a
// root is hooked under a smaller one, so that the label of a cluster is its smallest site whoever came first. Three
// barriers a sweep: labels, bonds, signs. Words and labels do not depend on the order of threads, nor does the result.
//
// Floor on H200, square lattice: two bonds of 60 instructions (a quarter of a Philox block, two searches, one hook) and
// 80 more for a site, 200 for 32 sites: 1.5e11 sites/s. Predicted: half of it, as lanes search for different lengths.
#include "cuda/mcmc_clusters.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kThreads = 256, kBlocks = 4;

// The root of a site; what it passes is hooked further up. Others may do the same: they write ancestors, too.
__device__ __forceinline__ int32_t root_of(volatile int32_t* label, int32_t site) {
  for (int32_t next = label[site]; next != site; next = label[site]) {
    const int32_t after = label[next];
    if (after != next) label[site] = after;
    site = after;
  }
  return site;
}

__device__ __forceinline__ void join(int32_t* label, int32_t a, int32_t b) {
  a = root_of(label, a), b = root_of(label, b);
  while (a != b) {
    const int32_t larger = max(a, b), smaller = min(a, b);
    const int32_t found = atomicCAS(label + larger, larger, smaller);
    if (found == larger) return;
    a = root_of(label, found), b = root_of(label, smaller);
  }
}

template <bool kShared>
__global__ void __launch_bounds__(kThreads, kBlocks)
    mcmc_swendsen_wang_kernel(const Walkers walkers, const ClusterSystem system, int64_t ints, const Sweeps sweeps) {
  VANFAST_SHARED(shared);
  const int N = walkers.sites, M = system.num_bonds, lane = threadIdx.x % 32, chain = blockIdx.x;
  const ClusterMemory memory(kShared ? reinterpret_cast<int32_t*>(shared) : system.workspace + chain * ints, N);
  int32_t* const label = memory.sites;
  const uint64_t index = walkers.base + static_cast<uint64_t>(chain);
  const int bond_blocks = (M + 3) / 4, sign_blocks = (N + 127) / 128;
  load_spins(walkers, chain, memory.spins);
  int64_t flips = 0;
  for (int64_t sweep = sweeps.first; sweep < sweeps.first + sweeps.count; ++sweep) {
    const uint64_t block = static_cast<uint64_t>(sweep) * static_cast<uint64_t>(int64_t{bond_blocks} + sign_blocks);
    for (int i = threadIdx.x; i < N; i += kThreads) label[i] = i;
    for (int k = threadIdx.x; k < sign_blocks; k += kThreads) {
      const PhiloxWords random = walker_words(walkers.seed, index, kClusterWords, block + bond_blocks + k);
#pragma unroll
      for (int w = 0; w < 4; ++w) memory.bits[4 * k + w] = random.word[w];
    }
    __syncthreads();
    for (int quad = threadIdx.x; quad < bond_blocks; quad += kThreads) {
      const PhiloxWords random = walker_words(walkers.seed, index, kClusterWords, block + quad);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int bond = 4 * quad + k;
        if (bond >= M || random.word[k] >= __ldg(system.threshold + bond)) continue;
        const int2 ends = __ldg(system.ends + bond);
        if (bit_of(memory.spins, ends.x) == bit_of(memory.spins, ends.y)) join(label, ends.x, ends.y);
      }
    }
    __syncthreads();
    for (int base = threadIdx.x / 32 * 32; base < N; base += kThreads) {
      const int site = base + lane;
      const bool turned = site < N && bit_of(memory.bits, root_of(label, site));
      const uint32_t all = __ballot_sync(0xFFFFFFFFu, turned);
      if (lane == 0) memory.spins[base / 32] ^= all;
      flips += turned;
    }
    __syncthreads();  // labels are read until here
  }
  store_spins(walkers, chain, memory.spins);
  flips = warp_sum(flips);
  if (sweeps.flips && lane == 0) add_to(sweeps.flips, flips);
}

}  // namespace

void launch_mcmc_swendsen_wang(const Walkers& walkers, const ClusterSystem& system, const Piece& piece, int64_t* flips,
                               int shared_limit, StreamHandle stream) {
  const ClusterLaunch launch = cluster_launch(walkers, system, shared_limit);
  const auto kernel = launch.shared ? mcmc_swendsen_wang_kernel<true> : mcmc_swendsen_wang_kernel<false>;
  walk(
      piece, false, flips,
      [&](const Sweeps& sweeps) {
        VANFAST_LAUNCH(kernel, static_cast<unsigned>(walkers.count), kThreads, launch.bytes, stream, walkers, system,
                       cluster_ints(walkers.sites), sweeps);
      },
      [&](int64_t draw) { launch_mcmc_draw(walkers, 1, nullptr, 0, piece, draw, stream); });
}

}  // namespace vanfast::cuda
