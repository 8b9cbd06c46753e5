// Metropolis and heat bath of any pairs by lists of neighbours: 32 walkers to a word, sites of a colour in parallel.
//
// Grid: a block owns a word, all sites of 32 walkers as bits in shared memory (4 bytes a site), else in global memory.
// A warp takes four consecutive positions, whose random words are one Philox block of each lane's walker (stream 2, use
// kSiteWords, block site / 4 of the sweep); it sums the field of a site from its bonds, which are the same for all
// lanes and come from cache in one access each, as do the neighbours' words; a vote makes the new word. Fields are
// integers, sums of which are exact: the result is that of the CPU's cached fields. After each colour there is a
// barrier.
//
// Floor on H200, six bonds, as compiled: some 40 instructions for the bonds, 20 for a quarter of the random words and
// 90 for exponential, vote and the rest, 150 for 32 updates: 2.0e11 updates/s. Predicted: 60 % of it.
#include "cuda/mcmc_launch.cuh"
#include "cuda/mcmc_pairwise.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kMostThreads = 256, kBlocks = 4;

__device__ __forceinline__ int32_t field_of(const SparseSystem& system, const uint32_t* down, int site, int lane) {
  int32_t local = __ldg(system.field + site);
  const int end = __ldg(system.start + site + 1);
#pragma unroll 4  // the compiler would take sixteen bonds at a time, more than most sites have
  for (int e = __ldg(system.start + site); e < end; ++e) {
    const int2 bond = __ldg(system.bonds + e);
    local += down[bond.x] >> lane & 1u ? -bond.y : bond.y;
  }
  return local;
}

template <bool kHeatBath, bool kShared>
__global__ void __launch_bounds__(kMostThreads, kBlocks)
    mcmc_sparse_kernel(const Walkers walkers, const SparseSystem system, const Temperatures temperatures,
                       const Sweeps sweeps) {
  VANFAST_SHARED(shared);
  const int N = walkers.sites, lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  uint32_t* const state = walkers.state + int64_t(blockIdx.x) * N;
  uint32_t* const down = kShared ? reinterpret_cast<uint32_t*>(shared) : state;
  if (kShared) {
    for (int i = threadIdx.x; i < N; i += blockDim.x) down[i] = state[i];
    __syncthreads();
  }
  LaneWalker own(walkers, temperatures, blockIdx.x, lane);
  const uint64_t blocks = (static_cast<uint64_t>(N) + 3) / 4;
  for (int64_t sweep = sweeps.first; sweep < sweeps.first + sweeps.count; ++sweep)
    for (int colour = 0; colour < system.colours; ++colour) {
      const int begin = __ldg(system.colour + colour), end = __ldg(system.colour + colour + 1);
      for (int quad = begin / 4 + warp; 4 * quad < end; quad += warps) {
        const PhiloxWords random =
            walker_words(walkers.seed, own.index, kSiteWords, static_cast<uint64_t>(sweep) * blocks + quad);
#pragma unroll 1  // unrolled, it spills with the 64 registers that 32 warps have
        for (int k = 0; k < 4; ++k) {
          const int site = 4 * quad + k;
          if (site < begin || site >= end) continue;
          const int32_t local = field_of(system, down, site, lane);
          const uint32_t was = down[site];
          const bool is_down = was >> lane & 1u;
          const bool turned =
              turns(kHeatBath || __ldg(system.is_free + site), local, own.scale, is_down, word_of(random, k));
          own.count(turned, is_down, local);
          const uint32_t mask = __ballot_sync(0xFFFFFFFFu, turned);
          if (lane == 0) down[site] = was ^ mask;
        }
      }
      __syncthreads();
    }
  if (kShared)
    for (int i = threadIdx.x; i < N; i += blockDim.x) state[i] = down[i];
  own.finish(temperatures, sweeps);
}

// A warp sums over the sites of a part of a word's, each lane for its walker.
__global__ void __launch_bounds__(kMostThreads, kBlocks)
    mcmc_sparse_energy_kernel(const Walkers walkers, const SparseSystem system, int64_t* __restrict__ energy) {
  const int lane = threadIdx.x % 32;
  const uint32_t* state = walkers.state + int64_t(blockIdx.x) * walkers.sites;
  const int64_t walker = walker_of(walkers, blockIdx.x, lane);
  int64_t sum = 0;
  for (int site = threadIdx.x / 32; site < walkers.sites; site += blockDim.x / 32) {
    const int64_t twice = int64_t{field_of(system, state, site, lane)} + __ldg(system.field + site);
    sum += state[site] >> lane & 1u ? twice : -twice;
  }
  if (is_wanted(walkers, walker)) add_to(energy + walker, sum);
}

template <bool kHeatBath>
void sweep(const Walkers& walkers, const SparseSystem& system, const Temperatures& temperatures, const Sweeps& sweeps,
           int shared_limit, StreamHandle stream) {
  const size_t bytes = sizeof(uint32_t) * size_t(walkers.sites);
  const bool fits = bytes <= static_cast<size_t>(shared_limit);
  const int quads = (system.largest + 3) / 4;
  const auto kernel = fits ? mcmc_sparse_kernel<kHeatBath, true> : mcmc_sparse_kernel<kHeatBath, false>;
  VANFAST_LAUNCH(kernel, walkers.words, std::min(kMostThreads, 32 * quads), fits ? bytes : 0, stream, walkers, system,
                 temperatures, sweeps);
}

}  // namespace

void launch_mcmc_sparse(const Walkers& walkers, const SparseSystem& system, const Temperatures& temperatures,
                        bool heat_bath, const Sweeps& sweeps, int shared_limit, StreamHandle stream) {
  check(walkers);
  if (system.colours < 1 || system.largest < 1 || temperatures.replicas < 1)
    throw std::invalid_argument("there must be colours, sites and replicas");
  heat_bath ? sweep<true>(walkers, system, temperatures, sweeps, shared_limit, stream)
            : sweep<false>(walkers, system, temperatures, sweeps, shared_limit, stream);
}

void launch_mcmc_energy(const Walkers& walkers, const SparseSystem& system, int64_t* energy, StreamHandle stream) {
  VANFAST_LAUNCH(mcmc_sparse_energy_kernel, walkers.words, kMostThreads, 0, stream, walkers, system, energy);
}

}  // namespace vanfast::cuda
