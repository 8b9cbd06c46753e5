#include "cpu/masked_flips.h"

#include <algorithm>

namespace vanfast::cpu {
namespace {

int panel_start(int unit) { return unit / kPanelRows * kPanelRows; }

}  // namespace

MaskedFlips::MaskedFlips(const MaskedSpec& spec, const Kernels& kernels)
    : kernels_(kernels), sites_(spec.num_sites), states_(spec.states), width_(spec.width()) {
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const MaskedLayerSpec& from = spec.layers[l];
    Layer layer;
    layer.units = from.out;
    layer.skip = from.skip;
    layer.bias.assign(from.out, 0.0f);
    if (from.bias) layer.bias.assign(from.bias, from.bias + from.out);
    if (l && from.slope) layers_[l - 1].slope.assign(from.slope, from.slope + from.in);
    Matrix matrix(from.out, from.in);
    std::copy(from.weight, from.weight + size_t(from.out) * from.in, matrix.values.begin());
    layer.weights = PackedMatrix(kernels.fp32, matrix);
    for (int row = 0; row < from.out; row += kPanelRows) {
      int low = from.in, high = 0;
      for (int r = row; r < std::min(from.out, row + kPanelRows); ++r)
        for (int k = 0; k < from.in; ++k)
          if (matrix.at(r, k) != 0.0f) {
            low = std::min(low, k);
            high = std::max(high, k + 1);
          }
      layer.low.push_back(low);
      layer.high.push_back(high);
    }
    // degrees never decrease: what sees a changed unit, or stands where one is added, is all from some unit on
    for (int p = 0; p < sites_; ++p) {
      int64_t degree = p + 1;
      if (l) {
        const int before = layers_[l - 1].changed[p];
        degree = before < layers_[l - 1].units ? spec.layers[l - 1].degree[before] : sites_;
      }
      int first = static_cast<int>(std::lower_bound(from.degree, from.degree + from.out, degree) - from.degree);
      if (from.skip) first = std::min(first, layers_[l - 2].changed[p]);
      layer.changed.push_back(first);
    }
    layers_.push_back(std::move(layer));
  }
  if (states_) return;
  const MaskedLayerSpec& input = spec.layers[0];
  columns_.resize(size_t(sites_) * input.out);
  for (int u = 0; u < input.out; ++u)
    for (int p = 0; p < sites_; ++p) columns_[size_t(p) * input.out + u] = input.weight[size_t(u) * sites_ + p];
}

MaskedFlips::State MaskedFlips::make_state() const {
  State state;
  state.values.assign(size_t(sites_) * kLanes, states_ ? 0.0f : 1.0f);
  for (const Layer& layer : layers_) state.z.emplace_back(size_t(layer.units) * kLanes);
  return state;
}

MaskedFlips::Proposal MaskedFlips::make_proposal() const {
  Proposal proposal;
  proposal.input.resize(size_t(states_ ? sites_ : 1) * width_ * kLanes);  // refresh puts there those of all sites
  for (const Layer& layer : layers_) {
    proposal.next.emplace_back(size_t(layer.units) * kLanes);
    proposal.difference.emplace_back(size_t(layer.units) * kLanes);
  }
  return proposal;
}

int MaskedFlips::add_panel(const Layer& layer, int row, int column, int end, const float* input, const float* z,
                           float* next) const {
  const int panel = row / kPanelRows, rows = std::min(kPanelRows, layer.units - row);
  const int first = std::clamp(layer.low[panel], column, end);
  kernels_.flips.add_panel(layer.weights.panel(row, first), rows, std::max(0, std::min(end, layer.high[panel]) - first),
                           reinterpret_cast<const Word*>(input) + size_t(first - column) * kLanes,
                           z + size_t(row) * kLanes, next + size_t(row) * kLanes);
  return rows;
}

void MaskedFlips::refresh(State& state, Proposal& scratch) const {
  const float* input = state.values.data();
  int inputs = sites_ * width_;
  if (states_) {
    kernels_.one_hot(input, states_, sites_, scratch.input.data());
    input = scratch.input.data();
  }
  for (int l = 0; l <= last(); ++l) {
    const Layer& layer = layers_[l];
    float* z = state.z[l].data();
    for (int u = 0; u < layer.units; ++u) std::fill_n(z + u * kLanes, kLanes, layer.bias[u]);
    for (int row = 0; row < layer.units; row += kPanelRows) add_panel(layer, row, 0, inputs, input, z, z);
    if (layer.skip)
      for (int i = 0; i < layer.units * kLanes; ++i) z[i] += state.z[l - 2][i];
    if (l == last()) break;
    float* active = scratch.difference[l].data();
    kernels_.fp32.activate(z, layer.slope.empty() ? nullptr : layer.slope.data(), layer.units,
                           reinterpret_cast<Word*>(active));
    input = active;
    inputs = layer.units;
  }
  state.later.fill(0.0);
  score(state.z.back().data(), state.values.data(), sites_, state.later);
}

