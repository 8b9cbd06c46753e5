// PixelCNN sampling, a row at a time.
//
//   z_l(y, x) = b_l + sum_{dy, dx} W_l(dy, dx) a_{l-1}(y - dy, x + dx) [+ z_{l-1}(y, x)],   a = PReLU(z)
//
// prefix: for every hidden layer, the taps in the rows above, for the whole row.  scan: site by site, the taps left
// of the site in its own row, all layers, then the draw. Taps of one row are neighbours in memory, so each is one
// matrix product [out x (taps in)] x [(taps in) x lanes] over in-lattice taps only; no patch is ever copied. The
// first layer (one channel in) gathers its few taps; the last one (one channel out) pushes each finished site into
// the logits it will reach, so that its input is read once. Only k + 1 rows of activations per layer exist.
#include "cpu/conv_scan.h"

#include <algorithm>
#include <cstring>

#include "common/philox.h"

namespace vanfast::cpu {

namespace {

void fill_rows(float* c, const std::vector<float>& bias) {
  for (size_t u = 0; u < bias.size(); ++u) std::fill_n(c + u * kLanes, kLanes, bias[u]);
}

std::vector<float> copy_or_zero(const float* values, int count) {
  return values ? std::vector<float>(values, values + count) : std::vector<float>(count, 0.0f);
}

struct HiddenLayer {
  int in, out, site_words;  // site_words: words of the input's activations at one site
  bool residual, pointwise;
  std::vector<float> bias, slope, pointwise_bias;
  std::vector<PackedMatrix> above;  // [dy - 1], columns (dx, channel), dx = -k .. k
  PackedMatrix row;                 // columns (dx, channel), dx = -k .. 0
  PackedMatrix mix;                 // pointwise
};

class ConvScan final : public Scan {
 public:
  ConvScan(const ConvSpec& spec, const Kernels& kernels, bool bf16)
      : kernels_(kernels),
        math_(kernels.matmul(bf16)),
        plain_(bf16 ? kernels.rounded : kernels.fp32),
        height_(spec.height),
        width_(spec.width),
        k_(spec.half_kernel),
        depth_(static_cast<int>(spec.layers.size())) {
    if (depth_ > 1) build_first(spec.layers.front());
    for (int l = 1; l + 1 < depth_; ++l) build_hidden(spec.layers[l]);
    build_last(spec.layers.back());
    if (spec.prior) prior_ = StarPrior(*spec.prior, kernels);
  }

  int num_sites() const override { return height_ * width_; }
  int num_kept() const override { return static_cast<int>(kept_.size()); }
  int64_t kept_units(int layer) const override { return int64_t(kept_[layer]) * num_sites(); }
  int64_t workspace_bytes() const override;
  std::unique_ptr<Workspace> make_workspace() const override { return std::make_unique<Rows>(*this); }

  void run(const Tile& tile, Workspace& workspace) const override {
    for (int g = 0; g < tile.groups; ++g) {
      Group group{static_cast<Rows&>(workspace),
                  tile,
                  tile.spins + int64_t(g) * num_sites() * kLanes,
                  tile.log_q + g * kLanes,
                  tile.first_sample + uint64_t(g) * kLanes,
                  g};
      run_group(group);
    }
  }

 private:
  // What one thread keeps: k + 1 rows of activations per hidden layer, one row of partial sums, single-site buffers.
  struct Rows final : Workspace {
    explicit Rows(const ConvScan& scan);
    std::vector<Buffer<Word>> ring;   // per hidden layer: [k + 1][width][site_words][kLanes]
    std::vector<Buffer<float>> sums;  // per hidden layer: [width][out][kLanes]
    Buffer<float> logits;             // [k + 1][width][kLanes]
    Buffer<float> gathered;           // first layer's taps
    Buffer<float> z, mixed, reach;    // one site: pre-activation, pointwise output, pushed contributions
    Buffer<Word> active;              // one site: input of a pointwise or the last layer
    Buffer<float> fields;             // of the prior
    alignas(64) uint32_t words[4 * kLanes];
  };

  struct Group {
    Rows& rows;
    const Tile& tile;
    float* spins;
    double* log_q;
    uint64_t first_sample;
    int index;
    void keep(int layer, int64_t units_per_sample, int64_t at, const float* z, int units) const {
      if (tile.keep)
        std::memcpy(tile.keep[layer] + (int64_t(index) * units_per_sample + at) * kLanes, z,
                    sizeof(float) * units * kLanes);
    }
  };

