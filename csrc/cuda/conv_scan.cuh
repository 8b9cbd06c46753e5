// Site after site of a row, all layers: what the sites on the left give, activation, draw.
//
// The sums of a site wait in a ring in shared memory, begun with what the rows above give; as soon as a site's input of
// a layer is known, its products with the taps o = 0 .. k go into the sums of the sites x + o. Tap 0 is on the way to
// the draw, the others are dealt to seven warps while the last one draws. log q is left for the end of the row.
#pragma once

#include "common/draw.h"
#include "cuda/conv_rows.cuh"
#include "cuda/star_prior.cuh"

namespace vanfast {

// z += site's input x weights of one tile of columns, `base` fragments into the scan's weights.
template <class P>
__device__ __forceinline__ void add_site_product(const ConvArgs& args, const ConvTile& tile, const ConvLayerArgs& layer,
                                                 int input_at, int base, float (&z)[4]) {
  const int pairs = (layer.chunks + 1) / 2;
  const uint4* input = reinterpret_cast<const uint4*>(tile.shared + input_at) + tile.lane;
  float even[4] = {}, odd[4] = {};
  auto pair = [&](int p, const uint4& w) {
    P::multiply(even, P::load(input[2 * p * 32]), P::weights(w.x, w.y));
    if (2 * p + 1 < layer.chunks) P::multiply(odd, P::load(input[(2 * p + 1) * 32]), P::weights(w.z, w.w));
  };
  if (base + pairs <= args.cached) {
    const uint4* weights = reinterpret_cast<const uint4*>(tile.shared + args.cached_at) + base * 32 + tile.lane;
#pragma unroll 2
    for (int p = 0; p < pairs; ++p) pair(p, weights[p * 32]);
  } else {
    const uint4* weights = args.scan + base * 32 + tile.lane;
#pragma unroll 2
    for (int p = 0; p < pairs; ++p) pair(p, __ldg(weights + p * 32));
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) z[e] += even[e] + odd[e];
}

// This lane's sums of a layer at site x of the row, tile 0; further tiles are 32 apart. `place` is that in the ring.
template <class P>
__device__ __forceinline__ float4* sums_of(const ConvTile& tile, const ConvLayerArgs& layer, int x, int place) {
  if (P::kBig) return reinterpret_cast<float4*>(tile.work + layer.sums) + int64_t(x) * layer.tiles * 32 + tile.lane;
  return reinterpret_cast<float4*>(tile.shared + layer.ring) + place * layer.tiles * 32 + tile.lane;
}

// Starts the copies of this warp's sums at site x to the ring.
template <class P>
__device__ __forceinline__ void fetch_sums(const ConvArgs& args, const ConvTile& tile, const ConvLayerArgs& layer,
                                           int x, int place) {
  if (P::kBig || x >= args.width) return;
  const float4* from =
      reinterpret_cast<const float4*>(tile.work + layer.sums) + int64_t(x) * layer.tiles * 32 + tile.lane;
  float4* to = sums_of<P>(tile, layer, x, place);
#pragma unroll 1
  for (int n = tile.warp; n < layer.tiles; n += kConvWarps) copy_async16(to + n * 32, from + n * 32, true);
}

__device__ __forceinline__ void keep(const ConvArgs& args, const ConvTile& tile, float* kept, int channels, int x,
                                     int n, const float (&z)[4]) {
  if (!kept) return;
  const int c = n * 8 + 2 * (tile.lane % 4);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t sample = sample_of(tile, tile.lane / 4 + 8 * half);
    if (!exists(args, sample)) continue;
    float* to = kept + ((sample * args.height + tile.y) * args.width + x) * channels + c;
    if (c < channels) to[0] = z[2 * half];
    if (c + 1 < channels) to[1] = z[2 * half + 1];
  }
}

