// Sampling of one masked linear layer (the fully visible sigmoid belief network), one launch for everything.
//
//   x_i = b_i + sum_{j<i} W_ij s_j,   s_i = +1 with probability sigmoid(x_i),   ln q = sum_i ln sigmoid(s_i x_i)
//
// Blocks are 32 sites. A warp owns 32 samples, a lane draws one; a thread block is `groups` warps that share nothing
// but the weights. These come as one stream of chunks through a ring of shared memory, one barrier a chunk: for block B
// its B words of 32 x 32 finished weights, two a chunk, then its diagonal chunk with the biases; then the next block.
// prefix: [32 units x 32 samples] in registers, 16 x 8 x 16 products on tensor cores. Spins are exact in bf16, so W as
//   a sum of 3 bf16 numbers in fp32, of 2 in tf32 (11 bits), 1 in bf16 gives exact products; their sums are fp32.
// scan: 8 sites at a time in registers; then their 8 spins are pushed to the block's later units in shared memory, each
//   lane in its own column.
// star prior (star_prior.cuh; kernels of their own): site by site, as a logit then hangs on the spin just before it.
// The
//   block's earlier spins are pulled from their bits; a lane's fields are its column of [site][sample] in the
//   workspace.
// A column of a product does not depend on the other columns, so a sample depends neither on its tile nor on the batch.
// Shared memory: ring, spins as bits [block][sample], pre-activations [warp][32][33].
// Random words: stream 0, counter (sample, site / 4). Grid: as many blocks as the device holds, tiles strided.
//
// Floor on H200 for N = 1024, batch 131,072: 3 products of N^2 / 2 multiply-adds, 4.1e14 operations = 0.42 ms at 989
// TFLOP/s; mma.sync reaches about 60 % of that, 0.7 ms. Instructions of a warp (counted in SASS): 110 a word, 90 a
// chunk, 770 for 8 sites, so 1.8e5 a tile of 32 samples, 7.8 tiles a scheduler: 0.8 ms. The two overlap among the four
// warps of a scheduler; predicted 1.0 ms, 42 %. Weights: 3.2 MB for 256 samples from L2, 1.6 GB in all, 0.3 ms at 5.5
// TB/s. SK, N = 20, batch 10,000: one block, no product; 20 dependent draws of about 150 cycles: 2 us and the launch.
// SK, N = 100, batch 100,000: 1.4e4 instructions a tile, 5.9 tiles a scheduler: 50 us.
#include <algorithm>
#include <stdexcept>

#include "cuda/masked_launch.cuh"
#include "cuda/masked_spins.cuh"
#include "cuda/star_prior.cuh"

namespace vanfast::cuda {

namespace {

constexpr int kSites = kWordSites;   // of a block
constexpr int kOctet = 8;            // sites drawn in registers
constexpr int kTiles = 2;            // 16-row tiles of a block
constexpr int kColumns = kWarp / 8;  // 8-column tiles of a warp
constexpr int kSteps = kSites / 16;  // products along a word
constexpr int kRow = kWarp + 1;      // of pre-activations: lanes reach any row or column without conflicts
constexpr int kDiagonal = kSites * kSites + kSites;
constexpr int kWords = 2;  // words of sites in a chunk: a barrier and the copying cost as much as a third of a word
constexpr int kStages = 3;

template <int kSplits>
constexpr int kWordBytes = kSteps * kTiles * kSplits * kWarp * 16;
template <int kSplits>
constexpr int kChunkBytes = kWords * kWordBytes<kSplits>;
template <int kSplits>
constexpr int kStageBytes = kChunkBytes<kSplits> > kDiagonal * 4 ? kChunkBytes<kSplits> : kDiagonal * 4;

__host__ __device__ constexpr int chunks_before(int block) { return (block + kWords - 1) / kWords; }

// All chunks of a tile: sum over blocks B of chunks_before(B) + 1.
__device__ inline int64_t chunks_in_tile(int blocks) {
  static_assert(kWords == 2);
  return int64_t(blocks / 2) * ((blocks + 1) / 2) + blocks;
}

// Position in the stream: block B has chunks 0 .. chunks_before(B) - 1 of finished weights, then the diagonal one.
struct Cursor {
  int block = 0, chunk = 0;
  int64_t passed = 0;  // chunks of finished weights of this tile
  __device__ void advance(int blocks) {
    if (chunk++ < chunks_before(block)) {
      ++passed;
      return;
    }
    chunk = 0;
    if (++block == blocks) block = 0, passed = 0;
  }
};

template <int kSplits>
struct Weights {
  const unsigned char* prefix;
  const float* diagonal;
  unsigned char* ring;
  int blocks;
  int64_t left;  // chunks still to be asked for
  Cursor next;
  int fill = 0, use = 0;

