// What finished rows of the lattice give to a row, and a row's input of the last layer to the rows below, for 16
// samples at a time: products [16 samples x channels] x [channels x columns] for every site of a row and every tap, as
// implicit convolutions. Taps outside the lattice are skipped for each site.
//
// A warp owns 4 sites x 32 columns. For a row and a fragment of channels the activations of all sites and the weights
// of all taps come to shared memory by asynchronous copies, two stages; then the warp slides along the row with 4
// fragments of activations in registers, so that a tap costs it one new fragment of activations and 4 of weights (1.5
// KB from shared memory) for 16 products of tensor cores.
#pragma once

#include "cuda/conv_fragment.cuh"

namespace vanfast {

// A tile of samples on its way through the lattice, as a thread sees it.
struct ConvTile {
  unsigned char *shared, *work;
  int number, offset;  // which tile, and how many samples before the call's first the first tile starts
  int y;               // the row
  int warp, lane;
};

// Sample s of the tile, counted from the call's first, and whether the call has it.
__device__ __forceinline__ int64_t sample_of(const ConvTile& tile, int s) {
  return int64_t(tile.number) * kConvSamples + s - tile.offset;
}

__device__ __forceinline__ bool exists(const ConvArgs& args, int64_t sample) {
  return sample >= 0 && sample < args.count;
}

// The place of row y + dy among the k + 1 rows that are kept: the row modulo k + 1, by a multiplication.
__device__ __forceinline__ int slot_of(const ConvArgs& args, const ConvTile& tile, int dy) {
  const uint32_t row = static_cast<uint32_t>(tile.y + dy);
  return static_cast<int>(row - (args.k + 1) * static_cast<uint32_t>(uint64_t(row) * args.row_magic >> 32));
}

// The index of the call's first sample.
__device__ __forceinline__ uint64_t first_index(const ConvArgs& args) {
  return args.first_sample + (args.step ? static_cast<uint64_t>(*args.step) : 0u);
}

template <class P>
__device__ __forceinline__ unsigned char* spin_row(const ConvArgs& args, const ConvTile& tile, int slot) {
  unsigned char* rows = P::kBig ? tile.work + args.spins_row : tile.shared + args.spins_at;
  return rows + int64_t(slot) * kConvSamples * args.spin_stride;
}

template <class P>
__device__ __forceinline__ float* logit_row(const ConvArgs& args, const ConvTile& tile) {
  return reinterpret_cast<float*>(P::kBig ? tile.work + args.logits_row : tile.shared + args.logits_at);
}

template <class P>
__device__ __forceinline__ uint32_t* word_row(const ConvArgs& args, const ConvTile& tile) {
  return reinterpret_cast<uint32_t*>(P::kBig ? tile.work + args.words_row : tile.shared + args.words_at);
}

__device__ __forceinline__ float* logit_ring(const ConvArgs& args, const ConvTile& tile, int slot) {
  return reinterpret_cast<float*>(tile.work + args.logit_ring) + int64_t(slot) * args.width * kConvSamples;
}

__device__ __forceinline__ const float* constants(const ConvArgs& args, const ConvTile& tile, int at) {
  return reinterpret_cast<const float*>(tile.shared + args.constants_at) + at;
}

// Sums of the first layer over the spins of the rows above: sums[x] = bias + rows. A warp takes 2 sites x 4 tiles.
template <class P>
__device__ __forceinline__ void first_layer_rows(const ConvArgs& args, const ConvTile& tile) {
  const ConvLayerArgs& layer = args.layer[0];
  const int groups = (layer.tiles + 3) / 4, jobs = (args.width + 1) / 2 * groups, above = min(args.k, tile.y);
  for (int job = tile.warp; job < jobs; job += kConvWarps) {
    const int x = job / groups * 2, n0 = job % groups * 4, tiles = min(4, layer.tiles - n0);
    float z[2][4][4];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      float2 bias = make_float2(0.0f, 0.0f);
      if (n < tiles)
        bias = *reinterpret_cast<const float2*>(constants(args, tile, layer.bias) + (n0 + n) * 8 + 2 * (tile.lane % 4));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        z[i][n][0] = z[i][n][2] = bias.x;
        z[i][n][1] = z[i][n][3] = bias.y;
      }
    }
    // Weights of a step come while the step before is multiplied: from the L2 cache, at worst, they take 300 cycles.
    const int steps = above * args.row_chunks * args.pieces;
    const uint2* from = args.first + (int64_t(args.first_left) + n0) * 32 + tile.lane;
    uint2 next[4] = {};
#pragma unroll
    for (int n = 0; n < 4; ++n)
      if (n < tiles && steps) next[n] = __ldg(from + n * 32);
    uint32_t a[2][4] = {};
    int dy = 1, chunk = 0, piece = 0;
#pragma unroll 1
    for (int step = 1; step <= steps; ++step) {
      if (piece == 0) {
        const unsigned char* at = spin_row<P>(args, tile, slot_of(args, tile, -dy)) + x + 16 * chunk;  // x - k is at 0
        spin_fragment(a[0], at, args.spin_stride, tile.lane);
        spin_fragment(a[1], at + 1, args.spin_stride, tile.lane);
      }
      if (++piece == args.pieces) {
        piece = 0;
        if (++chunk == args.row_chunks) {
          chunk = 0;
          ++dy;
        }
      }
      from += layer.tiles * 32;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const uint32_t b[2] = {next[n].x, next[n].y};
        if (n < tiles && step < steps) next[n] = __ldg(from + n * 32);
        mma_bf16(z[0][n], a[0], b);
        mma_bf16(z[1][n], a[1], b);
      }
    }
    for (int i = 0; i < 2 && x + i < args.width; ++i) {
      float4* to = reinterpret_cast<float4*>(tile.work + layer.sums) + (int64_t(x + i) * layer.tiles + n0) * 32;
#pragma unroll
      for (int n = 0; n < 4; ++n)
        if (n < tiles) to[n * 32 + tile.lane] = make_float4(z[i][n][0], z[i][n][1], z[i][n][2], z[i][n][3]);
    }
  }
}

