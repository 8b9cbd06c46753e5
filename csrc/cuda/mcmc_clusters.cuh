// What both cluster kernels do: the spins of one chain as bits by site, and their way from and to the words of 32
// chains.
#pragma once

#include "cuda/mcmc_device.cuh"
#include "cuda/mcmc_launch.cuh"

namespace vanfast::cuda {

// A block's memory: N sites (labels, or the sites of a cluster), two sets of bits by site, two words of its own.
struct ClusterMemory {
  int32_t* sites;
  uint32_t *spins, *bits;
  int32_t* own;

  __device__ ClusterMemory(int32_t* memory, int N)
      : sites(memory),
        spins(reinterpret_cast<uint32_t*>(memory) + N),
        bits(spins + (N + 127) / 128 * 4),
        own(reinterpret_cast<int32_t*>(bits + (N + 127) / 128 * 4)) {}
};

__device__ __forceinline__ bool bit_of(const uint32_t* bits, int site) { return bits[site / 32] >> (site % 32) & 1u; }

// A warp takes 32 sites at a time.
__device__ __forceinline__ void load_spins(const Walkers& walkers, int chain, uint32_t* spins) {
  const uint32_t* state = walkers.state + int64_t(chain / 32) * walkers.sites;
  for (int base = threadIdx.x / 32 * 32; base < walkers.sites; base += blockDim.x) {
    const int site = base + threadIdx.x % 32;
    const bool down = site < walkers.sites && (state[site] >> (chain % 32) & 1u);
    const uint32_t all = __ballot_sync(0xFFFFFFFFu, down);
    if (threadIdx.x % 32 == 0) spins[base / 32] = all;
  }
}

// Other blocks change other bits of the same words.
__device__ __forceinline__ void store_spins(const Walkers& walkers, int chain, const uint32_t* spins) {
  uint32_t* state = walkers.state + int64_t(chain / 32) * walkers.sites;
  for (int site = threadIdx.x; site < walkers.sites; site += blockDim.x)
    if ((state[site] >> (chain % 32) & 1u) != static_cast<uint32_t>(bit_of(spins, site)))
      atomicXor(state + site, 1u << (chain % 32));
}

// How a block of a chain is launched, with its memory shared where that is large enough.
struct ClusterLaunch {
  bool shared;
  size_t bytes;
};

inline ClusterLaunch cluster_launch(const Walkers& walkers, const ClusterSystem& system, int shared_limit) {
  check(walkers);
  if (walkers.shift || walkers.count > INT32_MAX || system.num_bonds < 0)
    throw std::invalid_argument("chains must begin at lane 0 and be fewer than 2^31");
  const size_t bytes = sizeof(int32_t) * static_cast<size_t>(cluster_ints(walkers.sites));
  const bool fits = bytes <= static_cast<size_t>(shared_limit);
  if (!fits && !system.workspace) throw std::invalid_argument("so many sites need a workspace");
  return {fits, fits ? bytes : 0};
}

}  // namespace vanfast::cuda
