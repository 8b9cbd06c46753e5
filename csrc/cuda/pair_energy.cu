// Energies of any pair couplings in float64, from spins as bit planes (pack_spins.cuh).
//   bonds: E = -sum_e J_e s_a s_b over a list of bonds; a field is a bond to plane N, a spin that is always +1
//   dense: E = -sum_i s_i (h_i + sum_{j<i} J_ij s_j), four rows i at a time
//
// A block owns the 128 samples of a tile of planes, a lane four of them: bit `lane` of the four words of a plane. Its
// eight warps share out the bonds in eight runs, or the blocks of four rows in turn, and their sums are added in the
// order of the warps in shared memory: an order that depends on the couplings alone. All lanes of a warp read the same
// couplings and planes, from the first-level cache. Four rows x four samples are 16 fused multiply-adds for three loads
// of 16 bytes. No random words.
//
// Floor on H200 (float64: 64 a cycle and multiprocessor, 15 T/s): dense N^2 / 2 a sample, N = 100 and batch 100,000:
// 33 us; bonds: one addition and about 4 other instructions each, Edwards-Anderson L = 64, batch 131,072: 0.2 ms, the
// planes 0.13 ms for 537 MB of spins. Prediction: dense 80 % of its floor, bonds issue-bound at 0.25 ms.
#include <stdexcept>

#include "cuda/energy.cuh"
#include "cuda/pack_bits.cuh"
#include "cuda/pack_spins.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp, kRows = 4;
constexpr size_t kSharedBytes = sizeof(double) * kWarps * kPlaneSamples;

// Adds the warps' sums sum[w] of sample 32 w + lane in the order of the warps.
__device__ inline void write_sums(const double (&sum)[kPlaneWords], unsigned char* shared, int64_t count,
                                  double* energy) {
  auto* sums = reinterpret_cast<double*>(shared);  // [kWarps][kPlaneSamples]
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll
  for (int w = 0; w < kPlaneWords; ++w) sums[warp * kPlaneSamples + kWarp * w + lane] = sum[w];
  __syncthreads();
  const int64_t sample = int64_t(blockIdx.x) * kPlaneSamples + threadIdx.x;
  if (threadIdx.x >= kPlaneSamples || sample >= count) return;
  double total = 0;
  for (int k = 0; k < kWarps; ++k) total += sums[k * kPlaneSamples + threadIdx.x];
  energy[sample] = total;
}

__device__ __forceinline__ uint4 plane(const uint4* tile, int site) { return __ldg(tile + site); }

__global__ void __launch_bounds__(kThreads)
    bond_energy_kernel(const uint4* __restrict__ planes, int64_t count, int num_sites, const int2* __restrict__ edges,
                       const double* __restrict__ couplings, int64_t num_bonds, double* __restrict__ energy) {
  VANFAST_SHARED(shared);
  const uint4* tile = planes + int64_t(blockIdx.x) * (num_sites + 1);
  const int64_t warp = threadIdx.x / kWarp;
  const uint32_t own = 1u << (threadIdx.x % kWarp);
  double sum[kPlaneWords] = {};
#pragma unroll 4
  for (int64_t e = warp * num_bonds / kWarps; e < (warp + 1) * num_bonds / kWarps; ++e) {
    const int2 edge = __ldg(edges + e);
    const double value = __ldg(couplings + e);
    const uint4 a = plane(tile, edge.x), b = plane(tile, edge.y);
    const uint32_t opposite[kPlaneWords] = {a.x ^ b.x, a.y ^ b.y, a.z ^ b.z, a.w ^ b.w};
#pragma unroll
    for (int w = 0; w < kPlaneWords; ++w) sum[w] = fma(value, (opposite[w] & own) ? 1.0 : -1.0, sum[w]);
  }
  write_sums(sum, shared, count, energy);
}

__global__ void __launch_bounds__(kThreads)
    dense_energy_kernel(const uint4* __restrict__ planes, int64_t count, int num_sites,
                        const double* __restrict__ couplings, const double* __restrict__ fields,
                        double* __restrict__ energy) {
  VANFAST_SHARED(shared);
  const uint4* tile = planes + int64_t(blockIdx.x) * (num_sites + 1);
  const uint32_t own = 1u << (threadIdx.x % kWarp);
  const int blocks = (num_sites + kRows - 1) / kRows;
  double sum[kPlaneWords] = {};
  for (int block = threadIdx.x / kWarp; block < blocks; block += kWarps) {
    double field[kRows][kPlaneWords];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int w = 0; w < kPlaneWords; ++w) field[r][w] = __ldg(fields + kRows * block + r);
    // Row r of the block has couplings to columns below kRows * block + r, the others are 0.
    const auto* J = reinterpret_cast<const double2*>(couplings + int64_t{2} * kRows * block * (block + 1));
    const int columns = min(kRows * block + kRows, num_sites);
#pragma unroll 2
    for (int j = 0; j < columns; ++j) {
      const double2 low = __ldg(J + 2 * j), high = __ldg(J + 2 * j + 1);
      const double row[kRows] = {low.x, low.y, high.x, high.y};
      const uint4 bits = plane(tile, j);
      const uint32_t minus[kPlaneWords] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int w = 0; w < kPlaneWords; ++w) {
        const double spin = (minus[w] & own) ? -1.0 : 1.0;
#pragma unroll
        for (int r = 0; r < kRows; ++r) field[r][w] = fma(row[r], spin, field[r][w]);
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const uint4 bits = plane(tile, min(kRows * block + r, num_sites));
      const uint32_t minus[kPlaneWords] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int w = 0; w < kPlaneWords; ++w) sum[w] += (minus[w] & own) ? field[r][w] : -field[r][w];
    }
  }
  write_sums(sum, shared, count, energy);
}

unsigned tiles_of(int64_t count, int num_sites) {
  if (count < 0 || num_sites < 1) throw std::invalid_argument("num_sites must be at least 1, count 0");
  const int64_t tiles = (count + kPlaneSamples - 1) / kPlaneSamples;
  if (tiles > INT32_MAX) throw std::invalid_argument("count is too large for one launch");
  return static_cast<unsigned>(tiles);
}

}  // namespace

void launch_dense_energy(const uint32_t* planes, int64_t count, int num_sites, const double* couplings,
                         const double* fields, double* energy, StreamHandle stream) {
  const unsigned tiles = tiles_of(count, num_sites);
  if (tiles == 0) return;
  VANFAST_LAUNCH(dense_energy_kernel, tiles, kThreads, kSharedBytes, stream, reinterpret_cast<const uint4*>(planes),
                 count, num_sites, couplings, fields, energy);
}

void launch_bond_energy(const uint32_t* planes, int64_t count, int num_sites, const int32_t* edges,
                        const double* couplings, int64_t num_bonds, double* energy, StreamHandle stream) {
  const unsigned tiles = tiles_of(count, num_sites);
  if (num_bonds < 0) throw std::invalid_argument("num_bonds must not be negative");
  if (tiles == 0) return;
  VANFAST_LAUNCH(bond_energy_kernel, tiles, kThreads, kSharedBytes, stream, reinterpret_cast<const uint4*>(planes),
                 count, num_sites, reinterpret_cast<const int2*>(edges), couplings, num_bonds, energy);
}

}  // namespace vanfast::cuda
