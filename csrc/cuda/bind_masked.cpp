// Bindings of the samplers of masked linear stacks and mixtures, and of the Z2 flip. Pointers come as integers.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <tuple>

#include "cuda/bind_call.h"
#include "cuda/masked_launch.cuh"

namespace py = pybind11;

namespace vanfast::cuda {
namespace {

template <class T>
T pointer(const py::dict& from, const char* name) {
  return reinterpret_cast<T>(from[name].cast<uintptr_t>());
}

using StarPointers = std::tuple<uintptr_t, uintptr_t, uintptr_t>;  // zeros without a prior

StarTables star_of(const StarPointers& star) {
  const auto [rows, entries, sites] = star;
  return {reinterpret_cast<const void*>(rows), reinterpret_cast<const void*>(entries),
          reinterpret_cast<const void*>(sites)};
}

MaskedStack stack_of(const py::dict& net) {
  const auto number = [&](const char* name) { return net[name].cast<int>(); };
  return {number("sites"),
          number("block_sites"),
          number("blocks"),
          number("precision"),
          pointer<const int*>(net, "block_table"),
          pointer<const int*>(net, "task_table"),
          pointer<const int*>(net, "stage_table"),
          pointer<const int*>(net, "segment_table"),
          pointer<const void*>(net, "prefix"),
          pointer<const float*>(net, "scan"),
          pointer<const float*>(net, "bias"),
          pointer<const float*>(net, "slope"),
          number("z_rows"),
          number("scan_floats"),
          number("active_rows"),
          star_of(net["star"].cast<StarPointers>())};
}

MaskedSingle single_of(const py::dict& net) {
  return {net["sites"].cast<int>(), net["splits"].cast<int>(), pointer<const void*>(net, "prefix"),
          pointer<const float*>(net, "diagonal"), star_of(net["star"].cast<StarPointers>())};
}

int64_t single_workspace(const py::dict& net, int64_t count, int groups, int shared_limit, int device) {
  return masked_single_workspace(single_of(net), count, groups, shared_limit, device);
}

void masked_single(const py::dict& net, uintptr_t spins, uintptr_t log_q, int64_t count, uint64_t seed, uint64_t first,
                   uintptr_t step, uintptr_t order, bool given, uintptr_t keep, int groups, uintptr_t workspace,
                   int64_t workspace_bytes, int shared_limit, int device, uintptr_t stream) {
  launch_masked_single(single_of(net), call_of(spins, log_q, count, seed, first, step, order, given, keep), groups,
                       reinterpret_cast<void*>(workspace), workspace_bytes, shared_limit, device, stream);
}

int64_t stack_workspace(const py::dict& net, int64_t count, int groups, int parts, int memory, int shared_limit,
                        int device) {
  return masked_stack_workspace(stack_of(net), count, {groups, parts, memory}, shared_limit, device);
}

void masked_stack(const py::dict& net, uintptr_t spins, uintptr_t log_q, int64_t count, uint64_t seed, uint64_t first,
                  uintptr_t step, uintptr_t order, bool given, uintptr_t keep, int groups, int parts, int memory,
                  uintptr_t workspace, int64_t workspace_bytes, int shared_limit, int device, uintptr_t stream) {
  launch_masked_stack(stack_of(net), call_of(spins, log_q, count, seed, first, step, order, given, keep),
                      {groups, parts, memory}, reinterpret_cast<void*>(workspace), workspace_bytes, shared_limit,
                      device, stream);
}

void mixture_scan(int sites, int components, uintptr_t log_weights, uintptr_t tables, uintptr_t spins, uintptr_t log_q,
                  int64_t count, uint64_t seed, uint64_t first, uintptr_t step, bool given, int shared_limit,
                  int device, uintptr_t stream) {
  const Mixture net = {sites, components, reinterpret_cast<const double*>(log_weights),
                       reinterpret_cast<const double*>(tables)};
  launch_mixture_scan(net, call_of(spins, log_q, count, seed, first, step, 0, given, 0), shared_limit, device, stream);
}

void symmetry_flip(uintptr_t spins, uintptr_t log_q, uintptr_t log_q_flipped, uintptr_t out, int64_t count, int sites,
                   uint64_t seed, uint64_t first, uintptr_t step, int device, uintptr_t stream) {
  const Symmetry all = {sites,
                        count,
                        seed,
                        first,
                        reinterpret_cast<const int64_t*>(step),
                        reinterpret_cast<int8_t*>(spins),
                        reinterpret_cast<const double*>(log_q),
                        reinterpret_cast<const double*>(log_q_flipped),
                        reinterpret_cast<double*>(out)};
  launch_symmetry_flip(all, device, stream);
}

}  // namespace
}  // namespace vanfast::cuda

void bind_masked(py::module_& module) {
  using namespace vanfast::cuda;
  using py::arg;
  module.attr("masked_table_ints") = py::make_tuple(kBlockInts, kTaskInts, kStageInts, kSegmentInts);
  module.attr("masked_star_slots") = kMaskedStarSlots;
  module.def("masked_single_workspace", &single_workspace, arg("net"), py::kw_only(), arg("count"), arg("groups"),
             arg("shared_limit"), arg("device"), "Bytes of workspace of masked_single.");
  module.def("masked_single", &masked_single, arg("net"), py::kw_only(), arg("spins"), arg("log_q"), arg("count"),
             arg("seed"), arg("first"), arg("step"), arg("order"), arg("given"), arg("keep"), arg("groups"),
             arg("workspace"), arg("workspace_bytes"), arg("shared_limit"), arg("device"), arg("stream"),
             "Draws or scores samples of one masked linear layer.");
  module.def("masked_stack_workspace", &stack_workspace, arg("net"), py::kw_only(), arg("count"), arg("groups"),
             arg("parts"), arg("memory"), arg("shared_limit"), arg("device"), "Bytes of workspace of masked_stack.");
  module.def("masked_stack", &masked_stack, arg("net"), py::kw_only(), arg("spins"), arg("log_q"), arg("count"),
             arg("seed"), arg("first"), arg("step"), arg("order"), arg("given"), arg("keep"), arg("groups"),
             arg("parts"), arg("memory"), arg("workspace"), arg("workspace_bytes"), arg("shared_limit"), arg("device"),
             arg("stream"), "Draws or scores samples of a stack of masked linear layers.");
  module.def("mixture_scan", &mixture_scan, py::kw_only(), arg("sites"), arg("components"), arg("log_weights"),
             arg("tables"), arg("spins"), arg("log_q"), arg("count"), arg("seed"), arg("first"), arg("step"),
             arg("given"), arg("shared_limit"), arg("device"), arg("stream"), "Draws or scores samples of a mixture.");
  module.def("symmetry_flip", &symmetry_flip, py::kw_only(), arg("spins"), arg("log_q"), arg("log_q_flipped"),
             arg("out"), arg("count"), arg("sites"), arg("seed"), arg("first"), arg("step"), arg("device"),
             arg("stream"), "Flips half of the samples and gives ln q of the Z2-symmetrised distribution.");
}
