// Multi-spin coding: sweeps of 32 chains whose spins at a site are the bits of a word. No fields, bonds of one
// strength.
//
// A bond is an XOR, the number of unsatisfied bonds is counted by adders on words, and every chain draws with random
// bits of its own: a probability p is compared with a uniform number digit by digit, highest first, until all 32 chains
// are decided. Four digits of 32 chains are one Philox block of their walker (stream 2, use kPlaneWords, block 16 site
// + digit / 4 of the sweep), by a site's position: the result is that of the CPU's kernel for sites in this order.
//
// Grid: a block owns a word, all sites of 32 chains, in shared memory (4 bytes a site: up to 58,000 sites), else in
// global memory. Its threads share out the sites of a colour, which do not interact; then comes a barrier. Within a
// colour sites stand in runs of as many bonds, so that warps do not diverge on them and tables are read side by side.
// A warp goes on until all of its 1024 chains are decided: 3.2 blocks of random words on the average, as 2^-k of the
// chains are undecided after k digits.
//
// Floor on H200, four bonds, heat bath, as compiled: 3.2 x 78 instructions for random words and their digits and 66 for
// the rest, 316 for 32 updates; 180 of them are logic, of which a multiprocessor has 64 lanes: 2.7e12 updates/s.
// Predicted: 60 % of it, for barriers, where thousands of chains fill the GPU.
#include "cuda/mcmc_planes.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kMostThreads = 512, kBlocks = 2;

template <int kBonds, bool kHeatBath>
__device__ __forceinline__ int update_run(const PlaneRun& run, const int32_t* __restrict__ neighbour,
                                          const uint4* __restrict__ digits, uint32_t* down, const PhiloxKeys& keys,
                                          uint64_t walker, uint64_t block, uint32_t counted) {
  int flips = 0;
  for (int k = threadIdx.x; k < run.count; k += blockDim.x) {
    const int site = run.first + k;
    const uint32_t own = down[site];
    const int32_t* entries = neighbour + run.offset + k;
    const auto unlike = [&](int e) {
      const int32_t entry = __ldg(entries + int64_t(e) * run.count);
      return own ^ down[entry & 0x7FFFFFFF] ^ static_cast<uint32_t>(entry >> 31);
    };
    const uint32_t turned = plane_turns<kBonds, kHeatBath>(run.bonds, digits, keys, walker,
                                                           block + static_cast<uint64_t>(site) * (kPlanes / 4), unlike);
    down[site] = own ^ turned;
    flips += __popc(turned & counted);
  }
  return flips;
}

template <bool kHeatBath, bool kShared>
__global__ void __launch_bounds__(kMostThreads, kBlocks)
    mcmc_planes_kernel(const Walkers walkers, const PlaneRun* __restrict__ runs, int num_runs,
                       const int32_t* __restrict__ neighbour, const uint4* __restrict__ digits,
                       const __grid_constant__ PhiloxKeys keys, const Sweeps sweeps) {
  VANFAST_SHARED(shared);
  const int N = walkers.sites;
  uint32_t* const state = walkers.state + int64_t(blockIdx.x) * N;
  uint32_t* const down = kShared ? reinterpret_cast<uint32_t*>(shared) : state;
  if (kShared) {
    for (int i = threadIdx.x; i < N; i += blockDim.x) down[i] = state[i];
    __syncthreads();
  }
  uint32_t counted = 0;
  for (int lane = 0; lane < 32; ++lane)
    counted |= static_cast<uint32_t>(is_wanted(walkers, walker_of(walkers, blockIdx.x, lane))) << lane;
  const uint64_t walker = walkers.base / 32 + blockIdx.x;
  int64_t flips = 0;
  for (int64_t sweep = sweeps.first; sweep < sweeps.first + sweeps.count; ++sweep) {
    const uint64_t block = static_cast<uint64_t>(sweep) * static_cast<uint64_t>(N) * (kPlanes / 4);
    for (int r = 0; r < num_runs; ++r) {
      const PlaneRun run = runs[r];
      switch (run.bonds) {
        case 2:
          flips += update_run<2, kHeatBath>(run, neighbour, digits, down, keys, walker, block, counted);
          break;
        case 3:
          flips += update_run<3, kHeatBath>(run, neighbour, digits, down, keys, walker, block, counted);
          break;
        case 4:
          flips += update_run<4, kHeatBath>(run, neighbour, digits, down, keys, walker, block, counted);
          break;
        case 6:
          flips += update_run<6, kHeatBath>(run, neighbour, digits, down, keys, walker, block, counted);
          break;
        default:
          flips += update_run<0, kHeatBath>(run, neighbour, digits, down, keys, walker, block, counted);
      }
      if (run.last_of_colour) __syncthreads();
    }
  }
  if (kShared)
    for (int i = threadIdx.x; i < N; i += blockDim.x) state[i] = down[i];
  flips = warp_sum(flips);
  if (sweeps.flips && threadIdx.x % 32 == 0) add_to(sweeps.flips, flips);
}

template <bool kHeatBath>
void sweep(const Walkers& walkers, const PlaneSystem& system, const Sweeps& sweeps, int shared_limit,
           StreamHandle stream) {
  const size_t bytes = sizeof(uint32_t) * size_t(walkers.sites);
  const bool fits = bytes <= static_cast<size_t>(shared_limit);
  // Where shared memory leaves room for few blocks these are large.
  const int most = bytes > (48u << 10) ? kMostThreads : kMostThreads / 2;
  const int threads = std::min(most, (system.largest + 31) / 32 * 32);
  const auto kernel = fits ? mcmc_planes_kernel<kHeatBath, true> : mcmc_planes_kernel<kHeatBath, false>;
  VANFAST_LAUNCH(kernel, walkers.words, threads, fits ? bytes : 0, stream, walkers, system.runs, system.num_runs,
                 system.neighbour, system.digits, PhiloxKeys(walkers.seed), sweeps);
}

}  // namespace

void launch_mcmc_planes(const Walkers& walkers, const PlaneSystem& system, bool heat_bath, const Piece& piece,
                        int64_t* flips, int shared_limit, StreamHandle stream) {
  check(walkers);
  if (walkers.base % 32 || system.num_runs < 1 || system.largest < 1)
    throw std::invalid_argument("words must begin at a multiple of 32 chains, and runs hold sites");
  walk(
      piece, false, flips,
      [&](const Sweeps& sweeps) {
        heat_bath ? sweep<true>(walkers, system, sweeps, shared_limit, stream)
                  : sweep<false>(walkers, system, sweeps, shared_limit, stream);
      },
      [&](int64_t draw) { launch_mcmc_draw(walkers, 1, nullptr, 0, piece, draw, stream); });
}

}  // namespace vanfast::cuda