// Gives a layer its input at site x: for this site in shared memory, for the rows below in the workspace.
template <class P>
__device__ __forceinline__ void publish(const ConvArgs& args, const ConvTile& tile, const ConvLayerArgs& layer, int x,
                                        int n, const float (&z)[4]) {
  float v[4];
  activate(v, z, constants(args, tile, layer.slope), n, tile.lane);
  const typename P::Piece piece = P::round(v);
  P::store(tile.shared + layer.site, kFragment, n, tile.lane, piece);
  const int slot = layer.slots == 1 ? 0 : slot_of(args, tile, 0);
  P::store(tile.work + layer.rows + (int64_t(slot * layer.chunks) * args.width + x) * kFragment,
           int64_t(args.width) * kFragment, n, tile.lane, piece);
}

// Tile n of the pre-activation of layer l at site x is known: on to the next layer.
template <class P>
__device__ __forceinline__ void pass_on(const ConvArgs& args, const ConvTile& tile, int l, int x, int n,
                                        const float (&z)[4]) {
  if (l + 1 == args.depth) {  // a single layer: channel 0 is the logit
    if (n == 0 && tile.lane % 4 == 0) {
      float* to = logit_row<P>(args, tile) + x * kConvSamples + tile.lane / 4;
      to[0] = z[0];
      to[8] = z[2];
    }
    return;
  }
  keep(args, tile, args.layer[l].kept, args.layer[l].out, x, n, z);
  const ConvLayerArgs& next = args.layer[l + 1];
  if (!next.residual) return publish<P>(args, tile, next, x, n, z);
  P::store(tile.shared + args.mix_at, kFragment, n, tile.lane, P::round(z));
  reinterpret_cast<float4*>(tile.shared + args.kept_z_at)[n * 32 + tile.lane] = make_float4(z[0], z[1], z[2], z[3]);
}

template <class P>
__device__ __forceinline__ void first_layer_site(const ConvArgs& args, const ConvTile& tile, int x) {
  const ConvLayerArgs& layer = args.layer[0];
  const float4* sums = sums_of<P>(tile, layer, x, x % 2);
  const unsigned char* row = spin_row<P>(args, tile, slot_of(args, tile, 0)) + x;
  const uint2* weights = reinterpret_cast<const uint2*>(tile.shared + args.first_at) + tile.lane;
#pragma unroll 1
  for (int n = tile.warp; n < layer.tiles; n += kConvWarps) {
    const float4 from = sums[n * 32];
    float z[4] = {from.x, from.y, from.z, from.w}, added[4] = {};
#pragma unroll 1
    for (int chunk = 0; chunk < args.left_chunks && x > 0; ++chunk) {
      uint32_t a[4];
      spin_fragment(a, row + 16 * chunk, args.spin_stride, tile.lane);
#pragma unroll 1
      for (int piece = 0; piece < args.pieces; ++piece) {
        const uint2 w = weights[((chunk * args.pieces + piece) * layer.tiles + n) * 32];
        const uint32_t b[2] = {w.x, w.y};
        mma_bf16(added, a, b);
      }
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) z[e] += added[e];
    pass_on<P>(args, tile, 0, x, n, z);
  }
  fetch_sums<P>(args, tile, layer, x + 2, x % 2);
}

// Pointwise product, whose input lies in the buffer for it, and the activation after it.
template <class P>
__device__ __forceinline__ void mix_site(const ConvArgs& args, const ConvTile& tile, const ConvLayerArgs& layer,
                                         int x) {
  const int pairs = (layer.chunks + 1) / 2;
#pragma unroll 1
  for (int n = tile.warp; n < layer.tiles; n += kConvWarps) {
    const float2 bias =
        *reinterpret_cast<const float2*>(constants(args, tile, layer.mix_bias) + n * 8 + 2 * (tile.lane % 4));
    float z[4] = {bias.x, bias.y, bias.x, bias.y};
    add_site_product<P>(args, tile, layer, args.mix_at, layer.mix_weights + n * pairs, z);
    keep(args, tile, layer.kept_mix, layer.channels, x, n, z);
    publish<P>(args, tile, layer, x, n, z);
  }
}