  __device__ void ask() {
    if (left > 0) {
      const bool last = next.chunk == chunks_before(next.block);
      const int bytes = last ? kDiagonal * 4 : kChunkBytes<kSplits>;
      const unsigned char* from = last ? reinterpret_cast<const unsigned char*>(diagonal) + int64_t(next.block) * bytes
                                       : prefix + next.passed * bytes;
      unsigned char* to = ring + fill * kStageBytes<kSplits>;
      for (int i = 16 * threadIdx.x; i < bytes; i += 16 * blockDim.x) copy_async16(to + i, from + i, true);
      next.advance(blocks);
      --left;
    }
    copy_async_commit();
    fill = (fill + 1) % kStages;
  }

  // The next chunk, ready for all warps; what they have left behind is filled again.
  __device__ const unsigned char* take() {
    copy_async_wait<kStages - 2>();
    __syncthreads();
    const unsigned char* chunk = ring + use * kStageBytes<kSplits>;
    use = (use + 1) % kStages;
    ask();
    return chunk;
  }
};

template <int kSplits>
__device__ void multiply(float (&z)[kTiles][kColumns][4], const unsigned char* chunk, const uint32_t* bits, int lane) {
  uint32_t words[kColumns];
#pragma unroll
  for (int c = 0; c < kColumns; ++c) words[c] = bits[8 * c + lane / 4];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    uint32_t b[kColumns][2];
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
#pragma unroll
      for (int half = 0; half < 2; ++half) b[c][half] = spin_operand(words[c], lane % 4, 2 * step + half);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int split = 0; split < kSplits; ++split) {
        const uint4 w =
            reinterpret_cast<const uint4*>(chunk)[((step * kTiles + tile) * kSplits + split) * kWarp + lane];
        const uint32_t a[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int c = 0; c < kColumns; ++c) mma_bf16(z[tile][c], a, b[c]);
      }
  }
}

// z of a warp's block from registers to shared memory, [unit][sample].
__device__ void spread(const float (&z)[kTiles][kColumns][4], float* rows, int lane) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        rows[(16 * tile + 8 * (i / 2) + lane / 4) * kRow + 8 * c + 2 * (lane % 4) + i % 2] = z[tile][c][i];
}

__device__ float sum8(const float4& a, const float4& b, const float (&s)[kOctet], float z) {
  z = fmaf(a.x, s[0], z), z = fmaf(a.y, s[1], z), z = fmaf(a.z, s[2], z), z = fmaf(a.w, s[3], z);
  return fmaf(b.w, s[7], fmaf(b.z, s[6], fmaf(b.y, s[5], fmaf(b.x, s[4], z))));
}

// Draws or scores a block of one sample; `column` is the lane's column of pre-activations. Returns the word of spins.
__device__ uint32_t scan_block(const float* diagonal, float* column, int block, int sites, const MaskedCall& call,
                               uint64_t sample, uint32_t given, LogProbability& log_q) {
  const float* bias = diagonal + kSites * kSites;
  uint32_t word = 0;
  for (int octet = 0; octet < kSites && kSites * block + octet < sites; octet += kOctet) {
    float z[kOctet], s[kOctet];
#pragma unroll
    for (int i = 0; i < kOctet; ++i) z[i] = column[(octet + i) * kRow] + bias[octet + i], s[i] = 0.0f;
    uint32_t random[kOctet] = {};
    if (!call.given) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const PhiloxWords four = philox(call.seed, sample, (kSites * block + octet) / 4 + half, kSpinStream);
#pragma unroll
        for (int i = 0; i < 4; ++i) random[4 * half + i] = four.word[i];
      }
    }
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      if (kSites * block + octet + i >= sites) break;
      const int bit = bit_of_site(i) + octet / 2;
      const float* row = diagonal + (octet + i) * kSites + octet;
#pragma unroll
      for (int j = 0; j < i; ++j) z[i] = fmaf(row[j], s[j], z[i]);
      const bool up = call.given ? !((given >> bit) & 1u) : draw_spin(z[i], random[i]);
      log_q.add(z[i], up);
      s[i] = up ? 1.0f : -1.0f;
      word |= up ? 0u : 1u << bit;
    }
    if (call.keep) {
#pragma unroll
      for (int i = 0; i < kOctet; ++i) column[(octet + i) * kRow] = z[i];
    }
    for (int unit = octet + kOctet; unit < kSites; ++unit) {
      const float4* row = reinterpret_cast<const float4*>(diagonal + unit * kSites + octet);
      column[unit * kRow] = sum8(row[0], row[1], s, column[unit * kRow]);
    }
  }
  return word;
}

