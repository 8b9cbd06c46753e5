// What the network bindings read from Python: layers as dicts of arrays, orders of sites, priors.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/draw_state.h"
#include "cpu/alphabet.h"
#include "cpu/masked_scan.h"
#include "cpu/star_prior.h"

namespace vanfast::cpu {

namespace py = pybind11;

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

inline void require(bool ok, const std::string& message) {
  if (!ok) throw std::invalid_argument(message);
}

// Layers come as dicts of arrays; `alive` keeps converted arrays until the engine has packed them.
class LayerReader {
 public:
  LayerReader(const py::dict& layer, std::vector<py::object>& alive) : layer_(layer), alive_(alive) {}

  bool flag(const char* name) const { return layer_[name].cast<bool>(); }

  const float* optional(const char* name, std::vector<py::ssize_t> shape) const {
    if (layer_[name].is_none()) return nullptr;
    const Floats array = layer_[name].cast<Floats>();
    check(array, name, shape);
    alive_.push_back(array);
    return array.data();
  }
  const float* needed(const char* name, std::vector<py::ssize_t> shape) const {
    require(!layer_[name].is_none(), std::string(name) + " is missing");
    return optional(name, std::move(shape));
  }
  const int64_t* degrees(const char* name, py::ssize_t size, int sites) const {
    const Indices array = layer_[name].cast<Indices>();
    check(array, name, {size});
    for (py::ssize_t i = 0; i < size; ++i)
      require(array.data()[i] >= 0 && array.data()[i] < sites, std::string(name) + " must lie in [0, num_sites)");
    alive_.push_back(array);
    return array.data();
  }
  std::vector<py::ssize_t> shape(const char* name, int dimensions) const {
    const py::array array = layer_[name].cast<py::array>();
    require(array.ndim() == dimensions, std::string(name) + " must have " + std::to_string(dimensions) + " dimensions");
    for (int d = 0; d < dimensions; ++d) require(array.shape(d) > 0, std::string(name) + " must not be empty");
    return {array.shape(), array.shape() + dimensions};
  }

 private:
  static void check(const py::array& array, const char* name, const std::vector<py::ssize_t>& shape) {
    require(std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim()) == shape,
            std::string(name) + " has the wrong shape");
  }
  const py::dict& layer_;
  std::vector<py::object>& alive_;
};

// order[p] is the raster index of the p-th drawn site; nothing means raster order.
inline std::vector<int64_t> read_order(const std::optional<Indices>& order, int sites) {
  if (!order) return {};
  std::vector<int64_t> values(order->data(), order->data() + order->size());
  std::vector<bool> seen(sites, false);
  require(static_cast<int>(values.size()) == sites, "order must have num_sites entries");
  for (int64_t site : values) {
    require(site >= 0 && site < sites && !seen[site], "order must be a permutation of 0 .. num_sites - 1");
    seen[site] = true;
  }
  return values;
}

// The plan's prior, a dict of its arrays, which `alive` keeps; or None.
inline std::optional<StarSpec> read_prior(const std::optional<py::dict>& prior, int sites,
                                          std::vector<py::object>& alive) {
  if (!prior) return {};
  const Doubles fields = (*prior)["fields"].cast<Doubles>(), couplings = (*prior)["couplings"].cast<Doubles>();
  const Indices start = (*prior)["start"].cast<Indices>(), earlier = (*prior)["sites"].cast<Indices>();
  require(fields.ndim() == 1 && fields.size() == sites, "prior: fields must be [num_sites]");
  require(start.ndim() == 1 && start.size() == sites + 1, "prior: start must be [num_sites + 1]");
  require(earlier.ndim() == 1 && couplings.ndim() == 1 && couplings.size() == earlier.size(),
          "prior: sites and couplings must have an entry for each pair");
  require(start.data()[0] == 0 && start.data()[sites] == earlier.size() &&
              std::is_sorted(start.data(), start.data() + sites + 1),
          "prior: start must go from 0 to the number of pairs and not decrease");
  for (int l = 0; l < sites; ++l)
    for (int64_t k = start.data()[l], least = 0; k < start.data()[l + 1]; least = earlier.data()[k++] + 1)
      require(earlier.data()[k] >= least && earlier.data()[k] < l, "prior: sites must ascend and lie before their own");
  for (const py::object& array : {py::object(fields), py::object(couplings), py::object(start), py::object(earlier)})
    alive.push_back(array);
  return StarSpec{sites, fields.data(), start.data(), earlier.data(), couplings.data()};
}