template <class P>
__device__ __forceinline__ void hidden_layer_site(const ConvArgs& args, const ConvTile& tile, int l, int x, int place) {
  const ConvLayerArgs& layer = args.layer[l];
  const int pairs = (layer.chunks + 1) / 2;
  const float4* sums = sums_of<P>(tile, layer, x, place);
#pragma unroll 1
  for (int n = tile.warp; n < layer.tiles; n += kConvWarps) {
    const float4 from = sums[n * 32];
    float z[4] = {from.x, from.y, from.z, from.w};
    add_site_product<P>(args, tile, layer, layer.site, layer.scan_weights + n * pairs, z);
    if (layer.residual) {
      const float4 skip = reinterpret_cast<const float4*>(tile.shared + args.kept_z_at)[n * 32 + tile.lane];
      z[0] += skip.x;
      z[1] += skip.y;
      z[2] += skip.z;
      z[3] += skip.w;
    }
    pass_on<P>(args, tile, l, x, n, z);
  }
  fetch_sums<P>(args, tile, layer, x + args.k + 1, place);
}

// A site's input of a hidden layer goes into the sums of the sites on its right: tap after tap and tile after tile,
// dealt to all warps but the one that draws, four fragments of channels at a time.
template <class P>
__device__ __forceinline__ void reach_right(const ConvArgs& args, const ConvTile& tile, const ConvLayerArgs& layer,
                                            int x, int place) {
  const int reach = min(args.k, args.width - 1 - x), pairs = (layer.chunks + 1) / 2;
  const uint4* input = reinterpret_cast<const uint4*>(tile.shared + layer.site) + tile.lane;
#pragma unroll 1
  for (int c0 = 0; c0 < layer.chunks; c0 += 4) {
    typename P::A a[4];
#pragma unroll
    for (int c = 0; c < 4; ++c)
      if (c0 + c < layer.chunks) a[c] = P::load(input[(c0 + c) * 32]);
    const bool more = c0 + 2 < layer.chunks;
    int n = tile.warp, o = 1;
#pragma unroll 2
    while (true) {
      while (n >= layer.tiles) {
        n -= layer.tiles;
        ++o;
      }
      if (o > reach) break;
      const int base = layer.scan_weights + (o * layer.tiles + n) * pairs + c0 / 2;
      const bool cached = base + 2 <= args.cached;
      const uint4* near = reinterpret_cast<const uint4*>(tile.shared + args.cached_at) + base * 32 + tile.lane;
      const uint4* far = args.scan + int64_t(base) * 32 + tile.lane;
      const uint4 w0 = cached ? near[0] : __ldg(far);
      uint4 w1 = w0;
      if (more) w1 = cached ? near[32] : __ldg(far + 32);
      float even[4] = {}, odd[4] = {};
      P::multiply(even, a[0], P::weights(w0.x, w0.y));
      if (c0 + 1 < layer.chunks) P::multiply(odd, a[1], P::weights(w0.z, w0.w));
      if (more) P::multiply(even, a[2], P::weights(w1.x, w1.y));
      if (c0 + 3 < layer.chunks) P::multiply(odd, a[3], P::weights(w1.z, w1.w));
      float4* to = sums_of<P>(tile, layer, x + o, place + o - (place + o > args.k ? args.k + 1 : 0)) + n * 32;
      const float4 z = *to;
      *to = make_float4(z.x + (even[0] + odd[0]), z.y + (even[1] + odd[1]), z.z + (even[2] + odd[2]),
                        z.w + (even[3] + odd[3]));
      n += kConvWarps - 1;
    }
  }
}

