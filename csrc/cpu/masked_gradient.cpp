// Backward pass of masked linear stacks, a few groups of samples at a time, layer by layer from the logits down.
//
// With G = d/dz of a layer and a its input: d/da = W^T G and d/dW = sum over samples of G a^T. Both are products on
// blocks of units; units are sorted by degree, so a block sees, or is seen by, one consecutive run of the other layer.
#include "cpu/masked_gradient.h"

#include <algorithm>

#include "cpu/lanes.h"
#include "cpu/packing.h"

namespace vanfast::cpu {

namespace {

constexpr int kRun = 4;          // groups of one run
constexpr int kBlockUnits = 64;  // units of one block, a multiple of kPanelRows

struct Back {  // rows: a block of input units; columns: the output units from `first` on that see any of them
  PackedMatrix weights;
  int first;
};

struct Layer {
  int in, out;
  bool skip, activated;
  std::vector<float> slope;
  std::vector<Back> back;                 // per block of input units; none for the first layer
  std::vector<std::pair<int, int>> seen;  // [out]: run of input units that the mask opens
};

class MaskedGradient final : public Gradient {
 public:
  MaskedGradient(const MaskedSpec& spec, const Kernels& kernels);

  std::unique_ptr<Gradient::Sums> make_sums() const override { return std::make_unique<Sums>(*this); }
  std::unique_ptr<Gradient::Workspace> make_workspace() const override { return std::make_unique<Units>(*this); }
  int groups_per_run() const override { return kRun; }
  int64_t num_sums() const override {
    int64_t sums = 0;
    for (const Layer& layer : layers_) sums += int64_t(lane_groups(layer.in)) * kLanes * layer.out;
    return sums;
  }
  void run(const std::vector<GradientGroup>& groups, Gradient::Sums& sums,
           Gradient::Workspace& workspace) const override;
  std::vector<std::vector<float>> unpack(const Gradient::Sums& sums) const override;

 private:
  struct LayerSums {
    Buffer<float> weight;  // [input group][out][kLanes]
    Buffer<float> bias, slope;
  };
  struct Sums final : Gradient::Sums {
    explicit Sums(const MaskedGradient& gradient);
    void add(const Gradient::Sums& other) override;
    std::vector<LayerSums> layers;
  };
  struct Units final : Gradient::Workspace {
    explicit Units(const MaskedGradient& gradient);
    std::vector<Buffer<float>> grad;  // per layer: [group][unit][kLanes], d/dz
    Buffer<float> input, below;       // [unit][kLanes] of one group
    Buffer<float> columns;            // [input group][group][kLanes][kLanes]
    Buffer<float> panels;             // [panel][group][kLanes][kPanelRows]
  };

  void weight_sums(const Layer& layer, int groups, Units& units, Buffer<float>& sums) const;