// The place of a stage in a product of rows.
struct ConvStage {
  int row, chunk, tap, taps, site, sites;  // first tap and site, and how many
};

// Sums over taps, channels and `rows` rows of the layer's input from row y - 1 upwards, for every site of the row: of a
// hidden layer what row y gets, of the last layer what row y - 1 gives, column n to row y + n.
// `turn` counts stages, so that the next product starts in the buffer that is free.
template <class P>
__device__ __forceinline__ void layer_rows(const ConvArgs& args, const ConvTile& tile, int l, int rows, int& turn) {
  const ConvLayerArgs& layer = args.layer[l];
  const int side = 2 * args.k + 1, pairs = layer.tiles / 2, sites = layer.pass_sites * kConvSites;
  const int stages = rows * layer.chunks * layer.tap_groups;
  constexpr int kTotals = P::kSeparateSums ? kConvSites : 1;
  const int group = tile.warp % layer.pass_groups, place = tile.warp / layer.pass_groups;
  for (int p0 = 0; p0 < pairs; p0 += 2 * layer.pass_groups) {
    const int pass_pairs = min(2 * layer.pass_groups, pairs - p0);
    for (int x0 = 0; x0 < args.width; x0 += sites) {
      auto stage_of = [&](int s) {
        ConvStage stage;
        stage.tap = s % layer.tap_groups * layer.tap_group;
        stage.taps = min(layer.tap_group, side - stage.tap);
        stage.chunk = s / layer.tap_groups % layer.chunks;
        stage.row = s / layer.tap_groups / layer.chunks;
        stage.site = max(0, x0 + stage.tap - args.k);
        stage.sites = max(0, min(args.width, x0 + sites + stage.tap + stage.taps - 1 - args.k) - stage.site);
        return stage;
      };
      auto fetch = [&](int s) {
        const ConvStage stage = stage_of(s);
        unsigned char* to = tile.shared + args.overlay_at + ((turn + s) & 1) * args.stage_bytes;
        const int own = pass_pairs * 32, count = stage.taps * own;
        const uint4* weights =
            args.rows +
            (layer.row_weights + (int64_t(stage.row * layer.chunks + stage.chunk) * side + stage.tap) * pairs + p0) *
                32;
#pragma unroll 1
        for (int i = threadIdx.x; i < count; i += kConvThreads) {
          const int64_t from = pass_pairs == pairs ? i : int64_t(i / own) * pairs * 32 + i % own;
          copy_async16(to + i * 16, weights + from, true);
        }
        to += count * 16;
        const int slot = layer.slots == 1 ? 0 : slot_of(args, tile, -1 - stage.row);
        const uint4* active = reinterpret_cast<const uint4*>(tile.work + layer.rows) +
                              (int64_t(slot * layer.chunks + stage.chunk) * args.width + stage.site) * 32;
#pragma unroll 1
        for (int i = threadIdx.x; i < stage.sites * 32; i += kConvThreads) copy_async16(to + i * 16, active + i, true);
        copy_async_commit();
      };
      const int x = x0 + place * kConvSites, n0 = p0 * 2 + group * 4;
      const bool busy = place < layer.pass_sites && x < args.width && n0 < layer.tiles;
      const bool whole = n0 + 2 < layer.tiles;  // 4 tiles, not 2
      float z[kConvSites][4][4] = {}, total[kTotals][4][4] = {};
      if (stages) fetch(0);
      for (int s = 0; s < stages; ++s) {
        copy_async_wait<0>();
        __syncthreads();
        if (s + 1 < stages) fetch(s + 1);
        if (!busy) continue;
        const ConvStage stage = stage_of(s);
        const uint4* weights =
            reinterpret_cast<const uint4*>(tile.shared + args.overlay_at + ((turn + s) & 1) * args.stage_bytes) +
            tile.lane;
        int at = x + stage.tap - args.k;  // the site that this tap of the warp's first site reads
        const int end = at + stage.taps;
        const uint4* active = weights + (stage.taps * pass_pairs + at - stage.site) * 32;
        weights += group * 2 * 32;
        typename P::A window[kConvSites];
#pragma unroll
        for (int i = 0; i < kConvSites - 1; ++i)
          if (static_cast<unsigned>(at + i) < static_cast<unsigned>(args.width)) window[i] = P::load(active[i * 32]);
        active += (kConvSites - 1) * 32;
        for (; at < end; at += kConvSites) {
#pragma unroll
          for (int u = 0; u < kConvSites; ++u) {
            if (at + u >= end) break;
            if (static_cast<unsigned>(at + u + kConvSites - 1) < static_cast<unsigned>(args.width))
              window[(u + kConvSites - 1) % kConvSites] = P::load(*active);
            active += 32;
#pragma unroll
            for (int pair = 0; pair < 2; ++pair) {
              if (pair && !whole) break;
              const uint4 w = weights[pair * 32];
              const typename P::B left = P::weights(w.x, w.y), right = P::weights(w.z, w.w);
#pragma unroll
              for (int i = 0; i < kConvSites; ++i) {
                if (static_cast<unsigned>(at + u + i) >= static_cast<unsigned>(args.width)) continue;
                P::multiply(z[i][2 * pair], window[(u + i) % kConvSites], left);
                P::multiply(z[i][2 * pair + 1], window[(u + i) % kConvSites], right);
              }
            }
            weights += pass_pairs * 32;
          }
        }
        if constexpr (P::kSeparateSums) {
#pragma unroll
          for (int e = 0; e < 64; ++e) {
            total[e / 16][e / 4 % 4][e % 4] += z[e / 16][e / 4 % 4][e % 4];
            z[e / 16][e / 4 % 4][e % 4] = 0.0f;
          }
        }
      }
      turn += stages;
      if (!busy) continue;
      const float* bias = constants(args, tile, layer.bias) + 2 * (tile.lane % 4);
      float4* sums = reinterpret_cast<float4*>(tile.work + layer.sums) + tile.lane;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        if (n >= 2 && !whole) break;
        float2 b = make_float2(0.0f, 0.0f);
        if (l + 1 < args.depth) b = *reinterpret_cast<const float2*>(bias + (n0 + n) * 8);
#pragma unroll
        for (int i = 0; i < kConvSites; ++i) {
          if (x + i >= args.width) break;
          const float (&v)[4] = P::kSeparateSums ? total[i % kTotals][n] : z[i][n];
          sums[(int64_t(x + i) * layer.tiles + n0 + n) * 32] =
              make_float4(v[0] + b.x, v[1] + b.y, v[2] + b.x, v[3] + b.y);
        }
      }
    }
  }
}

}  // namespace vanfast
