// Backward pass of a PixelCNN, a group of samples at a time, layer by layer from the logits down.
//
// With G = d/dz of a layer's output and a its input activations, on the lattice:
//
//   d/da(y, x)  = sum_taps W(tap)^T G(y + dy, x - dx)
//       a product with transposed weights, a row of taps at once;
//   d/dW(tap)   = sum_{y, x, lanes} G(y, x) a(y - dy, x + dx)^T
//       a product over (sites of a row, lanes), for which both operands of the row are transposed once.
//
// Both run on the inner loop of sampling, over in-lattice taps only.
#include "cpu/conv_gradient.h"

#include <algorithm>
#include <utility>

#include "cpu/lanes.h"
#include "cpu/packing.h"

namespace vanfast::cpu {

namespace {

constexpr int kBlock = kLanes * kLanes;

struct Layer {
  int in, out;
  bool residual;
  std::vector<float> slope;
  std::vector<PackedMatrix>
      back;               // [dy]: rows input channels, columns (site x - k .. x + k of row y + dy, output channel)
  PackedMatrix mix_back;  // transposed pointwise
  int kept_input = 0, kept_mixed = -1;  // kept layers: the block's input z, the pointwise output
};

class ConvGradient final : public Gradient {
 public:
  ConvGradient(const ConvSpec& spec, const Kernels& kernels);

  std::unique_ptr<Gradient::Sums> make_sums() const override { return std::make_unique<Sums>(*this); }
  std::unique_ptr<Gradient::Workspace> make_workspace() const override { return std::make_unique<Lattice>(*this); }
  int64_t num_sums() const override {
    int64_t sums = int64_t(taps()) * (first_out_ + last_in_);
    for (const Layer& layer : hidden_) sums += int64_t(taps()) * lane_groups(layer.in) * kLanes * layer.out;
    return sums;
  }
  void run(const std::vector<GradientGroup>& groups, Gradient::Sums& sums,
           Gradient::Workspace& workspace) const override;
  std::vector<std::vector<float>> unpack(const Gradient::Sums& sums) const override;

 private:
  struct LayerSums {
    Buffer<float> weight;  // hidden: [tap][input group][out][kLanes]; first and last: [tap][channels]
    Buffer<float> bias, slope, mix, mix_bias;  // mix: [input group][out][kLanes]
  };
  struct Sums final : Gradient::Sums {
    explicit Sums(const ConvGradient& gradient);
    void add(const Gradient::Sums& other) override;
    std::vector<LayerSums> layers;
  };
  struct Lattice final : Gradient::Workspace {
    explicit Lattice(const ConvGradient& gradient);
    Buffer<float> logit;         // [sites][kLanes]: d/dlogit
    Buffer<float> upper, lower;  // [sites][widest][kLanes]
    Buffer<float> columns;       // [k + 1 rows][group][width][kLanes][kLanes]: transposed activations
    Buffer<float> panels;        // one row: [panel][width][kLanes][kPanelRows]: transposed G
    Buffer<float> taps, one;     // gathered logit gradients; one site's activations
  };

  int taps() const { return k_ + 1 + k_ * (2 * k_ + 1); }  // of an inclusive layer, own row first
  int tap(int dy, int t) const { return dy ? k_ + 1 + (dy - 1) * (2 * k_ + 1) + t : t; }
  int sites() const { return height_ * width_; }
  template <class Visit>
  void for_taps(bool inclusive, Visit&& visit) const;
  void correlate(const float* many, const float* one, int units, bool many_is_output, bool inclusive,
                 float* sums) const;
  void run_group(const GradientGroup& group, Sums& sums, Lattice& lattice) const;
  void last_layer(const GradientGroup& group, Lattice& lattice, Sums& sums) const;
  void hidden_layer(const GradientGroup& group, int l, Lattice& lattice, Sums& sums) const;
  void weight_sums(const Layer& layer, const float* z, const float* g, Lattice& lattice, float* sums) const;
  void mix_sums(int units, const float* z, const float* g, Lattice& lattice, float* sums) const;
  void add_bias(const float* g, int units, float* bias) const;

