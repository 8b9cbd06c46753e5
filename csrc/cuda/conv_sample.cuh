// The kernel of the convolution sampler (conv_sample.cu tells the story), in a precision P.
#pragma once

#include "common/philox.h"
#include "cuda/conv_scan.cuh"

namespace vanfast {

using ConvKernel = void (*)(const ConvArgs);
ConvKernel conv_star_kernel_of(const ConvLayout& layout);  // conv_star.cu

// What row y - 1 gives to the logits of this row and of those below it. A thread owns samples and sites, so that the
// terms of a logit come in one order.
template <class P>
__device__ __forceinline__ void add_to_logits(const ConvArgs& args, const ConvTile& tile) {
  const ConvLayerArgs& layer = args.layer[args.depth - 1];
  const float bias = *constants(args, tile, layer.bias);
  const float* sums = reinterpret_cast<const float*>(tile.work + layer.sums);
  float* logits = logit_row<P>(args, tile);
  const int rows = min(args.k, args.height - tile.y);
#pragma unroll 1
  for (int i = threadIdx.x; i < args.width * kConvSamples; i += kConvThreads) {
    const int x = i / kConvSamples, s = i % kConvSamples;
    if (tile.y == 0) logits[i] = bias;
#pragma unroll 4
    for (int n = 0; n < rows && tile.y > 0; ++n) {
      const int lane = s % 8 * 4 + n % 8 / 2;
      float* kept = logit_ring(args, tile, slot_of(args, tile, n)) + i;
      const float before = n + 1 == args.k || tile.y == 1 ? bias : *kept;
      const float logit = before + sums[((int64_t(x) * layer.tiles + n / 8) * 32 + lane) * 4 + s / 8 * 2 + n % 2];
      *(n ? kept : logits + i) = logit;
    }
  }
}

// After the products with the rows above: starts the ring of sums, brings the scan's weights, logits, random words or
// given spins.
template <class P>
__device__ __forceinline__ void begin_row(const ConvArgs& args, const ConvTile& tile) {
  for (int l = 0; l == 0 || l + 1 < args.depth; ++l)
#pragma unroll 1
    for (int x = 0; x < args.layer[l].ring_slots; ++x) fetch_sums<P>(args, tile, args.layer[l], x, x);
  unsigned char* weights = tile.shared + args.cached_at;
#pragma unroll 1
  for (int i = threadIdx.x; i < args.cached * 32; i += kConvThreads)
    copy_async16(weights + i * 16, args.scan + i, true);
  copy_async_commit();
  if (args.depth > 1) add_to_logits<P>(args, tile);
  if (args.given) {
    unsigned char* row = spin_row<P>(args, tile, slot_of(args, tile, 0)) + args.k;
#pragma unroll 1
    for (int i = threadIdx.x; i < args.width * kConvSamples; i += kConvThreads) {
      const int s = i / args.width, x = i % args.width;
      const int64_t sample = sample_of(tile, s);
      const bool up = exists(args, sample) && args.spins[(sample * args.height + tile.y) * args.width + x] > 0;
      row[s * args.spin_stride + x] = up ? kSpinUp : kSpinDown;
    }
    return;
  }
  const int begin = tile.y * args.width, blocks = (begin + args.width - 1) / 4 - begin / 4 + 1;
  const uint64_t index = first_index(args) + static_cast<uint64_t>(sample_of(tile, 0));
  uint32_t* words = word_row<P>(args, tile);
#pragma unroll 1
  for (int i = threadIdx.x; i < blocks * kConvSamples; i += kConvThreads) {
    const int s = i % kConvSamples, block = begin / 4 + i / kConvSamples;
    const PhiloxWords four = philox(args.seed, index + s, block, kSpinStream);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int x = 4 * block + j - begin;
      if (x >= 0 && x < args.width) words[x * kConvSamples + s] = four.word[j];
    }
  }
}

