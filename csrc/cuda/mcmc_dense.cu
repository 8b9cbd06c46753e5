// Metropolis and heat bath of dense couplings: sites one after the other, local fields of 32 walkers kept up to date.
//
// Grid: a block owns a word, 32 walkers; their fields, int32 [32][stride], and spins lie in shared memory (132 bytes a
// site: up to 1750 sites), else in global memory. Every warp decides all 32 walkers by itself, a lane each: no second
// barrier and no broadcast. Then a thread takes four sites j and adds J_ij to the fields of those walkers alone that
// turned; row i of the matrix is on its way before the decision. One barrier a site. Random words as those of
// mcmc_sparse.cu, by site in raster order: the result is that of the CPU's kernel as it is.
//
// Floor on H200, acceptance 20 %, as compiled: a decision of a warp takes some 130 instructions, four fields of a
// walker
// 22. N = 1024: 8 x 130 + 6.4 x 8 x 22 = 2200 for 32 updates, 1.4e10 updates/s; the matrix, 4 N bytes for 32 updates,
// then takes 1.8 of L2's 5.5 TB/s. Predicted: 8e9, as one block of eight warps does not hide the chain of a site, 900
// cycles. N = 100, one warp a block: 270 instructions, 1.1e11 updates/s; predicted 8e10.
#include "cuda/mcmc_launch.cuh"
#include "cuda/mcmc_pairwise.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kMostThreads = 256, kBlocks = 3, kFieldThreads = 128;

// Adds four entries of a row to four fields of the walkers of `mask`, whose spins were `was`. The field of the site
// itself, element `self` or none of 0 .. 3, stays as it is, and is not written: others may still read it.
__device__ __forceinline__ void add_four(int32_t* local, int stride, uint32_t mask, uint32_t was, int4 twice,
                                         int self) {
  for (uint32_t left = mask; left; left &= left - 1) {
    const int walker = __ffs(static_cast<int>(left)) - 1;
    int4* fields = reinterpret_cast<int4*>(local + walker * stride);
    const int sign = was >> walker & 1u ? 1 : -1;
    int4 sum = *fields;
    sum.x += sign * twice.x, sum.y += sign * twice.y, sum.z += sign * twice.z, sum.w += sign * twice.w;
    if (self < 0 || self > 3) {
      *fields = sum;
      continue;
    }
    if (self != 0) fields->x = sum.x;
    if (self != 1) fields->y = sum.y;
    if (self != 2) fields->z = sum.z;
    if (self != 3) fields->w = sum.w;
  }
}

template <bool kHeatBath, bool kShared>
__global__ void __launch_bounds__(kMostThreads, kBlocks)
    mcmc_dense_kernel(const Walkers walkers, const DenseSystem system, const Temperatures temperatures,
                      const Sweeps sweeps) {
  VANFAST_SHARED(shared);
  const int N = walkers.sites, lane = threadIdx.x % 32, stride = system.stride;
  const unsigned fours = static_cast<unsigned>(N + 3) / 4;
  uint32_t* const state = walkers.state + int64_t(blockIdx.x) * N;
  int32_t* const kept = system.local + int64_t(blockIdx.x) * 32 * stride;
  int32_t* const local = kShared ? reinterpret_cast<int32_t*>(shared) : kept;
  uint32_t* const down = kShared ? reinterpret_cast<uint32_t*>(shared) + 32 * stride : state;
  if (kShared) {
    for (int i = threadIdx.x; i < 32 * stride; i += blockDim.x) local[i] = kept[i];
    for (int i = threadIdx.x; i < N; i += blockDim.x) down[i] = state[i];
    __syncthreads();
  }
  LaneWalker own(walkers, temperatures, blockIdx.x, lane);
  const uint64_t blocks = (static_cast<uint64_t>(N) + 3) / 4;
  PhiloxWords random = {};
  for (int64_t sweep = sweeps.first; sweep < sweeps.first + sweeps.count; ++sweep) {
    for (int site = 0; site < N; ++site) {
      const int4* row = reinterpret_cast<const int4*>(system.twice) + int64_t(site) * fours;
      const int4 ahead = threadIdx.x < fours ? __ldg(row + threadIdx.x) : int4{};
      if (site % 4 == 0)
        random = walker_words(walkers.seed, own.index, kSiteWords, static_cast<uint64_t>(sweep) * blocks + site / 4);
      const int32_t value = local[lane * stride + site];
      const uint32_t was = down[site];
      const bool is_down = was >> lane & 1u;
      const bool turned =
          turns(kHeatBath || __ldg(system.is_free + site), value, own.scale, is_down, word_of(random, site % 4));
      own.count(turned, is_down, value);
      const uint32_t mask = __ballot_sync(0xFFFFFFFFu, turned);  // the same in all warps
      for (unsigned k = threadIdx.x; k < fours; k += blockDim.x)
        add_four(local + 4 * k, stride, mask, was, k == threadIdx.x ? ahead : __ldg(row + k),
                 site - static_cast<int>(4 * k));
      __syncthreads();
      if (threadIdx.x == 0) down[site] = was ^ mask;
    }
    __syncthreads();  // of a single site the next sweep would read at once
  }
  if (kShared) {
    for (int i = threadIdx.x; i < 32 * stride; i += blockDim.x) kept[i] = local[i];
    for (int i = threadIdx.x; i < N; i += blockDim.x) state[i] = down[i];
  }
  if (threadIdx.x < 32) own.finish(temperatures, sweeps);
}