  const Kernels& kernels_;
  int sites_, states_, widest_;
  std::vector<Layer> layers_;
};

MaskedGradient::MaskedGradient(const MaskedSpec& spec, const Kernels& kernels)
    : kernels_(kernels), sites_(spec.num_sites), states_(spec.states), widest_(spec.num_sites * spec.width()) {
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const MaskedLayerSpec& from = spec.layers[l];
    widest_ = std::max(widest_, from.out);
    Layer layer{from.in, from.out, from.skip, from.slope != nullptr, {}, {}, {}};
    layer.slope.assign(from.in, 1.0f);
    if (from.slope) layer.slope.assign(from.slope, from.slope + from.in);
    const int64_t* in_degree = l ? spec.layers[l - 1].degree : nullptr;
    for (int u = 0, begin = 0, end = 0; u < from.out; ++u) {
      while (end < from.in && (l ? in_degree[end] <= from.degree[u] : end / spec.width() < from.degree[u])) ++end;
      while (from.local && begin < end && in_degree[begin] < from.degree[u]) ++begin;
      layer.seen.emplace_back(begin, end);
    }
    for (int i0 = 0; l && i0 < from.in; i0 += kBlockUnits) {
      const int i1 = std::min(from.in, i0 + kBlockUnits);
      auto meets = [&](int u) { return layer.seen[u].first < i1 && layer.seen[u].second > i0; };
      int first = 0, end = from.out;
      while (first < end && !meets(first)) ++first;
      while (end > first && !meets(end - 1)) --end;
      Matrix m(i1 - i0, end - first);
      for (int u = first; u < end; ++u)
        for (int i = i0; i < i1; ++i) m.at(i - i0, u - first) = from.weight[size_t(u) * from.in + i];
      layer.back.push_back({PackedMatrix(kernels.fp32, m), first});
    }
    layers_.push_back(std::move(layer));
  }
}

MaskedGradient::Sums::Sums(const MaskedGradient& gradient) {
  for (const Layer& layer : gradient.layers_)
    layers.push_back({Buffer<float>(size_t(lane_groups(layer.in)) * layer.out * kLanes, 0.0f),
                      Buffer<float>(layer.out, 0.0f), Buffer<float>(layer.activated ? layer.in : 0, 0.0f)});
}

void MaskedGradient::Sums::add(const Gradient::Sums& other) {
  const auto& from = static_cast<const Sums&>(other).layers;
  for (size_t l = 0; l < layers.size(); ++l) {
    add_to(layers[l].weight, from[l].weight);
    add_to(layers[l].bias, from[l].bias);
    add_to(layers[l].slope, from[l].slope);
  }
}

MaskedGradient::Units::Units(const MaskedGradient& g)
    : input(size_t(g.widest_) * kLanes),
      below(size_t(g.widest_) * kLanes),
      columns(size_t(lane_groups(g.widest_)) * kRun * kLanes * kLanes),
      panels(size_t(g.widest_ + kPanelRows) * kRun * kLanes) {
  for (const Layer& layer : g.layers_) grad.emplace_back(size_t(kRun) * layer.out * kLanes);
}

// sums[input group][out][kLanes] += G a^T over the open runs of the mask, a block of output units at a time
void MaskedGradient::weight_sums(const Layer& layer, int groups, Units& units, Buffer<float>& sums) const {
  for (int u0 = 0; u0 < layer.out; u0 += kBlockUnits) {
    const int u1 = std::min(layer.out, u0 + kBlockUnits);
    const int first = layer.seen[u0].first / kLanes, end = lane_groups(layer.seen[u1 - 1].second);
    for (int ig = first; ig < end; ++ig)
      kernels_.fp32.multiply(reinterpret_cast<const Word*>(units.panels.data()) + size_t(u0) * kRun * kLanes,
                             kRun * kLanes, 0, u1 - u0, groups * kLanes,
                             reinterpret_cast<const Word*>(units.columns.data() + size_t(ig) * kRun * kLanes * kLanes),
                             sums.data() + (size_t(ig) * layer.out + u0) * kLanes);
  }
}

void MaskedGradient::run(const std::vector<GradientGroup>& groups, Gradient::Sums& base,
                         Gradient::Workspace& workspace) const {
  Sums& sums = static_cast<Sums&>(base);
  Units& units = static_cast<Units&>(workspace);
  const int last = static_cast<int>(layers_.size()) - 1, count = static_cast<int>(groups.size());
  for (auto& grad : units.grad) std::fill(grad.begin(), grad.end(), 0.0f);
  for (int g = 0; g < count; ++g) {
    const auto& [kept, spins, weight] = groups[g];
    float* grad = units.grad[last].data() + size_t(g) * layers_[last].out * kLanes;
    if (states_)
      kernels_.state_gradient(kept[last], states_, spins, weight, sites_, grad);
    else
      kernels_.logit_gradient(kept[last], spins, weight, sites_, grad);
  }
  for (int l = last; l >= 0; --l) {
    const Layer& layer = layers_[l];
    LayerSums& s = sums.layers[l];
    for (int g = 0; g < count; ++g) {
      const float* grad = units.grad[l].data() + size_t(g) * layer.out * kLanes;
      const float* input = groups[g].spins;
      if (l) {
        input = units.input.data();
        kernels_.fp32.activate(groups[g].kept[l - 1], layer.slope.data(), layer.in,
                               reinterpret_cast<Word*>(units.input.data()));
      } else if (states_) {
        input = units.input.data();
        kernels_.one_hot(groups[g].spins, states_, sites_, units.input.data());
      }
      for (int ig = 0; ig < lane_groups(layer.in); ++ig)
        transpose_lanes(input, layer.in, ig * kLanes, units.columns.data() + (size_t(ig) * kRun + g) * kLanes * kLanes);
      panel_lanes(grad, layer.out, kRun, g, units.panels.data());
      kernels_.sum_lanes(grad, layer.out, s.bias.data());
      if (!l) continue;
      std::fill(units.below.begin(), units.below.end(), 0.0f);
      for (size_t block = 0; block < layer.back.size(); ++block) {
        const auto& [weights, first] = layer.back[block];
        weights.multiply(0, weights.rows(), weights.columns(),
                         reinterpret_cast<const Word*>(grad + size_t(first) * kLanes),
                         units.below.data() + block * kBlockUnits * kLanes);
      }
      if (layer.activated)
        kernels_.activate_backward(groups[g].kept[l - 1], layer.slope.data(), layer.in, units.below.data(),
                                   s.slope.data());
      auto add = [&](int to, const float* from, int n) {
        float* sum = units.grad[to].data() + size_t(g) * n * kLanes;
        for (int i = 0; i < n * kLanes; ++i) sum[i] += from[i];
      };
      add(l - 1, units.below.data(), layer.in);
      if (layer.skip) add(l - 2, grad, layer.out);
    }
    weight_sums(layer, count, units, s.weight);
  }
}

std::vector<std::vector<float>> MaskedGradient::unpack(const Gradient::Sums& base) const {
  const auto& sums = static_cast<const Sums&>(base).layers;
  std::vector<std::vector<float>> tensors;
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    std::vector<float> weight(size_t(layer.out) * layer.in, 0.0f);
    for (int u = 0; u < layer.out; ++u)
      for (int i = layer.seen[u].first; i < layer.seen[u].second; ++i)
        weight[size_t(u) * layer.in + i] = sums[l].weight[(size_t(i / kLanes) * layer.out + u) * kLanes + i % kLanes];
    tensors.push_back(std::move(weight));
    for (const auto* part : {&sums[l].bias, &sums[l].slope}) tensors.emplace_back(part->begin(), part->end());
    tensors.resize(tensors.size() + 2);  // no pointwise layer
  }
  return tensors;
}

}  // namespace

std::unique_ptr<Gradient> make_masked_gradient(const MaskedSpec& spec, const Kernels& kernels) {
  return std::make_unique<MaskedGradient>(spec, kernels);
}

}  // namespace vanfast::cpu
