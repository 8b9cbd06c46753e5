// Where the convolution sampler keeps what: offsets into shared memory, the workspace and the packed weights.
//
// Two blocks share a multiprocessor when at least half of the scan's weights fit beside the rest in half its shared
// memory (bf16, width 64, k = 6: all of them, 109 KB); else, and in fp32, whose registers fill a multiprocessor, one
// block has all of it. What does not fit is read through L1, which both blocks share. Networks or rows too wide even
// for that keep sums, spins, words and logits of the row in the workspace (`big`).
#include <algorithm>
#include <string>

#include "cuda/conv_args.cuh"

namespace vanfast {

namespace {

constexpr int64_t kStageBytes = 40 << 10;  // one of two: 13 taps of a fragment of 64 x 64 weights with 28 sites

int64_t align(int64_t bytes, int64_t to) { return (bytes + to - 1) / to * to; }
int ceil_div(int a, int b) { return (a + b - 1) / b; }

void check(const ConvShape& shape) {
  auto require = [](bool ok, const char* message) {
    if (!ok) throw std::invalid_argument(message);
  };
  require(shape.height > 0 && shape.width > 0 && shape.k > 0, "height, width and half_kernel must be positive");
  require((int64_t(shape.height) + 1) * (shape.k + 1) < int64_t(1) << 31,
          "height times half_kernel must be below 2^31");
  require(shape.precision >= 0 && shape.precision <= 2, "precision must be 0 (fp32), 1 (tf32) or 2 (bf16)");
  require(!shape.layers.empty() && shape.layers.size() <= kConvLayers, "a network has 1 to 64 layers");
  int in = 1;
  for (size_t l = 0; l < shape.layers.size(); ++l) {
    const auto& layer = shape.layers[l];
    const bool last = l + 1 == shape.layers.size();
    require(layer.in == in && layer.out > 0, "a layer's input channels must be the output channels before it");
    require(!last || layer.out == 1, "the last layer must have one output channel");
    require(!layer.residual || (l > 0 && !last && layer.in == layer.out),
            "only layers between the first and the last, of equal width, can be residual");
    in = layer.out;
  }
}

// Sizes that do not depend on how much shared memory there is.
ConvLayout sizes(const ConvShape& shape) {
  ConvLayout layout;
  ConvArgs& a = layout.args;
  const int per_chunk = shape.precision == kConvBf16 ? 16 : 8, side = 2 * shape.k + 1;
  layout.precision = shape.precision;
  layout.star = shape.star;
  a.height = shape.height;
  a.width = shape.width;
  a.k = shape.k;
  a.depth = static_cast<int>(shape.layers.size());
  a.row_magic = static_cast<uint32_t>((uint64_t(1) << 32) / (shape.k + 1) + 1);
  a.pieces = shape.precision == kConvBf16 ? 1 : shape.precision == kConvTf32 ? 2 : 3;
  a.left_chunks = ceil_div(shape.k, 16);
  a.row_chunks = ceil_div(side, 16);
  a.reach_tiles = ceil_div(shape.k + 1, 8);
  a.spin_stride = static_cast<int>(align(shape.width + 16 * a.row_chunks - 16, 32)) + 16;
  auto constants = [&](int channels) {
    const int at = a.constants_count;
    a.constants_count += static_cast<int>(align(channels, 16));
    return at;
  };
  // The last layer's weights of the scan come first: what does not fit into shared memory are far taps of hidden
  // layers.
  if (a.depth > 1) {
    const int chunks = static_cast<int>(align(shape.layers.back().in, 16)) / per_chunk;
    layout.scan_fragments = int64_t(a.reach_tiles) * ((chunks + 1) / 2);
  }
  for (int l = 0; l < a.depth; ++l) {
    const auto& from = shape.layers[l];
    ConvLayerArgs& layer = a.layer[l];
    const bool last = l > 0 && l + 1 == a.depth;
    layer.channels = from.in;
    layer.out = from.out;
    layer.residual = from.residual;
    layer.chunks = l == 0 ? 0 : static_cast<int>(align(from.in, 16)) / per_chunk;
    layer.tiles = static_cast<int>(align(last ? shape.k : from.out, 16)) / 8;
    layer.slots = last ? 1 : shape.k + 1;
    layer.bias = constants(from.out);
    layer.slope = constants(from.in);
    layer.mix_bias = constants(from.residual ? from.in : 0);
    const int pairs = (layer.chunks + 1) / 2;
    layer.mix_weights = static_cast<int>(layout.scan_fragments);
    if (from.residual) layout.scan_fragments += int64_t(layer.tiles) * pairs;
    layer.scan_weights = last ? 0 : static_cast<int>(layout.scan_fragments);
    if (!last) layout.scan_fragments += int64_t(pairs) * (shape.k + 1) * layer.tiles;
    layer.row_weights = layout.row_fragments;
    layout.row_fragments += int64_t(last ? 1 : shape.k) * layer.chunks * side * (layer.tiles / 2);
  }
  const int64_t halves = int64_t(a.pieces) * a.layer[0].tiles;
  a.first_left = static_cast<int>(halves * a.left_chunks);
  layout.first_halves = a.first_left + halves * shape.k * a.row_chunks;
  return layout;
}

void place_workspace(ConvArgs& a, bool star) {
  int64_t at = 0;
  auto take = [&](int64_t bytes) {
    const int64_t here = at;
    at = align(at + bytes, 512);
    return here;
  };
  for (int l = 0; l < a.depth; ++l) {
    ConvLayerArgs& layer = a.layer[l];
    layer.rows = take(int64_t(layer.slots) * layer.chunks * a.width * kFragment);
    layer.sums = take(int64_t(a.width) * layer.tiles * kFragment);
  }
  a.logit_ring = take(int64_t(a.k + 1) * a.width * kConvSamples * 4);
  a.spins_row = take(a.big ? int64_t(a.k + 1) * kConvSamples * a.spin_stride : 0);
  a.logits_row = take(a.big ? int64_t(a.width) * kConvSamples * 4 : 0);
  a.words_row = take(a.big ? int64_t(a.width) * kConvSamples * 4 : 0);
  a.star_fields = take(star ? int64_t(a.height) * a.width * kConvSamples * 4 : 0);
  a.workspace_stride = at;
}

// Offsets for at most `limit` bytes; false if they do not suffice.
bool place_shared(ConvLayout& layout, int64_t limit, bool big) {
  ConvArgs& a = layout.args;
  a.big = big;
  int64_t at = 0;
  auto take = [&](int64_t bytes) {
    const int64_t here = at;
    at = align(at + bytes, 16);
    return static_cast<int>(std::min<int64_t>(here, INT32_MAX));
  };
  a.constants_at = take(int64_t(a.constants_count) * 4);
  a.first_at = take(int64_t(a.first_left) * kHalfFragment);
  a.spins_at = take(big ? 0 : int64_t(a.k + 1) * kConvSamples * a.spin_stride);
  a.logits_at = take(big ? 0 : int64_t(a.width) * kConvSamples * 4);
  a.words_at = take(big ? 0 : int64_t(a.width) * kConvSamples * 4);
  a.log_q_at = take(int64_t(kConvThreads) * 8);
  int mixed = 0, kept_tiles = 0;
  for (int l = 1; l < a.depth; ++l) {
    a.layer[l].site = take(int64_t(a.layer[l].chunks) * kFragment);
    if (!a.layer[l].residual) continue;
    mixed = std::max(mixed, a.layer[l].chunks);
    kept_tiles = std::max(kept_tiles, a.layer[l].tiles);
  }
  a.mix_at = take(int64_t(mixed) * kFragment);
  a.kept_z_at = take(int64_t(kept_tiles) * kFragment);
  a.overlay_at = take(0);
  if (at > limit) return false;

  const int64_t overlay = limit - at, side = 2 * a.k + 1, stage = std::min(kStageBytes, overlay / 2 / 16 * 16);
  int64_t stage_bytes = 0, rings = 0;
  for (int l = 0; l < a.depth; ++l) {
    ConvLayerArgs& layer = a.layer[l];
    const bool last = l > 0 && l + 1 == a.depth;
    if (l > 0) {
      const int groups = ceil_div(layer.tiles, 4);
      layer.pass_groups = std::min(groups, kConvWarps);
      layer.pass_sites = std::min(kConvWarps / layer.pass_groups, ceil_div(a.width, kConvSites));
      auto bytes = [&](int64_t taps) {
        const int64_t sites = std::min<int64_t>(a.width, kConvSites * layer.pass_sites + taps - 1);
        return (taps * std::min(layer.tiles / 2, 2 * layer.pass_groups) + sites) * kFragment;
      };
      while (bytes(1) > stage && layer.pass_sites > 1) --layer.pass_sites;
      while (bytes(1) > stage && layer.pass_groups > 1) --layer.pass_groups;
      if (bytes(1) > stage) return false;
      int64_t taps = side;
      while (bytes(taps) > stage) --taps;
      const int64_t parts = (side + taps - 1) / taps;
      layer.tap_group = static_cast<int>((side + parts - 1) / parts);
      layer.tap_groups = static_cast<int>((side + layer.tap_group - 1) / layer.tap_group);
      stage_bytes = std::max(stage_bytes, bytes(layer.tap_group));
    }
    if (last) continue;
    layer.ring_slots = std::min(l == 0 ? 2 : a.k + 1, a.width);
    layer.ring = static_cast<int>(at + rings);
    rings += big ? 0 : int64_t(layer.ring_slots) * layer.tiles * kFragment;
    if (rings > overlay) return false;
  }
  a.stage_bytes = static_cast<int>(stage_bytes);
  a.cached_at = static_cast<int>(at + rings);
  a.cached = static_cast<int>(std::min<int64_t>((overlay - rings) / kFragment, layout.scan_fragments));
  layout.shared_bytes = static_cast<size_t>(at + std::max(2 * stage_bytes, rings + int64_t(a.cached) * kFragment));
  return true;
}

}  // namespace

ConvLayout conv_layout(const ConvShape& shape, const SharedLimits& limits) {
  check(shape);
  ConvLayout layout = sizes(shape);
  const int64_t half = std::min(limits.processor / 2 - limits.reserved, limits.block);
  const bool two = shape.precision != kConvFp32;  // blocks whose registers a multiprocessor has
  const bool fits = (two && place_shared(layout, half, false) && 2 * layout.args.cached >= layout.scan_fragments) ||
                    place_shared(layout, limits.block, false) || place_shared(layout, limits.block, true);
  if (!fits)
    throw std::invalid_argument("the network needs more than the " + std::to_string(limits.block) +
                                " bytes of shared memory that a block can have on this device");
  place_workspace(layout.args, layout.star);
  return layout;
}

}  // namespace vanfast