// A thread sums the fields of 32 walkers at one site.
__global__ void __launch_bounds__(kFieldThreads) mcmc_fields_kernel(const Walkers walkers, const DenseSystem system) {
  const int j = blockIdx.y * kFieldThreads + threadIdx.x, N = walkers.sites, columns = (N + 3) / 4 * 4;
  if (j >= system.stride) return;
  const uint32_t* state = walkers.state + int64_t(blockIdx.x) * N;
  int32_t sum[32];
#pragma unroll
  for (int w = 0; w < 32; ++w) sum[w] = j < N ? system.field[j] : 0;
  for (int i = 0; i < N && j < N; ++i) {
    const int32_t J = __ldg(system.twice + int64_t(i) * columns + j) / 2;
    const uint32_t down = state[i];
#pragma unroll
    for (int w = 0; w < 32; ++w) sum[w] += down >> w & 1u ? -J : J;
  }
#pragma unroll
  for (int w = 0; w < 32; ++w) system.local[(int64_t(blockIdx.x) * 32 + w) * system.stride + j] = sum[w];
}

// A warp sums over the sites of one walker after another.
__global__ void __launch_bounds__(kMostThreads, kBlocks)
    mcmc_dense_energy_kernel(const Walkers walkers, const DenseSystem system, int64_t* __restrict__ energy) {
  const int lane = threadIdx.x % 32;
  const uint32_t* state = walkers.state + int64_t(blockIdx.x) * walkers.sites;
  for (int w = threadIdx.x / 32; w < 32; w += blockDim.x / 32) {
    const int32_t* local = system.local + (int64_t(blockIdx.x) * 32 + w) * system.stride;
    int64_t sum = 0;
    for (int site = lane; site < walkers.sites; site += 32) {
      const int64_t twice = int64_t{local[site]} + system.field[site];
      sum += state[site] >> w & 1u ? twice : -twice;
    }
    sum = warp_sum(sum);
    const int64_t walker = walker_of(walkers, blockIdx.x, w);
    if (lane == 0 && is_wanted(walkers, walker)) add_to(energy + walker, sum);
  }
}

void check_system(const Walkers& walkers, const DenseSystem& system) {
  check(walkers);
  if (system.stride < walkers.sites || system.stride % 8 != 4)
    throw std::invalid_argument("stride must be at least the number of sites, and 4 more than a multiple of 8");
}

template <bool kHeatBath>
void sweep(const Walkers& walkers, const DenseSystem& system, const Temperatures& temperatures, const Sweeps& sweeps,
           int shared_limit, StreamHandle stream) {
  const size_t bytes = sizeof(int32_t) * (32 * size_t(system.stride) + walkers.sites);
  const bool fits = bytes <= static_cast<size_t>(shared_limit);
  // Four sites for a thread: more warps would decide the same over again.
  const int threads = std::min(kMostThreads, (walkers.sites + 127) / 128 * 32);
  const auto kernel = fits ? mcmc_dense_kernel<kHeatBath, true> : mcmc_dense_kernel<kHeatBath, false>;
  VANFAST_LAUNCH(kernel, walkers.words, threads, fits ? bytes : 0, stream, walkers, system, temperatures, sweeps);
}

}  // namespace

void launch_mcmc_fields(const Walkers& walkers, const DenseSystem& system, StreamHandle stream) {
  check_system(walkers, system);
  const dim3 grid(static_cast<unsigned>(walkers.words),
                  static_cast<unsigned>((system.stride + kFieldThreads - 1) / kFieldThreads));
  VANFAST_LAUNCH(mcmc_fields_kernel, grid, kFieldThreads, 0, stream, walkers, system);
}

void launch_mcmc_dense(const Walkers& walkers, const DenseSystem& system, const Temperatures& temperatures,
                       bool heat_bath, const Sweeps& sweeps, int shared_limit, StreamHandle stream) {
  check_system(walkers, system);
  heat_bath ? sweep<true>(walkers, system, temperatures, sweeps, shared_limit, stream)
            : sweep<false>(walkers, system, temperatures, sweeps, shared_limit, stream);
}

void launch_mcmc_energy(const Walkers& walkers, const DenseSystem& system, int64_t* energy, StreamHandle stream) {
  VANFAST_LAUNCH(mcmc_dense_energy_kernel, walkers.words, kMostThreads, 0, stream, walkers, system, energy);
}

}  // namespace vanfast::cuda
