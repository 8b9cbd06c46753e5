#include "cpu/masked_flips.h"

#include <algorithm>

namespace vanfast::cpu {
namespace {

int panel_start(int unit) { return unit / kPanelRows * kPanelRows; }

}  // namespace

MaskedFlips::MaskedFlips(const MaskedSpec& spec, const Kernels& kernels)
    : kernels_(kernels), sites_(spec.num_sites), columns_(size_t(spec.num_sites) * spec.layers[0].out) {
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
  const MaskedLayerSpec& input = spec.layers[0];
  for (int u = 0; u < input.out; ++u)
    for (int p = 0; p < sites_; ++p) columns_[size_t(p) * input.out + u] = input.weight[size_t(u) * sites_ + p];
}

MaskedFlips::State MaskedFlips::make_state() const {
  State state;
  state.spins.assign(size_t(sites_) * kLanes, 1.0f);
  for (const Layer& layer : layers_) state.z.emplace_back(size_t(layer.units) * kLanes);
  return state;
}

MaskedFlips::Proposal MaskedFlips::make_proposal() const {
  Proposal proposal;
  for (const Layer& layer : layers_) {
    proposal.next.emplace_back(size_t(layer.units) * kLanes);
    proposal.difference.emplace_back(size_t(layer.units) * kLanes);
  }
  return proposal;
}

int MaskedFlips::add_panel(const Layer& layer, int row, int column, const float* input, const float* z,
                           float* next) const {
  const int rows = std::min(kPanelRows, layer.units - row), first = std::max(column, layer.low[row / kPanelRows]);
  kernels_.flips.add_panel(layer.weights.panel(row, first), rows, std::max(0, layer.high[row / kPanelRows] - first),
                           reinterpret_cast<const Word*>(input) + size_t(first) * kLanes, z + size_t(row) * kLanes,
                           next + size_t(row) * kLanes);
  return rows;
}

void MaskedFlips::refresh(State& state, Proposal& scratch) const {
  const float* input = state.spins.data();
  for (int l = 0; l <= last(); ++l) {
    const Layer& layer = layers_[l];
    float* z = state.z[l].data();
    for (int u = 0; u < layer.units; ++u) std::fill_n(z + u * kLanes, kLanes, layer.bias[u]);
    for (int row = 0; row < layer.units; row += kPanelRows) add_panel(layer, row, 0, input, z, z);
    if (layer.skip)
      for (int i = 0; i < layer.units * kLanes; ++i) z[i] += state.z[l - 2][i];
    if (l == last()) break;
    float* active = scratch.difference[l].data();
    kernels_.fp32.activate(z, layer.slope.empty() ? nullptr : layer.slope.data(), layer.units,
                           reinterpret_cast<Word*>(active));
    input = active;
  }
  state.later.fill(0.0);
  kernels_.flips.sum_scores(state.z.back().data(), state.spins.data(), sites_, state.later.data());
}

void MaskedFlips::propose(State& state, Proposal& proposal, int p, Sums& change) const {
  const float *spin = state.spins.data() + size_t(p) * kLanes, *logit = state.z.back().data() + size_t(p) * kLanes;
  alignas(64) float turn[kLanes];
  Sums own{};
  kernels_.flips.sum_scores(logit, spin, 1, own.data());
  for (int i = 0; i < kLanes; ++i) {
    turn[i] = -2.0f * spin[i];
    change[i] = -static_cast<double>(spin[i] * logit[i]);  // ln sigma(-x) - ln sigma(x)
    state.later[i] -= own[i];
  }
  proposal.later.fill(0.0);
  kernels_.flips.sum_scores(logit + kLanes, spin + kLanes, layers_.back().changed[p] - p - 1, proposal.later.data());
  for (int l = 0; l <= last(); ++l) {
    const Layer& layer = layers_[l];
    const int from = layer.changed[p];
    if (from == layer.units) continue;
    const float *z = state.z[l].data(), *slope = layer.slope.empty() ? nullptr : layer.slope.data();
    float *next = proposal.next[l].data(), *difference = proposal.difference[l].data();
    if (l == 0)
      kernels_.flips.flip_input(z + from * kLanes, columns_.data() + size_t(p) * layer.units + from, turn,
                                slope ? slope + from : nullptr, layer.units - from, next + from * kLanes,
                                last() ? difference + from * kLanes : nullptr);
    if (l == 0 && last()) continue;
    // a panel, and what follows from it while it is in the first-level cache
    for (int row = l ? panel_start(from) : from; row < layer.units;) {
      const int begin = std::max(row, from);
      row += l ? add_panel(layer, row, layers_[l - 1].changed[p], proposal.difference[l - 1].data(), z, next)
               : layer.units - from;
      if (layer.skip)
        for (int i = std::max(begin, layers_[l - 2].changed[p]) * kLanes; i < row * kLanes; ++i)
          next[i] += proposal.next[l - 2][i] - state.z[l - 2][i];
      if (l == last())
        kernels_.flips.sum_scores(next + begin * kLanes, state.spins.data() + size_t(begin) * kLanes, row - begin,
                                  proposal.later.data());
      else
        kernels_.flips.activation_difference(z + begin * kLanes, next + begin * kLanes, slope ? slope + begin : nullptr,
                                             row - begin, difference + begin * kLanes);
    }
  }
  for (int i = 0; i < kLanes; ++i) change[i] += proposal.later[i] - state.later[i];
}

void MaskedFlips::take(State& state, const Proposal& proposal, int p, uint32_t mask) const {
  float* spin = state.spins.data() + size_t(p) * kLanes;
  for (int i = 0; i < kLanes; ++i)
    if (mask >> i & 1) {
      spin[i] = -spin[i];
      state.later[i] = proposal.later[i];
    }
  for (int l = 0; l <= last(); ++l) {
    const size_t from = size_t(layers_[l].changed[p]) * kLanes;
    kernels_.flips.take(mask, proposal.next[l].data() + from, layers_[l].units - layers_[l].changed[p],
                        state.z[l].data() + from);
  }
}

}  // namespace vanfast::cpu