// The last warp: what a star prior adds to the logit of a site, to all lanes; two share a sample's later sites. Fields
// lie in the workspace, [site][sample], each read and written by one lane alone.
template <class P>
__device__ __forceinline__ float star_logit(const ConvArgs& args, const ConvTile& tile, int x) {
  static_assert(kConvStarSlots * kConvSamples == 32);
  const int own = tile.lane % kConvSamples, slot = tile.lane / kConvSamples, site = tile.y * args.width + x;
  float* fields = reinterpret_cast<float*>(tile.work + args.star_fields) + own;
  float spin = 0.0f;
  if (site == 0) {
    star_begin<kConvStarSlots>(args.star, args.height * args.width, slot, fields, kConvSamples);
  } else {
    const int before = x > 0 ? x - 1 : args.width - 1;
    const unsigned char* row = spin_row<P>(args, tile, slot_of(args, tile, x > 0 ? 0 : -1)) + args.k;
    spin = row[own * args.spin_stride + before] == kSpinUp ? 1.0f : -1.0f;
  }
  const float part = star_step<kConvStarSlots>(args.star, site, slot, spin, fields, kConvSamples);
  return part + __shfl_xor_sync(0xffffffffu, part, kConvSamples);
}

// The last warp: the site's input of the last layer goes into the logits of this row, and the spin is drawn.
template <class P>
__device__ __forceinline__ void draw_site(const ConvArgs& args, const ConvTile& tile, int x) {
  float* logits = logit_row<P>(args, tile) + x * kConvSamples;
  float logit = 0.0f, star = 0.0f;
  if constexpr (P::kStar) star = star_logit<P>(args, tile, x);
  if (args.depth == 1) {
    if (!P::kStar || tile.lane < kConvSamples) logit = logits[tile.lane % 16];
  } else {
    const ConvLayerArgs& layer = args.layer[args.depth - 1];
    const int pairs = (layer.chunks + 1) / 2;
#pragma unroll 1
    for (int n = 0; n < args.reach_tiles; ++n) {
      float z[4] = {};
      add_site_product<P>(args, tile, layer, layer.site, layer.scan_weights + n * pairs, z);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int o = n * 8 + 2 * (tile.lane % 4) + e % 2;
        if (o > args.k || x + o >= args.width) continue;
        float* to = logits + o * kConvSamples + tile.lane / 4 + e / 2 * 8;
        z[e] += *to;
        if (!P::kStar || o > 0) *to = z[e];
      }
      if (n > 0) continue;  // offset 0, the site itself: lane 4 g has samples g and g + 8
      const float low = __shfl_sync(0xffffffffu, z[0], 4 * (tile.lane % 8));
      const float high = __shfl_sync(0xffffffffu, z[2], 4 * (tile.lane % 8));
      logit = tile.lane % 16 < 8 ? low : high;
    }
  }
  if constexpr (P::kStar) {
    logit += star;
    if (tile.lane < kConvSamples) logits[tile.lane] = logit;
  }
  if (args.given || tile.lane >= kConvSamples) return;
  const bool up = draw_spin(logit, word_row<P>(args, tile)[x * kConvSamples + tile.lane]);
  spin_row<P>(args, tile, slot_of(args, tile, 0))[tile.lane * args.spin_stride + args.k + x] = up ? kSpinUp : kSpinDown;
}

// Draws row y. This row's logits, words and given spins are there, sums of all layers are there or on their way.
template <class P>
__device__ __forceinline__ void scan_row(const ConvArgs& args, const ConvTile& tile) {
  for (int x = 0, place = 0; x < args.width; ++x, place = place < args.k ? place + 1 : 0) {  // in the rings of sums
    first_layer_site<P>(args, tile, x);
    for (int l = 1; l < args.depth; ++l) {
      if (args.layer[l].residual) {
        __syncthreads();  // the rounded pre-activations
        mix_site<P>(args, tile, args.layer[l], x);
      }
      __syncthreads();  // the layer's input
      if (l + 1 < args.depth) hidden_layer_site<P>(args, tile, l, x, place);
    }
    if (args.depth == 1) __syncthreads();  // the logit
    if (tile.warp < kConvWarps - 1) {
      for (int l = 1; l + 1 < args.depth; ++l) reach_right<P>(args, tile, args.layer[l], x, place);
    } else {
      draw_site<P>(args, tile, x);
    }
    copy_async_commit();
    copy_async_wait<0>();  // the sums that this thread has asked for
    __syncthreads();       // the spin, sums, and inputs of layers that may be overwritten
  }
}

}  // namespace vanfast