// The same with a star prior; `fields` is the lane's column, `before` the spin before the block, 0 if there is none.
__device__ uint32_t scan_block_star(const StarTables& star, const float* diagonal, float* column, int block, int sites,
                                    const MaskedCall& call, uint64_t sample, uint32_t given, LogProbability& log_q,
                                    float* fields, int stride, float& before) {
  const float* bias = diagonal + kSites * kSites;
  uint32_t word = 0;
  PhiloxWords random = {};
#pragma unroll 1
  for (int unit = 0; unit < kSites && kSites * block + unit < sites; ++unit) {
    const int site = kSites * block + unit;
    float z = column[unit * kRow] + bias[unit];
    const float4* row = reinterpret_cast<const float4*>(diagonal + unit * kSites);
    const auto signed_by = [&](float w, int j) {  // weights of sites still to come are 0
      return __uint_as_float(__float_as_uint(w) ^ (word >> bit_of_site(j)) << 31);
    };
#pragma unroll 2
    for (int j = 0; j < unit; j += 4) {
      const float4 w = row[j / 4];
      z += signed_by(w.x, j);
      z += signed_by(w.y, j + 1);
      z += signed_by(w.z, j + 2);
      z += signed_by(w.w, j + 3);
    }
    z += star_step<1>(star, site, 0, before, fields, stride);
    bool up;
    if (call.given) {
      up = !((given >> bit_of_site(unit)) & 1u);
    } else {
      if (site % 4 == 0) random = philox(call.seed, sample, site / 4, kSpinStream);
      const uint32_t even = site & 2 ? random.word[2] : random.word[0],
                     odd = site & 2 ? random.word[3] : random.word[1];
      up = draw_spin(z, site & 1 ? odd : even);
    }
    log_q.add(z, up);
    if (call.keep) column[unit * kRow] = z;
    before = up ? 1.0f : -1.0f;
    word |= up ? 0u : 1u << bit_of_site(unit);
  }
  return word;
}

template <int kSplits, bool kStar>
__global__ void __launch_bounds__(256, 2) masked_single_kernel(MaskedSingle net, MaskedCall call, float* workspace) {
  VANFAST_SHARED(shared);
  const int warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int blocks = (net.sites + kSites - 1) / kSites;
  const int64_t tile_samples = int64_t(kWarp) * warps, tiles = (call.count + tile_samples - 1) / tile_samples;
  const int64_t my_tiles = (tiles - blockIdx.x + gridDim.x - 1) / gridDim.x;
  unsigned char* ring = shared;
  uint32_t* bits = reinterpret_cast<uint32_t*>(ring + kStages * kStageBytes<kSplits>) + kWarp * warp;
  float* rows =
      reinterpret_cast<float*>(ring + kStages * kStageBytes<kSplits>) + tile_samples * blocks + warp * kSites * kRow;
  const SpinRows spins = {call.spins, call.order, call.count, net.sites};
  const uint64_t first = call.first + (call.step ? static_cast<uint64_t>(*call.step) : 0);

  Weights<kSplits> weights = {
      static_cast<const unsigned char*>(net.prefix), net.diagonal, ring, blocks, my_tiles * chunks_in_tile(blocks), {}};
  for (int i = 0; i < kStages - 1; ++i) weights.ask();

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t n0 = tile * tile_samples + kWarp * warp;
    LogProbability log_q;
    float before = 0.0f;
    float* fields = workspace + (int64_t(blockIdx.x) * net.sites * warps + warp) * kWarp + lane;
    if constexpr (kStar) star_begin<1>(net.star, net.sites, 0, fields, kWarp * warps);
    for (int block = 0; block < blocks; ++block) {
      const uint32_t given = call.given ? load_word(spins, n0, block, lane) : 0u;
      if (block > 0) {
        float z[kTiles][kColumns][4] = {};
        for (int chunk = 0; chunk < chunks_before(block); ++chunk) {
          const unsigned char* words = weights.take();
#pragma unroll 1
          for (int word = kWords * chunk; word < min(block, kWords * (chunk + 1)); ++word, words += kWordBytes<kSplits>)
            multiply<kSplits>(z, words, bits + word * tile_samples, lane);
        }
        spread(z, rows, lane);
      }
      const float* diagonal = reinterpret_cast<const float*>(weights.take());  // its barrier lies behind `spread`, too
      if (block == 0)
        for (int unit = 0; unit < kSites; ++unit) rows[unit * kRow + lane] = 0.0f;
      uint32_t word;
      if constexpr (kStar)
        word = scan_block_star(net.star, diagonal, rows + lane, block, net.sites, call, first + n0 + lane, given, log_q,
                               fields, kWarp * warps, before);
      else
        word = scan_block(diagonal, rows + lane, block, net.sites, call, first + n0 + lane, given, log_q);
      log_q.fold();
      bits[block * tile_samples + lane] = word;
      if (!call.given) store_word(spins, n0, block, lane, word);
      if (call.keep) {
        __syncwarp();
        const int site = kSites * block + lane;
        for (int i = 0; i < kWarp; ++i)
          if (n0 + i < call.count && site < net.sites) call.keep[(n0 + i) * net.sites + site] = rows[lane * kRow + i];
      }
    }
    if (n0 + lane < call.count) call.log_q[n0 + lane] = log_q.sum;
  }
}