  const Kernels& kernels_;
  int height_, width_, k_, depth_, widest_ = 1;
  int first_out_ = 1, last_in_ = 1, kept_ = 0, kept_last_input_ = 0;
  std::vector<Layer> hidden_;
  PackedMatrix last_back_;  // rows input channels, columns taps
  std::vector<float> last_slope_;
};

ConvGradient::ConvGradient(const ConvSpec& spec, const Kernels& kernels)
    : kernels_(kernels),
      height_(spec.height),
      width_(spec.width),
      k_(spec.half_kernel),
      depth_(static_cast<int>(spec.layers.size())) {
  const int side = 2 * k_ + 1;
  first_out_ = spec.layers.front().out;
  for (const auto& layer : spec.layers) widest_ = std::max({widest_, layer.in, layer.out});
  int kept = 0;  // index of the previous layer's output among the kept ones
  for (int l = 1; l + 1 < depth_; ++l) {
    const ConvLayerSpec& from = spec.layers[l];
    Layer layer{from.in, from.out, from.residual, {from.slope, from.slope + from.in}, {}, {}, kept, -1};
    for (int dy = 0; dy <= k_; ++dy) {
      Matrix m(from.in, (dy ? side : k_ + 1) * from.out);
      for (int o = 0; o < from.out; ++o)
        for (int i = 0; i < from.in; ++i) {
          const float* w = from.weight + ((size_t(o) * from.in + i) * (k_ + 1) + (k_ - dy)) * side;
          // this site is tap dx = -c of the site c columns to its right
          for (int c = dy ? -k_ : 0; c <= k_; ++c) m.at(i, (c + (dy ? k_ : 0)) * from.out + o) = w[k_ - c];
        }
      layer.back.emplace_back(kernels.fp32, m);
    }
    if (from.pointwise) {
      Matrix m(from.in, from.in);
      for (int o = 0; o < from.in; ++o)
        for (int i = 0; i < from.in; ++i) m.at(i, o) = from.pointwise[size_t(o) * from.in + i];
      layer.mix_back = PackedMatrix(kernels.fp32, m);
      layer.kept_mixed = ++kept;
    }
    ++kept;
    hidden_.push_back(std::move(layer));
  }
  kept_last_input_ = kept;
  kept_ = depth_ > 1 ? kept + 1 : 0;  // index of the logits
  const ConvLayerSpec& last = spec.layers.back();
  last_in_ = last.in;
  if (depth_ == 1) return;
  last_slope_.assign(last.slope, last.slope + last.in);
  Matrix m(last.in, taps());
  for (int i = 0; i < last.in; ++i) {
    const float* w = last.weight + size_t(i) * (k_ + 1) * side;
    for (int c = 0; c <= k_; ++c) m.at(i, tap(0, c)) = w[k_ * side + k_ - c];
    for (int dy = 1; dy <= k_; ++dy)
      for (int c = -k_; c <= k_; ++c) m.at(i, tap(dy, c + k_)) = w[(k_ - dy) * side + k_ - c];
  }
  last_back_ = PackedMatrix(kernels.fp32, m);
}

ConvGradient::Sums::Sums(const ConvGradient& g) {
  layers.resize(g.depth_);
  auto zeros = [](size_t n) { return Buffer<float>(n, 0.0f); };
  for (int l = 0; l < g.depth_; ++l) {
    const bool hidden = l > 0 && l + 1 < g.depth_;
    LayerSums& s = layers[l];
    if (!hidden) {
      s.weight = zeros(size_t(g.taps()) * (l ? g.last_in_ : g.first_out_));
      s.bias = zeros(l ? 1 : g.first_out_);
      s.slope = zeros(l ? g.last_in_ : 0);
      continue;
    }
    const Layer& layer = g.hidden_[l - 1];
    s.weight = zeros(size_t(g.taps()) * lane_groups(layer.in) * layer.out * kLanes);
    s.bias = zeros(layer.out);
    s.slope = zeros(layer.in);
    if (layer.kept_mixed >= 0) {
      s.mix = zeros(size_t(lane_groups(layer.in)) * layer.in * kLanes);
      s.mix_bias = zeros(layer.in);
    }
  }
}

void ConvGradient::Sums::add(const Gradient::Sums& other) {
  const auto& from = static_cast<const Sums&>(other).layers;
  for (size_t l = 0; l < layers.size(); ++l) {
    add_to(layers[l].weight, from[l].weight);
    add_to(layers[l].bias, from[l].bias);
    add_to(layers[l].slope, from[l].slope);
    add_to(layers[l].mix, from[l].mix);
    add_to(layers[l].mix_bias, from[l].mix_bias);
  }
}

ConvGradient::Lattice::Lattice(const ConvGradient& g)
    : logit(size_t(g.sites()) * kLanes),
      upper(size_t(g.sites()) * g.widest_ * kLanes),
      lower(size_t(g.sites()) * g.widest_ * kLanes),
      columns(size_t(g.k_ + 1) * lane_groups(g.widest_) * g.width_ * kBlock),
      panels(size_t(g.widest_ + kPanelRows) * g.width_ * kLanes),
      taps(size_t(g.taps()) * kLanes),
      one(size_t(g.widest_) * kLanes) {}

// visit(dy, t, tap): the tap t - k columns to the right of the site and dy rows above
template <class Visit>
void ConvGradient::for_taps(bool inclusive, Visit&& visit) const {
  for (int dy = 0; dy <= std::min(k_, height_ - 1); ++dy)
    for (int t = 0; t < (dy ? 2 * k_ + 1 : k_ + inclusive); ++t)
      if (std::abs(t - k_) < width_) visit(dy, t, tap(dy, t));
}

// sums[tap][unit] += sum over lattice and lanes of output site (y, x) times input site (y - dy, x + dx), one of the two
// with many channels
void ConvGradient::correlate(const float* many, const float* one, int units, bool many_is_output, bool inclusive,
                             float* sums) const {
  for_taps(inclusive, [&](int dy, int t, int tap_index) {
    const int dx = t - k_, low = std::max(0, -dx), count = width_ - std::abs(dx);
    for (int y = dy; y < height_; ++y) {
      const size_t output = size_t(y) * width_ + low, input = size_t(y - dy) * width_ + low + dx;
      kernels_.correlate(many + (many_is_output ? output : input) * units * kLanes,
                         one + (many_is_output ? input : output) * kLanes, units, count,
                         sums + size_t(tap_index) * units);
    }
  });
}

void ConvGradient::add_bias(const float* g, int units, float* bias) const {
  for (int site = 0; site < sites(); ++site) kernels_.sum_lanes(g + size_t(site) * units * kLanes, units, bias);
}

// lattice.upper = d/dz of the last layer's input
void ConvGradient::last_layer(const GradientGroup& group, Lattice& lattice, Sums& sums) const {
  LayerSums& s = sums.layers.back();
  const float* z = group.kept[kept_last_input_];
  for (int site = 0; site < sites(); ++site) {
    const size_t at = size_t(site) * last_in_ * kLanes;
    kernels_.fp32.activate(z + at, last_slope_.data(), last_in_, reinterpret_cast<Word*>(lattice.lower.data() + at));
  }
  correlate(lattice.lower.data(), lattice.logit.data(), last_in_, false, true, s.weight.data());
  add_bias(lattice.logit.data(), 1, s.bias.data());
  for (int y = 0; y < height_; ++y)
    for (int x = 0; x < width_; ++x) {
      float* to = lattice.taps.data();
      auto put = [&](int column, int sy, int sx) {
        const bool inside = sy < height_ && sx >= 0 && sx < width_;
        if (inside)
          std::copy_n(lattice.logit.data() + (size_t(sy) * width_ + sx) * kLanes, kLanes, to + column * kLanes);
        else
          std::fill_n(to + column * kLanes, kLanes, 0.0f);
      };
      for (int c = 0; c <= k_; ++c) put(tap(0, c), y, x + c);
      for (int dy = 1; dy <= k_; ++dy)
        for (int c = -k_; c <= k_; ++c) put(tap(dy, c + k_), y + dy, x + c);
      const size_t at = (size_t(y) * width_ + x) * last_in_ * kLanes;
      float* g = lattice.upper.data() + at;
      std::fill_n(g, size_t(last_in_) * kLanes, 0.0f);
      last_back_.multiply(0, last_in_, taps(), reinterpret_cast<const Word*>(to), g);
      kernels_.activate_backward(z + at, last_slope_.data(), last_in_, g, s.slope.data());
    }
}

// sums[tap][group][out][kLanes] += G(y, x) PReLU(z)(y - dy, x + dx)^T
void ConvGradient::weight_sums(const Layer& layer, const float* z, const float* g, Lattice& lattice,
                               float* sums) const {
  const int groups = lane_groups(layer.in);
  const size_t row_blocks = size_t(groups) * width_ * kBlock;
  float* one = lattice.one.data();
  for (int y = 0; y < height_; ++y) {
    float* columns = lattice.columns.data() + size_t(y % (k_ + 1)) * row_blocks;
    for (int x = 0; x < width_; ++x) {
      const size_t site = size_t(y) * width_ + x;
      kernels_.fp32.activate(z + site * layer.in * kLanes, layer.slope.data(), layer.in, reinterpret_cast<Word*>(one));
      for (int group = 0; group < groups; ++group)
        transpose_lanes(one, layer.in, group * kLanes, columns + (size_t(group) * width_ + x) * kBlock);
      panel_lanes(g + site * layer.out * kLanes, layer.out, width_, x, lattice.panels.data());
    }
    for_taps(true, [&](int dy, int t, int tap_index) {
      if (dy > y) return;
      const int dx = t - k_, low = std::max(0, -dx), count = width_ - std::abs(dx);
      const float* input = lattice.columns.data() + size_t((y - dy) % (k_ + 1)) * row_blocks;
      for (int group = 0; group < groups; ++group)
        kernels_.fp32.multiply(reinterpret_cast<const Word*>(lattice.panels.data()), width_ * kLanes, low * kLanes,
                               layer.out, count * kLanes,
                               reinterpret_cast<const Word*>(input + (size_t(group) * width_ + low + dx) * kBlock),
                               sums + (size_t(tap_index) * groups + group) * layer.out * kLanes);
    });
  }
}

// sums[group][units][kLanes] += g z^T, site by site
void ConvGradient::mix_sums(int units, const float* z, const float* g, Lattice& lattice, float* sums) const {
  const int groups = lane_groups(units);
  for (int y = 0; y < height_; ++y) {
    for (int x = 0; x < width_; ++x) {
      const size_t at = (size_t(y) * width_ + x) * units * kLanes;
      for (int group = 0; group < groups; ++group)
        transpose_lanes(z + at, units, group * kLanes, lattice.columns.data() + (size_t(group) * width_ + x) * kBlock);
      panel_lanes(g + at, units, width_, x, lattice.panels.data());
    }
    for (int group = 0; group < groups; ++group)
      kernels_.fp32.multiply(reinterpret_cast<const Word*>(lattice.panels.data()), width_ * kLanes, 0, units,
                             width_ * kLanes,
                             reinterpret_cast<const Word*>(lattice.columns.data() + size_t(group) * width_ * kBlock),
                             sums + size_t(group) * units * kLanes);
  }
}

// lattice.upper: from d/dz of the block's output to d/dz of its input
void ConvGradient::hidden_layer(const GradientGroup& group, int l, Lattice& lattice, Sums& sums) const {
  const Layer& layer = hidden_[l];
  LayerSums& s = sums.layers[l + 1];
  const float* input = group.kept[layer.kept_input];
  const float* z = layer.kept_mixed >= 0 ? group.kept[layer.kept_mixed] : input;
  float *g = lattice.upper.data(), *below = lattice.lower.data();
  weight_sums(layer, z, g, lattice, s.weight.data());
  add_bias(g, layer.out, s.bias.data());
  for (int y = 0; y < height_; ++y) {
    float* row = below + size_t(y) * width_ * layer.in * kLanes;
    std::fill_n(row, size_t(width_) * layer.in * kLanes, 0.0f);
    for (int dy = 0; dy <= std::min(k_, height_ - 1 - y); ++dy)
      for (int x = 0; x < width_; ++x) {
        const int left = dy ? k_ : 0, low = std::max(0, x - left), high = std::min(width_ - 1, x + k_);
        layer.back[dy].multiply((low - x + left) * layer.out, layer.in, (high - low + 1) * layer.out,
                                reinterpret_cast<const Word*>(g + (size_t(y + dy) * width_ + low) * layer.out * kLanes),
                                row + size_t(x) * layer.in * kLanes);
      }
  }
  for (int site = 0; site < sites(); ++site) {
    const size_t at = size_t(site) * layer.in * kLanes;
    kernels_.activate_backward(z + at, layer.slope.data(), layer.in, below + at, s.slope.data());
  }
  if (layer.kept_mixed < 0) {
    std::swap(lattice.upper, lattice.lower);
    return;
  }
  mix_sums(layer.in, input, below, lattice, s.mix.data());
  add_bias(below, layer.in, s.mix_bias.data());
  // the block's input reaches its output directly, which is g already, and through the pointwise layer
  for (int site = 0; site < sites(); ++site) {
    const size_t at = size_t(site) * layer.in * kLanes;
    layer.mix_back.multiply(0, layer.in, layer.in, reinterpret_cast<const Word*>(below + at), g + at);
  }
}

void ConvGradient::run(const std::vector<GradientGroup>& groups, Gradient::Sums& sums,
                       Gradient::Workspace& workspace) const {
  for (const auto& group : groups) run_group(group, static_cast<Sums&>(sums), static_cast<Lattice&>(workspace));
}

void ConvGradient::run_group(const GradientGroup& group, Sums& sums, Lattice& lattice) const {
  kernels_.logit_gradient(group.kept[kept_], group.spins, group.weight, sites(), lattice.logit.data());
  LayerSums& first = sums.layers.front();
  if (depth_ == 1) {
    correlate(group.spins, lattice.logit.data(), 1, false, false, first.weight.data());
    add_bias(lattice.logit.data(), 1, first.bias.data());
    return;
  }
  last_layer(group, lattice, sums);
  for (int l = static_cast<int>(hidden_.size()) - 1; l >= 0; --l) hidden_layer(group, l, lattice, sums);
  correlate(lattice.upper.data(), group.spins, first_out_, true, false, first.weight.data());
  add_bias(lattice.upper.data(), first_out_, first.bias.data());
}

std::vector<std::vector<float>> ConvGradient::unpack(const Gradient::Sums& base) const {
  const Sums& sums = static_cast<const Sums&>(base);
  const int side = 2 * k_ + 1;
  std::vector<std::vector<float>> tensors;
  for (int l = 0; l < depth_; ++l) {
    const LayerSums& s = sums.layers[l];
    const bool hidden = l > 0 && l + 1 < depth_;
    const int in = l == 0   ? 1
                   : hidden ? hidden_[l - 1].in
                            : last_in_,
              out = l == 0   ? first_out_
                    : hidden ? hidden_[l - 1].out
                             : 1;
    std::vector<float> weight(size_t(out) * in * (k_ + 1) * side, 0.0f);
    for_taps(l > 0, [&](int dy, int t, int tap_index) {
      for (int o = 0; o < out; ++o)
        for (int i = 0; i < in; ++i)
          weight[((size_t(o) * in + i) * (k_ + 1) + (k_ - dy)) * side + t] =
              hidden ? s.weight[((size_t(tap_index) * lane_groups(in) + i / kLanes) * out + o) * kLanes + i % kLanes]
                     : s.weight[size_t(tap_index) * std::max(in, out) + std::max(o, i)];
    });
    std::vector<float> mix(s.mix.empty() ? 0 : size_t(in) * in);
    for (size_t at = 0; at < mix.size(); ++at) {
      const size_t o = at / in, i = at % in;
      mix[at] = s.mix[(i / kLanes * in + o) * kLanes + i % kLanes];
    }
    tensors.push_back(std::move(weight));
    for (const auto* part : {&s.bias, &s.slope}) tensors.emplace_back(part->begin(), part->end());
    tensors.push_back(std::move(mix));
    tensors.emplace_back(s.mix_bias.begin(), s.mix_bias.end());
  }
  return tensors;
}

}  // namespace

std::unique_ptr<Gradient> make_conv_gradient(const ConvSpec& spec, const Kernels& kernels) {
  return std::make_unique<ConvGradient>(spec, kernels);
}

}  // namespace vanfast::cpu
