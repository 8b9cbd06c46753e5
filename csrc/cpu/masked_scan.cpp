// Sampling of masked linear stacks, a block of sites at a time.
//
// The units of every layer come sorted by degree, the number of first sites they may see. So a unit sees a prefix of
// the previous layer, and a block of sites owns a consecutive run of units in each layer.
// prefix: z of the block's units from all units finished before the block, one matrix product per layer.
// scan:   site by site: the units of that degree, layer after layer, from the few units inside the block; the last
//         layer's unit is the logit, or its q units are the logits; draw.
#include "cpu/masked_scan.h"

#include <algorithm>
#include <cstring>

#include "common/philox.h"

namespace vanfast::cpu {

namespace {

// A rectangle of a layer's weights without its leading columns of zeros: the channel layer of a residual block sees
// nothing outside its own site.
struct Piece {
  PackedMatrix weights;
  int first = 0;  // first column, as a unit of the previous layer
};

struct Layer {
  int units = 0;
  bool skip = false;
  std::vector<int> first;  // [sites + 1]: first unit with degree >= p
  std::vector<float> bias;
  std::vector<float> slope;   // of the next layer's input; empty: identity
  std::vector<Piece> prefix;  // [block]: rows the block's units, columns the previous layer's finished units
  std::vector<Piece> scan;    // [site]: rows the site's units, columns the previous layer's units in the block
};

class MaskedScan final : public Scan {
 public:
  MaskedScan(const MaskedSpec& spec, const Kernels& kernels, bool bf16);

  int num_sites() const override { return sites_; }
  int groups_per_tile() const override { return 4; }
  int num_kept() const override { return static_cast<int>(layers_.size()); }
  int64_t kept_units(int layer) const override { return layers_[layer].units; }
  int64_t workspace_bytes() const override;
  std::unique_ptr<Workspace> make_workspace() const override { return std::make_unique<Units>(*this); }
  void run(const Tile& tile, Workspace& workspace) const override;

 private:
  struct Units final : Workspace {
    explicit Units(const MaskedScan& scan);
    std::vector<Buffer<Word>> active;  // per layer but the last: [group][unit][kLanes], input of the next layer
    std::vector<Buffer<float>> z;      // per layer: [group][unit of the block][kLanes]
    Buffer<uint32_t> words;            // [group][4][kLanes]
    Buffer<float> fields;              // of the prior: [group][prior's values]
    Buffer<float> one_hot;             // of sites with states: [group][site][state][kLanes]
  };

  // Units of the previous layer (spins for the first) that are finished before site p.
  int finished(int l, int p) const { return l ? layers_[l - 1].first[p] : p * width_; }
  int visible(int l, int p) const { return l ? layers_[l - 1].first[p + 1] : p * width_; }
  int block_start(int block) const { return block * block_sites_; }
  int block_end(int block) const { return std::min(sites_, (block + 1) * block_sites_); }
  const Word* input(const Tile& tile, const Units& units, int l, int g) const {
    if (l) return units.active[l - 1].data() + int64_t(g) * layers_[l - 1].units * kLanes;
    const float* values = states_ ? units.one_hot.data() : tile.spins;
    return reinterpret_cast<const Word*>(values) + int64_t(g) * sites_ * width_ * kLanes;
  }
  float* fields(Units& units, int g) const { return units.fields.data() + g * prior_.values(); }
  float* block_z(Units& units, int l, int g) const {
    return units.z[l].data() + int64_t(g) * widest_block_[l] * kLanes;
  }
  void prefix(const Tile& tile, Units& units, int block) const;
  void finish_site(const Tile& tile, Units& units, int block, int p, int g) const;