  void build_first(const ConvLayerSpec& layer);
  void build_hidden(const ConvLayerSpec& layer);
  void build_last(const ConvLayerSpec& layer);
  void run_group(const Group& group) const;
  void prefix(const Group& group, int y) const;
  void first_layer(const Group& group, int y, int x) const;
  void hidden_layer(const Group& group, int l, int y, int x, int& kept) const;
  void push(const Group& group, const Word* input, int y, int x) const;
  void clear_logits(Rows& rows, int y) const;

  const Kernels& kernels_;
  const MatMul& math_;   // hidden and last layers
  const MatMul& plain_;  // products with spins, which are exact in float32
  int height_, width_, k_, depth_;
  bool last_inclusive_ = false;
  int first_out_ = 0, widest_ = 1, last_in_ = 1, last_words_ = 1;
  PackedMatrix first_;  // columns: k taps on the left, then 2k + 1 taps of each row above
  std::vector<float> first_bias_;
  std::vector<HiddenLayer> hidden_;
  PackedMatrix last_;  // rows: sites reached in the own row, then 2k + 1 sites of each row below
  float last_bias_ = 0.0f;
  std::vector<float> last_slope_;
  StarPrior prior_;
  std::vector<int> kept_;  // channels of each kept pre-activation
};

void ConvScan::build_first(const ConvLayerSpec& layer) {
  const int side = 2 * k_ + 1;
  Matrix m(layer.out, k_ + k_ * side);
  for (int c = 0; c < layer.out; ++c) {
    const float* w = layer.weight + size_t(c) * (k_ + 1) * side;
    for (int left = 1; left <= k_; ++left) m.at(c, left - 1) = w[k_ * side + k_ - left];
    for (int dy = 1; dy <= k_; ++dy)
      for (int dx = 0; dx < side; ++dx) m.at(c, k_ + (dy - 1) * side + dx) = w[(k_ - dy) * side + dx];
  }
  first_ = PackedMatrix(plain_, m);
  first_bias_ = copy_or_zero(layer.bias, layer.out);
  first_out_ = widest_ = layer.out;
  kept_.push_back(layer.out);
}

void ConvScan::build_hidden(const ConvLayerSpec& layer) {
  const int side = 2 * k_ + 1, units = padded_units(math_, layer.in);
  HiddenLayer h;
  h.in = layer.in;
  h.out = layer.out;
  h.site_words = words_per_site(math_, layer.in);
  h.residual = layer.residual;
  h.pointwise = layer.pointwise != nullptr;
  h.bias = copy_or_zero(layer.bias, layer.out);
  h.slope = std::vector<float>(layer.slope, layer.slope + layer.in);
  for (int dy = 0; dy <= k_; ++dy) {
    const int taps = dy ? side : k_ + 1;
    Matrix m(layer.out, taps * units);
    for (int o = 0; o < layer.out; ++o)
      for (int i = 0; i < layer.in; ++i) {
        const float* w = layer.weight + ((size_t(o) * layer.in + i) * (k_ + 1) + (k_ - dy)) * side;
        for (int dx = 0; dx < taps; ++dx) m.at(o, dx * units + i) = w[dx];
      }
    (dy ? h.above.emplace_back() : h.row) = PackedMatrix(math_, m);
  }
  if (h.pointwise) {
    Matrix m(layer.in, units);
    for (int o = 0; o < layer.in; ++o) std::copy_n(layer.pointwise + size_t(o) * layer.in, layer.in, &m.at(o, 0));
    h.mix = PackedMatrix(math_, m);
    h.pointwise_bias = copy_or_zero(layer.pointwise_bias, layer.in);
    kept_.push_back(layer.in);
  }
  kept_.push_back(layer.out);
  widest_ = std::max({widest_, layer.in, layer.out});
  hidden_.push_back(std::move(h));
}

void ConvScan::build_last(const ConvLayerSpec& layer) {
  const int side = 2 * k_ + 1;
  const MatMul& math = depth_ > 1 ? math_ : plain_;
  last_inclusive_ = layer.inclusive;
  last_in_ = layer.in;
  last_words_ = words_per_site(math, layer.in);
  const int own = k_ + last_inclusive_;
  Matrix m(own + k_ * side, padded_units(math, layer.in));
  for (int i = 0; i < layer.in; ++i) {
    const float* w = layer.weight + size_t(i) * (k_ + 1) * side;
    for (int r = 0; r < own; ++r) m.at(r, i) = w[k_ * side + k_ - (r + !last_inclusive_)];
    // the site reached at offset o = r - k below sees this one at tap -o
    for (int dy = 1; dy <= k_; ++dy)
      for (int r = 0; r < side; ++r) m.at(own + (dy - 1) * side + r, i) = w[(k_ - dy) * side + 2 * k_ - r];
  }
  last_ = PackedMatrix(math, m);
  last_bias_ = layer.bias ? layer.bias[0] : 0.0f;
  if (layer.slope) last_slope_.assign(layer.slope, layer.slope + layer.in);
  kept_.push_back(1);
}

int64_t ConvScan::workspace_bytes() const {
  int64_t words = (k_ + 1) * width_;
  for (const auto& h : hidden_) words += int64_t(k_ + 1) * width_ * h.site_words + int64_t(width_) * h.out;
  words += first_.columns() + 3 * int64_t(widest_) + last_.rows() + last_words_;
  return (words * kLanes + prior_.values()) * 4;
}

ConvScan::Rows::Rows(const ConvScan& scan) {
  for (const auto& h : scan.hidden_) {
    ring.emplace_back(size_t(scan.k_ + 1) * scan.width_ * h.site_words * kLanes);
    sums.emplace_back(size_t(scan.width_) * h.out * kLanes);
  }
  logits.resize(size_t(scan.k_ + 1) * scan.width_ * kLanes);
  gathered.resize(size_t(scan.first_.columns()) * kLanes);
  fields.resize(scan.prior_.values());
  z.resize(size_t(scan.widest_) * kLanes);
  mixed.resize(size_t(scan.widest_) * kLanes);
  reach.resize(size_t(scan.last_.rows()) * kLanes);
  int widest_words = scan.last_words_;
  for (const auto& h : scan.hidden_) widest_words = std::max(widest_words, h.site_words);
  active.resize(size_t(widest_words) * kLanes);
}

void ConvScan::clear_logits(Rows& rows, int y) const {
  const size_t row = size_t(width_) * kLanes;
  std::fill_n(rows.logits.data() + (y % (k_ + 1)) * row, row, last_bias_);
}

void ConvScan::prefix(const Group& group, int y) const {
  for (size_t l = 0; l < hidden_.size(); ++l) {
    const HiddenLayer& h = hidden_[l];
    float* sums = group.rows.sums[l].data();
    for (int x = 0; x < width_; ++x) fill_rows(sums + size_t(x) * h.out * kLanes, h.bias);
    // a row of weights, of input and of sums at a time: together they fit the second-level cache
    for (int dy = 1; dy <= std::min(k_, y); ++dy) {
      const Word* row = group.rows.ring[l].data() + size_t((y - dy) % (k_ + 1)) * width_ * h.site_words * kLanes;
      for (int x = 0; x < width_; ++x) {
        const int low = std::max(0, x - k_), high = std::min(width_ - 1, x + k_);
        h.above[dy - 1].multiply((low - x + k_) * h.site_words, h.out, (high - low + 1) * h.site_words,
                                 row + size_t(low) * h.site_words * kLanes, sums + size_t(x) * h.out * kLanes);
      }
    }
  }
}

// z = first layer's pre-activation at (y, x)
void ConvScan::first_layer(const Group& group, int y, int x) const {
  float* taps = group.rows.gathered.data();
  const float* spins = group.spins;
  auto put = [&](int column, int sx, int sy) {
    float* to = taps + column * kLanes;
    if (sx < 0 || sx >= width_)
      std::fill_n(to, kLanes, 0.0f);
    else
      std::copy_n(spins + (size_t(sy) * width_ + sx) * kLanes, kLanes, to);
  };
  for (int left = 1; left <= k_; ++left) put(left - 1, x - left, y);
  int columns = k_;
  for (int dy = 1; dy <= std::min(k_, y); ++dy)
    for (int dx = -k_; dx <= k_; ++dx) put(columns++, x + dx, y - dy);
  fill_rows(group.rows.z.data(), first_bias_);
  first_.multiply(0, first_out_, columns, reinterpret_cast<const Word*>(taps), group.rows.z.data());
}

// rows.z: from the block's input to its output at (y, x)
void ConvScan::hidden_layer(const Group& group, int l, int y, int x, int& kept) const {
  const HiddenLayer& h = hidden_[l];
  Rows& rows = group.rows;
  const int64_t site = int64_t(y) * width_ + x;
  Word* row = rows.ring[l].data() + size_t(y % (k_ + 1)) * width_ * h.site_words * kLanes;
  Word* here = row + size_t(x) * h.site_words * kLanes;
  if (h.pointwise) {
    math_.activate(rows.z.data(), nullptr, h.in, rows.active.data());
    fill_rows(rows.mixed.data(), h.pointwise_bias);
    h.mix.multiply(0, h.in, h.site_words, rows.active.data(), rows.mixed.data());
    group.keep(kept, kept_units(kept), site * h.in, rows.mixed.data(), h.in);
    ++kept;
    math_.activate(rows.mixed.data(), h.slope.data(), h.in, here);
  } else {
    math_.activate(rows.z.data(), h.slope.data(), h.in, here);
  }
  float* sum = rows.sums[l].data() + size_t(x) * h.out * kLanes;
  const int left = std::min(x, k_);
  h.row.multiply((k_ - left) * h.site_words, h.out, (left + 1) * h.site_words,
                 here - size_t(left) * h.site_words * kLanes, sum);
  float* z = rows.z.data();
  if (h.residual)
    for (int i = 0; i < h.out * kLanes; ++i) z[i] += sum[i];
  else
    std::copy_n(sum, size_t(h.out) * kLanes, z);
  group.keep(kept, kept_units(kept), site * h.out, z, h.out);
  ++kept;
}

// Adds what the finished site (y, x) gives to its own logit and to all later ones.
void ConvScan::push(const Group& group, const Word* input, int y, int x) const {
  const int side = 2 * k_ + 1, own = k_ + last_inclusive_, below = std::min(k_, height_ - 1 - y);
  float* reach = group.rows.reach.data();
  const int rows = own + below * side;
  std::fill_n(reach, size_t(rows) * kLanes, 0.0f);
  last_.multiply(0, rows, last_words_, input, reach);
  auto add = [&](int dy, int first_x, int count, const float* from) {
    const int low = std::max(first_x, 0), high = std::min(first_x + count, width_);
    float* to = group.rows.logits.data() + (size_t((y + dy) % (k_ + 1)) * width_ + low) * kLanes;
    from += (low - first_x) * kLanes;
    for (int i = 0; i < (high - low) * kLanes; ++i) to[i] += from[i];
  };
  add(0, x + !last_inclusive_, own, reach);
  for (int dy = 1; dy <= below; ++dy) add(dy, x - k_, side, reach + size_t(own + (dy - 1) * side) * kLanes);
}

void ConvScan::run_group(const Group& group) const {
  Rows& rows = group.rows;
  prior_.begin(rows.fields.data());
  for (int y = 0; y < std::min(k_, height_); ++y) clear_logits(rows, y);
  for (int y = 0; y < height_; ++y) {
    if (y + k_ < height_) clear_logits(rows, y + k_);
    prefix(group, y);
    for (int x = 0; x < width_; ++x) {
      const int64_t site = int64_t(y) * width_ + x;
      int kept = 0;
      if (depth_ > 1) {
        first_layer(group, y, x);
        group.keep(kept, kept_units(kept), site * first_out_, rows.z.data(), first_out_);
        ++kept;
        for (size_t l = 0; l < hidden_.size(); ++l) hidden_layer(group, static_cast<int>(l), y, x, kept);
        math_.activate(rows.z.data(), last_slope_.data(), last_in_, rows.active.data());
        push(group, rows.active.data(), y, x);
      }
      float* logit = rows.logits.data() + (size_t(y % (k_ + 1)) * width_ + x) * kLanes;
      prior_.add(static_cast<int>(site), rows.fields.data(), logit);
      group.keep(kept, kept_units(kept), site, logit, 1);
      float* spin = group.spins + site * kLanes;
      if (group.tile.given) {
        kernels_.score(logit, spin, group.log_q);
      } else {
        if (site % 4 == 0)
          kernels_.words(group.tile.seed, group.first_sample, static_cast<uint32_t>(site / 4), kSpinStream, rows.words);
        kernels_.draw(logit, rows.words + site % 4 * kLanes, spin, group.log_q);
      }
      prior_.drawn(static_cast<int>(site), spin, rows.fields.data());
      if (depth_ == 1) push(group, reinterpret_cast<const Word*>(spin), y, x);
    }
  }
}

}  // namespace

std::unique_ptr<Scan> make_conv_scan(const ConvSpec& spec, const Kernels& kernels, bool bf16) {
  return std::make_unique<ConvScan>(spec, kernels, bf16);
}

}  // namespace vanfast::cpu
