// What a launch of the convolution sampler is told: sizes, where everything lies, and the caller's buffers.
//
// Fragments. Activations and sums are kept in the order in which tensor cores take and give them, 16 bytes a lane, 512
// a warp: a fragment of activations is 16 samples x 16 channels (bf16) or 16 samples x 8 channels (fp32, tf32), a
// fragment of sums 16 samples x 8 channels in float. Weights come in fragments of 512 bytes too: two tiles of 8 columns
// for the rows above (`rows`), two fragments of channels for the site scan (`scan`).
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/runtime.cuh"
#include "cuda/star_tables.cuh"

namespace vanfast {

enum ConvPrecision { kConvFp32 = 0, kConvTf32 = 1, kConvBf16 = 2 };

constexpr int kConvSamples = 16;  // of a tile: the rows of a fragment
constexpr int kConvWarps = 8;     // the last one draws
constexpr int kConvThreads = 32 * kConvWarps;
constexpr int kConvLayers = 64;     // at most
constexpr int kConvStarSlots = 2;   // lanes that share a sample of the drawing warp
constexpr int kConvSites = 4;       // of a warp in a product of rows
constexpr int kFragment = 512;      // bytes
constexpr int kHalfFragment = 256;  // of one tile of 8 columns of weights for spins

struct ConvLayerArgs {
  int chunks;                 // fragments that hold the input's channels; 0: the input is the spins
  int tiles;                  // of 8 channels: the output, even. Last layer of several: rows below that a site reaches
  int channels, out;          // of the input and of the output
  int residual;               // with its pointwise product
  int bias, slope, mix_bias;  // in `constants`
  int slots;                  // rows of the input's activations that are kept
  int site;                   // shared: the site's input [chunks][512]
  int ring, ring_slots;       // shared: sums of the next sites [ring_slots][tiles][512]
  int pass_groups, pass_sites, tap_group,
      tap_groups;                 // of a product of rows: groups of 4 tiles and of 4 sites, taps of a stage
  int scan_weights, mix_weights;  // fragments
  int64_t row_weights;
  int64_t rows;            // workspace: the input's activations [slots][chunks][width][512]
  int64_t sums;            // workspace: what the rows above give [width][tiles][512]
  float *kept, *kept_mix;  // caller's pre-activations [count, height, width, out], or null
};

struct ConvArgs {
  int height, width, k, depth, pieces;
  uint32_t row_magic;           // ceil(2^32 / (k + 1))
  int left_chunks, row_chunks;  // fragments of 16 taps: left of the site, and of a row above
  int reach_tiles;              // of 8 sites of the own row that a site's input of the last layer reaches
  int spin_stride;              // bytes from sample to sample in the rows of spins
  int given, big;               // given spins; rows of spins, logits and sums lie in the workspace
  // Shared memory, in bytes.
  int constants_at, first_at, spins_at, logits_at, words_at, log_q_at, mix_at, kept_z_at, overlay_at, stage_bytes,
      cached_at;
  int constants_count, first_left, cached;  // floats; half fragments of the part left of the site; fragments
  int64_t spins_row, logits_row, words_row, logit_ring, star_fields;  // workspace
  int64_t workspace_stride;
  const uint4 *rows, *scan;
  const uint2* first;
  const float* constants;
  unsigned char* workspace;
  int8_t* spins;
  double* log_q;
  int64_t count;
  uint64_t seed, first_sample;
  const int64_t* step;
  StarTables star;
  ConvLayerArgs layer[kConvLayers];
};

// A network's shape, as the binding takes it.
struct ConvShape {
  struct Layer {
    int in, out;
    bool residual;
  };
  int height, width, k;
  std::vector<Layer> layers;
  int precision;
  bool star = false;  // whether a prior is added
};

// Where everything lies, for one shape on one device. Pure arithmetic on the host.
struct ConvLayout {
  ConvArgs args{};
  int precision = 0;
  bool star = false;
  int64_t row_fragments = 0, scan_fragments = 0, first_halves = 0;
  size_t shared_bytes = 0;
};

struct SharedLimits {
  int block, processor, reserved;  // bytes
};

// Throws std::invalid_argument where the shape is wrong or needs more shared memory than a block can have.
ConvLayout conv_layout(const ConvShape& shape, const SharedLimits& limits);
SharedLimits conv_shared_limits(int device);
int conv_resident_blocks(const ConvLayout& layout, int device);
void launch_conv_sample(const ConvLayout& layout, const ConvArgs& args, int blocks, int device, uintptr_t stream);

}  // namespace vanfast