  const Kernels& kernels_;
  const MatMul& math_;
  int sites_, states_, width_, block_sites_;
  std::vector<Layer> layers_;
  std::vector<int> widest_block_;  // per layer
  StarPrior prior_;
};

MaskedScan::MaskedScan(const MaskedSpec& spec, const Kernels& kernels, bool bf16)
    : kernels_(kernels),
      math_(bf16 ? kernels.rounded : kernels.fp32),
      sites_(spec.num_sites),
      states_(spec.states),
      width_(spec.width()) {
  int widest = 1;
  for (const auto& layer : spec.layers) widest = std::max(widest, layer.out);
  // about 64 rows to a prefix product, at most 32 sites: the scan's share of the work grows with the block
  block_sites_ = std::clamp(64 * sites_ / widest, 8, 32);
  const int blocks = (sites_ + block_sites_ - 1) / block_sites_;

  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const MaskedLayerSpec& from = spec.layers[l];
    Layer layer;
    layer.units = from.out;
    layer.skip = from.skip;
    layer.first.resize(sites_ + 1);
    for (int p = 0, unit = 0; p <= sites_; ++p) {
      while (unit < from.out && from.degree[unit] < p) ++unit;
      layer.first[p] = unit;
    }
    layer.bias.assign(from.out, 0.0f);
    if (from.bias) layer.bias.assign(from.bias, from.bias + from.out);
    if (l && from.slope) layers_[l - 1].slope.assign(from.slope, from.slope + from.in);
    layers_.push_back(std::move(layer));

    Layer& to = layers_.back();
    auto pack = [&](int row0, int row1, int column0, int column1) -> Piece {
      int first = column1;
      for (int r = row0; r < row1; ++r) {
        const float* row = from.weight + size_t(r) * from.in;
        first = static_cast<int>(std::find_if(row + column0, row + first, [](float w) { return w != 0.0f; }) - row);
      }
      Matrix m(row1 - row0, column1 - first);
      for (int r = row0; r < row1 && first < column1; ++r)
        std::copy(from.weight + size_t(r) * from.in + first, from.weight + size_t(r) * from.in + column1,
                  &m.at(r - row0, 0));
      return {PackedMatrix(math_, m), first};
    };
    int widest_block = 0;
    for (int block = 0; block < blocks; ++block) {
      const int p0 = block_start(block), p1 = block_end(block), done = finished(static_cast<int>(l), p0);
      to.prefix.push_back(pack(to.first[p0], to.first[p1], 0, done));
      widest_block = std::max(widest_block, to.first[p1] - to.first[p0]);
      for (int p = p0; p < p1; ++p)
        to.scan.push_back(pack(to.first[p], to.first[p + 1], done, visible(static_cast<int>(l), p)));
    }
    widest_block_.push_back(widest_block);
  }
  if (spec.prior) prior_ = StarPrior(*spec.prior, kernels);
}

int64_t MaskedScan::workspace_bytes() const {
  int64_t words = 4 + int64_t(sites_) * states_;
  for (size_t l = 0; l < layers_.size(); ++l) words += layers_[l].units + widest_block_[l];
  return (words * kLanes + prior_.values()) * groups_per_tile() * 4;
}

MaskedScan::Units::Units(const MaskedScan& scan)
    : words(size_t(4) * kLanes * scan.groups_per_tile()),
      fields(scan.prior_.values() * scan.groups_per_tile()),
      one_hot(size_t(scan.sites_) * scan.states_ * kLanes * scan.groups_per_tile()) {
  for (size_t l = 0; l < scan.layers_.size(); ++l) {
    if (l + 1 < scan.layers_.size())
      active.emplace_back(size_t(scan.layers_[l].units) * scan.groups_per_tile() * kLanes);
    z.emplace_back(size_t(scan.widest_block_[l]) * scan.groups_per_tile() * kLanes);
  }
}

void MaskedScan::prefix(const Tile& tile, Units& units, int block) const {
  for (int l = 0; l < static_cast<int>(layers_.size()); ++l) {
    const Layer& layer = layers_[l];
    const int unit0 = layer.first[block_start(block)];
    const auto& [weights, first] = layer.prefix[block];
    for (int g = 0; g < tile.groups; ++g) {
      float* z = block_z(units, l, g);
      for (int u = 0; u < weights.rows(); ++u) std::fill_n(z + u * kLanes, kLanes, layer.bias[unit0 + u]);
      weights.multiply(0, weights.rows(), weights.columns(), input(tile, units, l, g) + int64_t(first) * kLanes, z);
    }
  }
}

void MaskedScan::finish_site(const Tile& tile, Units& units, int block, int p, int g) const {
  for (int l = 0; l < static_cast<int>(layers_.size()); ++l) {
    const Layer& layer = layers_[l];
    const int unit = layer.first[p], count = layer.first[p + 1] - unit, unit0 = layer.first[block_start(block)];
    if (!count) continue;
    float* z = block_z(units, l, g) + (unit - unit0) * kLanes;
    const auto& [weights, first] = layer.scan[p];
    weights.multiply(0, count, weights.columns(), input(tile, units, l, g) + int64_t(first) * kLanes, z);
    if (layer.skip) {  // same units as two layers below, so the same place in the block
      const float* skipped = block_z(units, l - 2, g) + (unit - unit0) * kLanes;
      for (int i = 0; i < count * kLanes; ++i) z[i] += skipped[i];
    }
    if (l + 1 < static_cast<int>(layers_.size())) {
      Word* active = units.active[l].data() + (int64_t(g) * layer.units + unit) * kLanes;
      math_.activate(z, layer.slope.empty() ? nullptr : layer.slope.data() + unit, count, active);
    }
    if (l + 1 == static_cast<int>(layers_.size())) prior_.add(p, fields(units, g), z);
    if (tile.keep)
      std::memcpy(tile.keep[l] + (int64_t(g) * layer.units + unit) * kLanes, z, sizeof(float) * count * kLanes);
  }
}

void MaskedScan::run(const Tile& tile, Workspace& workspace) const {
  Units& units = static_cast<Units&>(workspace);
  const int last = static_cast<int>(layers_.size()) - 1;
  for (int g = 0; g < tile.groups; ++g) prior_.begin(fields(units, g));
  for (int block = 0; block_start(block) < sites_; ++block) {
    prefix(tile, units, block);
    for (int p = block_start(block); p < block_end(block); ++p)
      for (int g = 0; g < tile.groups; ++g) {
        finish_site(tile, units, block, p, g);
        const float* logit = block_z(units, last, g) + (p - block_start(block)) * width_ * kLanes;
        float* spin = tile.spins + (int64_t(g) * sites_ + p) * kLanes;
        double* log_q = tile.log_q + g * kLanes;
        if (tile.given) {
          if (states_)
            kernels_.score_states(logit, states_, spin, log_q);
          else
            kernels_.score(logit, spin, log_q);
        } else {
          uint32_t* words = units.words.data() + g * 4 * kLanes;
          if (p % 4 == 0)
            kernels_.words(tile.seed, tile.first_sample + uint64_t(g) * kLanes, static_cast<uint32_t>(p / 4),
                           kSpinStream, words);
          if (states_)
            kernels_.draw_states(logit, states_, words + p % 4 * kLanes, spin, log_q);
          else
            kernels_.draw(logit, words + p % 4 * kLanes, spin, log_q);
        }
        if (states_)
          kernels_.one_hot(spin, states_, 1, units.one_hot.data() + (int64_t(g) * sites_ + p) * states_ * kLanes);
        prior_.drawn(p, spin, fields(units, g));
      }
  }
}

}  // namespace

std::unique_ptr<Scan> make_masked_scan(const MaskedSpec& spec, const Kernels& kernels, bool bf16) {
  return std::make_unique<MaskedScan>(spec, kernels, bf16);
}

}  // namespace vanfast::cpu
