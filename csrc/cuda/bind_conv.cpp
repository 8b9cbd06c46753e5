// Python's view of the convolution sampler: vanfast._cuda.ConvSampler.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "cuda/conv_args.cuh"

namespace py = pybind11;
using namespace vanfast;

namespace {

// Sizes and launches for one network shape on one device; holds no memory of the device.
class ConvSampler {
 public:
  ConvSampler(int height, int width, int half_kernel, const std::vector<std::tuple<int, int, bool>>& layers,
              int precision, int device, int shared_limit, bool star)
      : device_(device) {
    ConvShape shape{height, width, half_kernel, {}, precision, star};
    for (const auto& [in, out, residual] : layers) shape.layers.push_back({in, out, residual});
    SharedLimits limits = conv_shared_limits(device);
    if (shared_limit > 0) limits.block = std::min(limits.block, shared_limit);
    layout_ = conv_layout(shape, limits);
    blocks_ = conv_resident_blocks(layout_, device);
  }

  const ConvLayout& layout() const { return layout_; }
  int blocks() const { return blocks_; }

  void sample(uintptr_t rows, uintptr_t scan, uintptr_t first_layer, uintptr_t constants, uintptr_t workspace,
              int blocks, uintptr_t spins, uintptr_t log_q, const std::vector<uintptr_t>& kept, bool given,
              int64_t count, uint64_t seed, uint64_t first, uintptr_t step,
              const std::tuple<uintptr_t, uintptr_t, uintptr_t>& star, uintptr_t stream) const {
    if (count < 0 || count > int64_t(1) << 34) throw std::invalid_argument("count must lie in 0 .. 2^34");
    if (blocks < 1) throw std::invalid_argument("blocks must be positive");
    ConvArgs args = layout_.args;
    args.rows = reinterpret_cast<const uint4*>(rows);
    args.scan = reinterpret_cast<const uint4*>(scan);
    args.first = reinterpret_cast<const uint2*>(first_layer);
    args.constants = reinterpret_cast<const float*>(constants);
    args.workspace = reinterpret_cast<unsigned char*>(workspace);
    args.spins = reinterpret_cast<int8_t*>(spins);
    args.log_q = reinterpret_cast<double*>(log_q);
    args.given = given;
    args.count = count;
    args.seed = seed;
    args.first_sample = first;
    args.step = reinterpret_cast<const int64_t*>(step);
    const auto [star_rows, star_entries, star_sites] = star;
    args.star = {reinterpret_cast<const void*>(star_rows), reinterpret_cast<const void*>(star_entries),
                 reinterpret_cast<const void*>(star_sites)};
    if (!kept.empty()) {
      size_t next = 0;
      auto take = [&] {
        if (next == kept.size()) throw std::invalid_argument("kept has too few buffers");
        return reinterpret_cast<float*>(kept[next++]);
      };
      for (int l = 0; l < args.depth; ++l) {
        if (args.layer[l].residual) args.layer[l].kept_mix = take();
        args.layer[l].kept = take();
      }
      if (next != kept.size()) throw std::invalid_argument("kept has too many buffers");
    }
    launch_conv_sample(layout_, args, blocks, device_, stream);
  }

 private:
  int device_;
  ConvLayout layout_;
  int blocks_;
};

}  // namespace

void bind_conv(py::module_& module) {
  module.attr("conv_star_slots") = kConvStarSlots;
  py::class_<ConvSampler>(
      module, "ConvSampler",
      "One shape of masked convolutions on one device. Layers are (in, out, residual); precision "
      "0 is fp32, 1 tf32, 2 bf16. Pointers are integers; star: those of a prior's tables, or zeros.")
      .def(py::init<int, int, int, const std::vector<std::tuple<int, int, bool>>&, int, int, int, bool>(),
           py::arg("height"), py::arg("width"), py::arg("half_kernel"), py::arg("layers"), py::arg("precision"),
           py::arg("device"), py::arg("shared_limit") = 0, py::arg("star") = false)
      .def_property_readonly("blocks", &ConvSampler::blocks)
      .def_property_readonly("shared_bytes", [](const ConvSampler& s) { return s.layout().shared_bytes; })
      .def_property_readonly("in_workspace", [](const ConvSampler& s) { return s.layout().args.big != 0; })
      .def_property_readonly("cached_bytes", [](const ConvSampler& s) { return s.layout().args.cached * kFragment; })
      .def_property_readonly("rows_bytes", [](const ConvSampler& s) { return s.layout().row_fragments * kFragment; })
      .def_property_readonly("scan_bytes", [](const ConvSampler& s) { return s.layout().scan_fragments * kFragment; })
      .def_property_readonly("first_bytes",
                             [](const ConvSampler& s) { return s.layout().first_halves * kHalfFragment; })
      .def_property_readonly("num_constants", [](const ConvSampler& s) { return s.layout().args.constants_count; })
      .def(
          "workspace_bytes", [](const ConvSampler& s, int blocks) { return s.layout().args.workspace_stride * blocks; },
          py::arg("blocks"))
      .def("sample", &ConvSampler::sample, py::arg("rows"), py::arg("scan"), py::arg("first_layer"),
           py::arg("constants"), py::arg("workspace"), py::arg("blocks"), py::arg("spins"), py::arg("log_q"),
           py::arg("kept"), py::arg("given"), py::arg("count"), py::arg("seed"), py::arg("first"), py::arg("step"),
           py::arg("star"), py::arg("stream"), py::call_guard<py::gil_scoped_release>());
}