template <int kSplits>
size_t shared_bytes(const MaskedSingle& net, int groups) {
  const size_t blocks = (net.sites + kSites - 1) / kSites;
  return kStages * kStageBytes<kSplits> + size_t(groups) * kWarp * 4 * (blocks + kRow);
}

using Kernel = void (*)(MaskedSingle, MaskedCall, float*);

struct Plan {
  Kernel kernel = nullptr;
  int groups = 0, grid = 0;
  size_t shared = 0;
  int64_t workspace = 0;  // bytes
};

template <int kSplits>
Plan plan_splits(const MaskedSingle& net, int64_t count, int groups, size_t limit) {
  const bool star = net.star.rows != nullptr;
  Plan plan;
  plan.kernel = star ? masked_single_kernel<kSplits, true> : masked_single_kernel<kSplits, false>;
  const auto tiles = [&](int g) { return (count + kWarp * g - 1) / (kWarp * g); };
  const auto fits = [&](int g) { return shared_bytes<kSplits>(net, g) <= limit; };
  const auto resident = [&](int g) { return resident_blocks(plan.kernel, kWarp * g, shared_bytes<kSplits>(net, g)); };
  if (!fits(std::max(groups, 1)))
    throw std::invalid_argument("sites = " + std::to_string(net.sites) + ": the spins of " +
                                std::to_string(kWarp * std::max(groups, 1)) + " samples do not fit in shared memory");
  if (!groups) {
    // many warps share a weight, but every multiprocessor wants some
    groups = 8;
    while (!fits(groups) || (groups > 1 && tiles(groups) < resident(groups))) groups /= 2;
  }
  plan.groups = groups;
  plan.grid = static_cast<int>(std::min<int64_t>(tiles(groups), resident(groups)));
  plan.shared = shared_bytes<kSplits>(net, groups);
  if (star) plan.workspace = int64_t(plan.grid) * net.sites * kWarp * groups * 4;
  return plan;
}

Plan plan_launch(const MaskedSingle& net, int64_t count, int groups, size_t limit) {
  if (net.sites < 1 || count < 0) throw std::invalid_argument("sites and count must be positive");
  if (groups < 0 || groups > 8) throw std::invalid_argument("groups must be 0 .. 8");
  switch (net.splits) {
    case 1:
      return plan_splits<1>(net, count, groups, limit);
    case 2:
      return plan_splits<2>(net, count, groups, limit);
    case 3:
      return plan_splits<3>(net, count, groups, limit);
    default:
      throw std::invalid_argument("splits must be 1, 2 or 3");
  }
}

}  // namespace

int64_t masked_single_workspace(const MaskedSingle& net, int64_t count, int groups, int shared_limit, int device) {
  DeviceGuard guard(device);
  return plan_launch(net, count, groups, shared_limit).workspace;
}

void launch_masked_single(const MaskedSingle& net, const MaskedCall& call, int groups, void* workspace,
                          int64_t workspace_bytes, int shared_limit, int device, uintptr_t stream) {
  DeviceGuard guard(device);
  const Plan plan = plan_launch(net, call.count, groups, shared_limit);
  if (call.count == 0) return;
  if (workspace_bytes < plan.workspace)
    throw std::invalid_argument("workspace of " + std::to_string(workspace_bytes) + " bytes, needed are " +
                                std::to_string(plan.workspace));
  const Kernel masked_single = plan.kernel;
  VANFAST_LAUNCH(masked_single, plan.grid, kWarp * plan.groups, plan.shared, stream, net, call,
                 static_cast<float*>(workspace));
}

}  // namespace vanfast::cuda