// Spins, with or without Z2 (a bool), or states with a group of their permutations [order, q].
inline Alphabet read_alphabet(const py::object& group) {
  if (py::isinstance<py::bool_>(group)) return Alphabet(group.cast<bool>());
  const Indices maps = group.cast<Indices>();
  require(maps.ndim() == 2 && maps.shape(0) >= 1, "maps must be [order, states]");
  require(maps.shape(1) >= 2 && maps.shape(1) <= vanfast::kMostStates,
          "states must be from 2 to " + std::to_string(vanfast::kMostStates));
  const int states = static_cast<int>(maps.shape(1));
  std::vector<int8_t> table;
  for (py::ssize_t g = 0; g < maps.shape(0); ++g) {
    std::vector<bool> seen(states, false);
    for (int k = 0; k < states; ++k) {
      const int64_t image = maps.data()[g * states + k];
      require(image >= 0 && image < states && !seen[image], "maps must be permutations of the states");
      require(g > 0 || image == k, "maps must begin with the identity");
      seen[image] = true;
      table.push_back(static_cast<int8_t>(image));
    }
  }
  return Alphabet(states, std::move(table));
}

// The layers of a stack, without its prior, over sites that are spins (states 0) or have `states` states; `alive` keeps
// their arrays.
inline MaskedSpec read_masked(int sites, int states, const std::vector<py::dict>& layers,
                              std::vector<py::object>& alive) {
  require(sites > 0, "num_sites must be positive");
  require(!layers.empty(), "a network needs at least one layer");
  require(!states || sites <= INT32_MAX / states, "num_sites times states must be below 2^31");
  MaskedSpec spec{sites, {}, {}, states};
  const int width = spec.width();
  int in = sites * width;
  for (size_t l = 0; l < layers.size(); ++l) {
    const LayerReader layer(layers[l], alive);
    const auto shape = layer.shape("weight", 2);
    const int out = static_cast<int>(shape[0]);
    MaskedLayerSpec s{};
    s.in = in;
    s.out = out;
    s.skip = layer.flag("skip");
    s.local = layer.flag("local");
    require(!s.local || l > 0, "the first layer cannot be local");
    s.weight = layer.needed("weight", {out, in});
    s.bias = layer.optional("bias", {out});
    s.slope = layer.optional("slope", {in});
    s.degree = layer.degrees("degree", out, sites);
    if (s.skip) {
      require(l >= 2 && spec.layers[l - 2].out == out, "skip needs two layers before it, of equal width");
      require(std::equal(s.degree, s.degree + out, spec.layers[l - 2].degree), "skip needs units of equal degree");
    }
    require(std::is_sorted(s.degree, s.degree + out), "degree must not decrease from unit to unit");
    // a unit sees what its degree allows, the first so many of the layer before, and nothing else may have a weight
    for (int u = 0, visible = 0; u < out; ++u) {
      while (visible < in && (l ? spec.layers[l - 1].degree[visible] <= s.degree[u] : visible / width < s.degree[u]))
        ++visible;
      const float* row = s.weight + size_t(u) * in;
      require(std::all_of(row + visible, row + in, [](float w) { return w == 0.0f; }),
              "weight: masked entries must be zero");
    }
    spec.layers.push_back(s);
    in = out;
  }
  require(in == sites * width, "the last layer must have a unit for each site, or for each of its states");
  for (int u = 0; u < in; ++u)
    require(spec.layers.back().degree[u] == u / width,
            "the last layer's unit p must have degree p; with states each of the units of site p");
  return spec;
}

}  // namespace vanfast::cpu