// Adds a row to this thread's part of ln q, one sample and every 16th site, and gives the caller what it gets of the
// row.
template <class P>
__device__ __forceinline__ void end_row(const ConvArgs& args, const ConvTile& tile) {
  const float* logits = logit_row<P>(args, tile);
  const unsigned char* row = spin_row<P>(args, tile, slot_of(args, tile, 0)) + args.k;
  double* part = reinterpret_cast<double*>(tile.shared + args.log_q_at) + threadIdx.x;
  double log_q = tile.y ? *part : 0.0;
  const int own = threadIdx.x % kConvSamples;
#pragma unroll 1
  for (int x = threadIdx.x / kConvSamples; x < args.width; x += kConvThreads / kConvSamples)
    log_q += log_sigmoid_term(logits[x * kConvSamples + own], row[own * args.spin_stride + x] == kSpinUp);
  *part = log_q;
  float* kept = args.layer[args.depth - 1].kept;
  if (args.given && !kept) return;
#pragma unroll 1
  for (int i = threadIdx.x; i < args.width * kConvSamples; i += kConvThreads) {
    const int s = i / args.width, x = i % args.width;
    const int64_t sample = sample_of(tile, s);
    if (!exists(args, sample)) continue;
    const int64_t at = (sample * args.height + tile.y) * args.width + x;
    if (!args.given) args.spins[at] = row[s * args.spin_stride + x] == kSpinUp ? 1 : -1;
    if (kept) kept[at] = logits[x * kConvSamples + s];
  }
}

// Adds up what the threads have of ln q, in one order.
__device__ __forceinline__ void write_log_q(const ConvArgs& args, const ConvTile& tile) {
  __syncthreads();  // all parts
  const int64_t sample = sample_of(tile, threadIdx.x);
  if (threadIdx.x >= kConvSamples || !exists(args, sample)) return;
  const double* parts = reinterpret_cast<const double*>(tile.shared + args.log_q_at);
  double sum = 0.0;
#pragma unroll 1
  for (int i = threadIdx.x; i < kConvThreads; i += kConvSamples) sum += parts[i];
  args.log_q[sample] = sum;
}

template <class P>
__global__ void __launch_bounds__(kConvThreads, P::kBlocks) conv_sample_kernel(const __grid_constant__ ConvArgs args) {
  VANFAST_SHARED(shared);
  ConvTile tile;
  tile.shared = shared;
  tile.work = args.workspace + blockIdx.x * args.workspace_stride;
  tile.warp = threadIdx.x / 32;
  tile.lane = threadIdx.x % 32;
#pragma unroll 1
  for (int i = threadIdx.x; i < args.constants_count; i += kConvThreads)
    reinterpret_cast<float*>(shared + args.constants_at)[i] = args.constants[i];
#pragma unroll 1
  for (int i = threadIdx.x; i < args.first_left * 32; i += kConvThreads)
    reinterpret_cast<uint2*>(shared + args.first_at)[i] = args.first[i];
  for (int y = 0; y <= args.k; ++y)  // the sites beside the lattice stay 0
#pragma unroll 1
    for (int i = threadIdx.x; i < kConvSamples * args.spin_stride; i += kConvThreads) spin_row<P>(args, tile, y)[i] = 0;
  __syncthreads();  // constants, weights and spins

  tile.offset = static_cast<int>(first_index(args) % kConvSamples);  // a tile begins at a multiple of its size
  int turn = 0;
  for (tile.number = blockIdx.x; sample_of(tile, 0) < args.count; tile.number += gridDim.x) {
    for (tile.y = 0; tile.y < args.height; ++tile.y) {
      first_layer_rows<P>(args, tile);
      for (int l = 1; l < args.depth; ++l) {
        if (l + 1 < args.depth || tile.y > 0)
          layer_rows<P>(args, tile, l, min(l + 1 < args.depth ? args.k : 1, tile.y), turn);
      }
      __syncthreads();  // sums and logits are there, the stages are free
      begin_row<P>(args, tile);
      copy_async_wait<0>();  // this thread's sums; the first barrier of the scan covers the rest
      scan_row<P>(args, tile);
      end_row<P>(args, tile);
    }
    write_log_q(args, tile);
  }
}

}  // namespace vanfast