void MaskedFlips::visit(State& state, int p) const {
  Sums own{};
  score(state.z.back().data() + size_t(p) * width_ * kLanes, state.values.data() + size_t(p) * kLanes, 1, own);
  for (int i = 0; i < kLanes; ++i) state.later[i] -= own[i];
}

void MaskedFlips::propose(const State& state, Proposal& proposal, int p, const float* to, Sums& change) const {
  const float* from = state.values.data() + size_t(p) * kLanes;
  const float* logits = state.z.back().data() + size_t(p) * width_ * kLanes;
  float* input = proposal.input.data();
  if (states_) {
    std::fill_n(input, states_ * kLanes, 0.0f);
    for (int i = 0; i < kLanes; ++i) {
      const int old = static_cast<int>(from[i]) * kLanes + i, now = static_cast<int>(to[i]) * kLanes + i;
      input[old] -= 1.0f;
      input[now] += 1.0f;
      change[i] = static_cast<double>(logits[now]) - static_cast<double>(logits[old]);
    }
  } else {
    for (int i = 0; i < kLanes; ++i) {
      input[i] = to[i] - from[i];
      change[i] = -static_cast<double>(from[i] * logits[i]);  // ln sigma(-x) - ln sigma(x)
    }
  }
  proposal.later.fill(0.0);
  score(logits + width_ * kLanes, from + kLanes, layers_.back().changed[p] / width_ - p - 1, proposal.later);
  for (int l = 0; l <= last(); ++l) change_layer(state, proposal, p, l);
  for (int i = 0; i < kLanes; ++i) change[i] += proposal.later[i] - state.later[i];
}

void MaskedFlips::change_layer(const State& state, Proposal& proposal, int p, int l) const {
  const Layer& layer = layers_[l];
  const int from = layer.changed[p];
  if (from == layer.units) return;
  const bool is_column = l == 0 && !states_;
  const float *z = state.z[l].data(), *slope = layer.slope.empty() ? nullptr : layer.slope.data();
  float *next = proposal.next[l].data(), *difference = proposal.difference[l].data();
  if (is_column)
    kernels_.flips.flip_input(z + from * kLanes, columns_.data() + size_t(p) * layer.units + from,
                              proposal.input.data(), slope ? slope + from : nullptr, layer.units - from,
                              next + from * kLanes, last() ? difference + from * kLanes : nullptr);
  if (is_column && last()) return;
  const int column = l ? layers_[l - 1].changed[p] : p * width_, end = l ? layers_[l - 1].units : column + width_;
  const float* input = l ? proposal.difference[l - 1].data() + size_t(column) * kLanes : proposal.input.data();
  int scored = from / width_;  // of the last layer: sites before this one are done
  // a panel, and what follows from it while it is in the first-level cache
  for (int row = is_column ? from : panel_start(from); row < layer.units;) {
    const int begin = std::max(row, from);
    row += is_column ? layer.units - from : add_panel(layer, row, column, end, input, z, next);
    if (layer.skip)
      for (int i = std::max(begin, layers_[l - 2].changed[p]) * kLanes; i < row * kLanes; ++i)
        next[i] += proposal.next[l - 2][i] - state.z[l - 2][i];
    if (l < last()) {
      kernels_.flips.activation_difference(z + begin * kLanes, next + begin * kLanes, slope ? slope + begin : nullptr,
                                           row - begin, difference + begin * kLanes);
      continue;
    }
    // whole sites; of states, whose panels hold few, eight at a time
    const int done = row / width_;
    if (!states_ || done - scored >= 8 || row == layer.units) {
      score(next + size_t(scored) * width_ * kLanes, state.values.data() + size_t(scored) * kLanes, done - scored,
            proposal.later);
      scored = done;
    }
  }
}

void MaskedFlips::take(State& state, const Proposal& proposal, int p, const float* to, uint32_t mask) const {
  float* value = state.values.data() + size_t(p) * kLanes;
  for (int i = 0; i < kLanes; ++i)
    if (mask >> i & 1) {
      value[i] = to[i];
      state.later[i] = proposal.later[i];
    }
  for (int l = 0; l <= last(); ++l) {
    const size_t from = size_t(layers_[l].changed[p]) * kLanes;
    kernels_.flips.take(mask, proposal.next[l].data() + from, layers_[l].units - layers_[l].changed[p],
                        state.z[l].data() + from);
  }
}

}  // namespace vanfast::cpu
