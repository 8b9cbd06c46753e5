// Python's view of the sampling engine: vanfast._cpu.Sampler and what this CPU offers.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

#include "common/draw_state.h"
#include "common/philox.h"
#include "cpu/bind_layers.h"
#include "cpu/conv_gradient.h"
#include "cpu/conv_scan.h"
#include "cpu/dispatch.h"
#include "cpu/masked_gradient.h"
#include "cpu/masked_scan.h"
#include "cpu/mixture_scan.h"
#include "cpu/nest_gradient.h"
#include "cpu/nest_scan.h"
#include "cpu/parallel.h"
#include "cpu/product_rate.h"
#include "cpu/sampler.h"
#include "cpu/table_scan.h"

namespace py = pybind11;
using namespace vanfast::cpu;

namespace {

std::unique_ptr<Sampler> conv_sampler(int height, int width, int half_kernel, const std::vector<py::dict>& layers,
                                      bool z2, bool bf16, const std::string& isa,
                                      const std::optional<py::dict>& prior) {
  require(height > 0 && width > 0 && half_kernel > 0, "height, width and half_kernel must be positive");
  require(!layers.empty(), "a network needs at least one layer");
  std::vector<py::object> alive;
  ConvSpec spec{height, width, half_kernel, {}};
  int in = 1;
  for (size_t l = 0; l < layers.size(); ++l) {
    const LayerReader layer(layers[l], alive);
    const auto shape = layer.shape("weight", 4);
    const int out = static_cast<int>(shape[0]);
    require(shape[1] == in, "weight: input channels must match the layer before");
    require(l + 1 < layers.size() || out == 1, "the last layer must have one output channel");
    const bool last = l + 1 == layers.size();
    ConvLayerSpec s{};
    s.in = in;
    s.out = out;
    s.inclusive = layer.flag("inclusive");
    s.residual = layer.flag("residual");
    s.weight = layer.needed("weight", {out, in, half_kernel + 1, 2 * half_kernel + 1});
    s.bias = layer.optional("bias", {out});
    s.slope = layer.optional("slope", {in});
    s.pointwise = layer.optional("pointwise", {in, in});
    s.pointwise_bias = layer.optional("pointwise_bias", {in});
    require(s.inclusive == (l > 0), "the first layer is exclusive, the later ones inclusive");
    require((s.slope != nullptr) == (l > 0), "every layer but the first has a slope");
    require(s.residual == (s.pointwise != nullptr), "a residual layer, and no other, has a pointwise layer");
    require(!s.residual || (l > 0 && !last && in == out), "only middle layers of equal width are residual");
    spec.layers.push_back(s);
    in = out;
  }
  spec.prior = read_prior(prior, height * width, alive);
  const Kernels& kernels = kernels_for(isa);
  return std::make_unique<Sampler>(make_conv_scan(spec, kernels, bf16), make_conv_gradient(spec, kernels), kernels,
                                   std::vector<int64_t>{}, z2);
}

std::unique_ptr<Sampler> masked_sampler(int sites, const std::vector<py::dict>& layers,
                                        const std::optional<Indices>& order, bool z2, bool bf16, const std::string& isa,
                                        const std::optional<py::dict>& prior) {
  std::vector<py::object> alive;
  MaskedSpec spec = read_masked(sites, 0, layers, alive);
  spec.prior = read_prior(prior, sites, alive);
  const Kernels& kernels = kernels_for(isa);
  return std::make_unique<Sampler>(make_masked_scan(spec, kernels, bf16), make_masked_gradient(spec, kernels), kernels,
                                   read_order(order, sites), z2);
}

std::unique_ptr<Sampler> categorical_sampler(int sites, int states, const std::vector<py::dict>& layers,
                                             const std::optional<Indices>& order, const Indices& maps, bool bf16,
                                             const std::string& isa) {
  Alphabet alphabet = read_alphabet(maps);
  require(alphabet.states() == states, "maps must be [order, states]");
  std::vector<py::object> alive;
  const MaskedSpec spec = read_masked(sites, states, layers, alive);
  const Kernels& kernels = kernels_for(isa);
  return std::make_unique<Sampler>(make_masked_scan(spec, kernels, bf16), make_masked_gradient(spec, kernels), kernels,
                                   read_order(order, sites), std::move(alphabet));
}

std::unique_ptr<Sampler> mixture_sampler(const Floats& log_weights, const Floats& logits, bool z2,
                                         const std::string& isa) {
  require(logits.ndim() == 2 && log_weights.ndim() == 1 && logits.shape(0) == log_weights.shape(0) && logits.size() > 0,
          "logits must be [components, num_sites] and log_weights [components]");
  const Kernels& kernels = kernels_for(isa);
  const MixtureSpec spec{static_cast<int>(logits.shape(1)), static_cast<int>(logits.shape(0)), log_weights.data(),
                         logits.data()};
  return std::make_unique<Sampler>(make_mixture_scan(spec, kernels), nullptr, kernels, std::vector<int64_t>{}, z2);
}

std::unique_ptr<Sampler> magnetization_sampler(const Doubles& logits, bool z2, const std::string& isa) {
  require(logits.ndim() == 2 && logits.shape(0) == logits.shape(1) && logits.size() > 0,
          "logits must be [num_sites, num_sites]");
  const int sites = static_cast<int>(logits.shape(0));
  const Kernels& kernels = kernels_for(isa);
  return std::make_unique<Sampler>(make_magnetization_scan(sites, logits.data(), kernels),
                                   make_magnetization_gradient(sites, kernels), kernels, std::vector<int64_t>{}, z2);
}

std::unique_ptr<Sampler> prefix_sampler(const Doubles& logits, bool z2, const std::string& isa) {
  int sites = 0;
  while (sites < 30 && (py::ssize_t(1) << sites) - 1 < logits.size()) ++sites;
  require(logits.ndim() == 1 && logits.size() > 0 && (py::ssize_t(1) << sites) - 1 == logits.size(),
          "logits must be [2^num_sites - 1], num_sites from 1 to 30");
  const Kernels& kernels = kernels_for(isa);
  return std::make_unique<Sampler>(make_prefix_scan(sites, logits.data(), kernels), nullptr, kernels,
                                   std::vector<int64_t>{}, z2);
}

std::unique_ptr<Sampler> nest_sampler(const Floats& couplings, const Floats& bias, const Floats& direct,
                                      const Floats& weight, const Floats& shift, bool learn_couplings, bool z2,
                                      const std::string& isa) {
  using Shape = std::vector<py::ssize_t>;
  auto shaped = [](const Floats& array, const char* name, const Shape& shape) {
    require(Shape(array.shape(), array.shape() + array.ndim()) == shape, std::string(name) + " has the wrong shape");
  };
  require(bias.ndim() == 1 && bias.size() > 0, "bias must be [num_sites]");
  require(shift.ndim() == 4 && shift.shape(3) >= 1 && shift.shape(3) <= kMostLevels,
          "shift must be [num_sites, num_sites, 2, levels], levels from 1 to " + std::to_string(kMostLevels));
  const py::ssize_t n = bias.size(), levels = shift.shape(3);
  shaped(couplings, "couplings", {n, n});
  shaped(direct, "direct", {n});
  shaped(weight, "weight", {n, n, 2, levels + 1});
  shaped(shift, "shift", {n, n, 2, levels});
  for (py::ssize_t i = 0; i < n; ++i)
    for (py::ssize_t j = 0; j <= i; ++j)
      require(couplings.data()[i * n + j] == (i == j ? 0.0f : couplings.data()[j * n + i]),
              "couplings must be symmetric with a zero diagonal");
  const Kernels& kernels = kernels_for(isa);
  const NestSpec spec{
      static_cast<int>(n), static_cast<int>(levels), couplings.data(), bias.data(), direct.data(), weight.data(),
      shift.data()};
  return std::make_unique<Sampler>(make_nest_scan(spec, kernels), make_nest_gradient(spec, kernels, learn_couplings),
                                   kernels, std::vector<int64_t>{}, z2);
}

// Lets Ctrl-C end a long call: asks Python for pending signals between tiles, at most ten times a second.
class SignalPoll {
 public:
  void operator()() {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// An uninitialised array that vector loads can read.
py::array_t<float> aligned_array(std::vector<py::ssize_t> shape) {
  size_t size = 1;
  for (py::ssize_t n : shape) size *= static_cast<size_t>(n);
  float* data = AlignedAllocator<float>().allocate(size);
  const py::capsule owner(data, [](void* p) { AlignedAllocator<float>().deallocate(static_cast<float*>(p), 0); });
  return py::array_t<float>(shape, data, owner);
}

// Arrays for what is kept of so many groups, [groups, units, lanes] for each layer of each pass, and their pointers.
py::list kept_arrays(const Sampler& sampler, int64_t groups, std::vector<float*>& pointers) {
  const Scan& scan = sampler.scan();
  py::list kept;
  for (int l = 0; l < sampler.num_kept(); ++l) {
    const auto layer = aligned_array({groups, scan.kept_units(l % scan.num_kept()), kLanes});
    pointers.push_back(const_cast<float*>(layer.data()));
    kept.append(layer);
  }
  return kept;
}

// Configurations whose values would index beyond a table are refused.
void require_values(const Sampler& sampler, const py::array_t<int8_t, py::array::c_style>& spins) {
  const int states = sampler.alphabet().states();
  require(!states || std::all_of(spins.data(), spins.data() + spins.size(),
                                 [states](int8_t s) { return s >= 0 && s < states; }),
          "spins must hold states from 0 to " + std::to_string(states - 1));
}

// Returns (spins, log_q, energy or None, drawn or None, activations): spins as drawn, before the symmetry, and
// activations [groups, units, lanes], where they are to be kept.
py::tuple sample(const Sampler& sampler, int64_t count, uint64_t seed, uint64_t first, int threads,
                 const EnergyModel* model, bool keep) {
  const Scan& scan = sampler.scan();
  const int sites = scan.num_sites();
  require(count >= 0, "count must not be negative");
  require(count == 0 || first <= UINT64_MAX - static_cast<uint64_t>(count - 1), "first + count must not exceed 2^64");
  require(!model || model->num_sites() == sites, "the Hamiltonian has " +
                                                     std::to_string(model ? model->num_sites() : 0) +
                                                     " sites, the network " + std::to_string(sites));
  require(!keep || scan.num_kept() > 0, "this network keeps no activations");
  py::array_t<int8_t> spins({static_cast<py::ssize_t>(count), static_cast<py::ssize_t>(sites)});
  py::array_t<double> log_q(count);
  py::object energy = py::none(), drawn = py::none();
  double* energies = nullptr;
  int8_t* d = nullptr;
  if (model) {
    py::array_t<double> array(count);
    energies = array.mutable_data();
    energy = array;
  }
  py::list kept;
  std::vector<float*> pointers;
  if (keep && count > 0) {
    drawn = spins;
    if (sampler.alphabet().order() > 1) {
      py::array_t<int8_t> array({static_cast<py::ssize_t>(count), static_cast<py::ssize_t>(sites)});
      d = array.mutable_data();
      drawn = array;
    }
    kept = kept_arrays(sampler, static_cast<int64_t>((first + count - 1) / kLanes - first / kLanes + 1), pointers);
  }
  int8_t* s = spins.mutable_data();
  double* q = log_q.mutable_data();
  {
    py::gil_scoped_release release;
    sampler.sample(seed, first, count, threads, s, q, model, energies, pointers, d, SignalPoll());
  }
  return py::make_tuple(spins, log_q, energy, drawn, kept);
}

// Gradients of sum_n weight[n] ln q(s_n), flat arrays in the order weight, bias, slope, pointwise, pointwise_bias of
// every layer, or logits, or bias, direct, weight, shift, couplings of a nest; an absent tensor's is empty.
std::vector<py::array_t<float>> gradient(const Sampler& sampler, const py::array_t<int8_t, py::array::c_style>& drawn,
                                         const py::array_t<double, py::array::c_style>& weight, uint64_t first,
                                         const std::vector<py::array_t<float, py::array::c_style>>& kept, int threads) {
  const Scan& scan = sampler.scan();
  require(sampler.has_gradient(), "this network has no backward pass in the engine");
  require(drawn.ndim() == 2 && drawn.shape(1) == scan.num_sites(), "drawn must be [count, num_sites]");
  require_values(sampler, drawn);
  const int64_t count = drawn.shape(0), layers = sampler.num_kept();
  require(weight.ndim() == 1 && weight.shape(0) == count, "weight must be [count]");
  require(static_cast<int64_t>(kept.size()) == layers, "kept must have " + std::to_string(layers) + " arrays");
  const int64_t groups = count ? static_cast<int64_t>((first + count - 1) / kLanes - first / kLanes + 1) : 0;
  std::vector<const float*> pointers;
  for (int64_t l = 0; l < layers; ++l) {
    const auto& layer = kept[l];
    require(layer.ndim() == 3 && layer.shape(0) == groups && layer.shape(1) == scan.kept_units(l % scan.num_kept()) &&
                layer.shape(2) == kLanes,
            "kept[" + std::to_string(l) + "] has the wrong shape");
    require(reinterpret_cast<uintptr_t>(layer.data()) % 64 == 0, "kept must be the arrays that sample returned");
    pointers.push_back(layer.data());
  }
  const int8_t* s = drawn.data();
  const double* w = weight.data();
  std::vector<std::vector<float>> tensors;
  {
    py::gil_scoped_release release;
    tensors = sampler.gradient(s, w, first, count, threads, pointers, SignalPoll());
  }
  std::vector<py::array_t<float>> arrays;
  for (const auto& tensor : tensors) arrays.emplace_back(static_cast<py::ssize_t>(tensor.size()), tensor.data());
  return arrays;
}

// (log_q, activations) of given spins: activations as `sample` keeps them, [] unless asked for.
py::tuple evaluate(const Sampler& sampler, const py::array_t<int8_t, py::array::c_style>& spins, int threads,
                   bool keep) {
  const Scan& scan = sampler.scan();
  require(spins.ndim() == 2 && spins.shape(1) == scan.num_sites(), "spins must be [count, num_sites]");
  require_values(sampler, spins);
  require(!keep || scan.num_kept() > 0, "this network keeps no activations");
  const int64_t count = spins.shape(0);
  py::array_t<double> log_q(count);
  py::list kept;
  std::vector<float*> pointers;
  if (keep && count > 0) kept = kept_arrays(sampler, (count + kLanes - 1) / kLanes, pointers);
  const int8_t* s = spins.data();
  double* q = log_q.mutable_data();
  {
    py::gil_scoped_release release;
    sampler.log_prob(s, count, threads, q, pointers, SignalPoll());
  }
  return py::make_tuple(log_q, kept);
}

py::array_t<double> log_prob(const Sampler& sampler, const py::array_t<int8_t, py::array::c_style>& spins,
                             int threads) {
  return evaluate(sampler, spins, threads, false)[0].cast<py::array_t<double>>();
}

}  // namespace

void bind_sampler(py::module_& module) {
  py::class_<Sampler>(module, "Sampler", "A network compiled for this CPU.")
      .def("sample", &sample, py::arg("count"), py::arg("seed"), py::arg("first") = 0, py::arg("threads") = 0,
           py::arg("model") = nullptr, py::arg("keep") = false)
      .def("gradient", &gradient, py::arg("drawn"), py::arg("weight"), py::arg("first"), py::arg("kept"),
           py::arg("threads") = 0)
      .def_property_readonly("has_gradient", &Sampler::has_gradient)
      .def("log_prob", &log_prob, py::arg("spins"), py::arg("threads") = 0)
      .def("evaluate", &evaluate, py::arg("spins"), py::arg("threads") = 0, py::arg("keep") = false)
      .def_property_readonly("num_sites", [](const Sampler& s) { return s.scan().num_sites(); })
      .def_property_readonly("isa", [](const Sampler& s) { return s.kernels().name; })
      .def_property_readonly("native_bf16", [](const Sampler& s) { return s.kernels().bf16 != nullptr; })
      .def_property_readonly("bytes_per_thread", [](const Sampler& s) { return s.bytes_per_thread(); });
  module.def("conv_sampler", &conv_sampler, py::arg("height"), py::arg("width"), py::arg("half_kernel"),
             py::arg("layers"), py::arg("z2"), py::arg("bf16"), py::arg("isa"), py::arg("prior") = py::none());
  module.def("masked_sampler", &masked_sampler, py::arg("num_sites"), py::arg("layers"), py::arg("order"),
             py::arg("z2"), py::arg("bf16"), py::arg("isa"), py::arg("prior") = py::none());
  module.def("categorical_sampler", &categorical_sampler, py::arg("num_sites"), py::arg("states"), py::arg("layers"),
             py::arg("order"), py::arg("maps"), py::arg("bf16"), py::arg("isa"));
  module.def("mixture_sampler", &mixture_sampler, py::arg("log_weights"), py::arg("logits"), py::arg("z2"),
             py::arg("isa"));
  module.def("magnetization_sampler", &magnetization_sampler, py::arg("logits"), py::arg("z2"), py::arg("isa"));
  module.def("prefix_sampler", &prefix_sampler, py::arg("logits"), py::arg("z2"), py::arg("isa"));
  module.def("nest_sampler", &nest_sampler, py::arg("couplings"), py::arg("bias"), py::arg("direct"), py::arg("weight"),
             py::arg("shift"), py::arg("learn_couplings"), py::arg("z2"), py::arg("isa"));
  module.def("isas", &available_isas, "Instruction sets usable on this CPU; the last is the default.");
  module.def(
      "product_rate",
      [](const std::string& isa, bool bf16, int threads, double seconds) {
        py::gil_scoped_release release;
        return product_rate(kernels_for(isa), bf16, threads, seconds);
      },
      py::arg("isa") = "", py::arg("bf16") = false, py::arg("threads") = 0, py::arg("seconds") = 0.2);
  module.def("hardware_threads", [] { return resolve_threads(0); });
  module.def(
      "draw_state",
      [](const Floats& logits, uint32_t word) {
        require(logits.ndim() == 1 && logits.size() >= 2 && logits.size() <= vanfast::kMostStates,
                "logits must be [states], 2 to 127 of them");
        return vanfast::draw_state(logits.data(), static_cast<int>(logits.size()), 1, word);
      },
      py::arg("logits"), py::arg("word"), "The state that the draw rule gives, of float32 logits.");
  module.def(
      "philox",
      [](uint64_t seed, uint64_t sample, uint32_t block, uint32_t stream) {
        const auto w = vanfast::philox(seed, sample, block, stream);
        return std::vector<uint32_t>(w.word, w.word + 4);
      },
      py::arg("seed"), py::arg("sample"), py::arg("block"), py::arg("stream"));
}
