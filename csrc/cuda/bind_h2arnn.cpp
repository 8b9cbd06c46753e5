// Bindings of the samplers of the H2ARNN family. Pointers come as integers.
#include <pybind11/pybind11.h>

#include "cuda/bind_call.h"
#include "cuda/h2arnn_launch.cuh"

namespace py = pybind11;

namespace vanfast::cuda {
namespace {

void nest_scan(int sites, int levels, int64_t chunks, int chunk_steps, int site_steps, uintptr_t headers,
               uintptr_t records, uintptr_t spins, uintptr_t log_q, int64_t count, uint64_t seed, uint64_t first,
               uintptr_t step, bool given, uintptr_t keep, int lanes, int threads, int shared_limit, int device,
               uintptr_t stream) {
  const Nest net = {sites,
                    levels,
                    chunks,
                    chunk_steps,
                    site_steps,
                    reinterpret_cast<const float*>(headers),
                    reinterpret_cast<const float*>(records)};
  launch_nest_scan(net, call_of(spins, log_q, count, seed, first, step, 0, given, keep), {lanes, threads}, shared_limit,
                   device, stream);
}

void table_scan(int sites, bool prefix, uintptr_t rules, uintptr_t table, uintptr_t spins, uintptr_t log_q,
                int64_t count, uint64_t seed, uint64_t first, uintptr_t step, bool given, uintptr_t keep, int device,
                uintptr_t stream) {
  const LogitTables net = {sites, prefix, reinterpret_cast<const int64_t*>(rules),
                           reinterpret_cast<const double*>(table)};
  launch_table_scan(net, call_of(spins, log_q, count, seed, first, step, 0, given, keep), device, stream);
}

}  // namespace
}  // namespace vanfast::cuda

void bind_h2arnn(py::module_& module) {
  using namespace vanfast::cuda;
  using py::arg;
  module.def("nest_scan", &nest_scan, py::kw_only(), arg("sites"), arg("levels"), arg("chunks"), arg("chunk_steps"),
             arg("site_steps"), arg("headers"), arg("records"), arg("spins"), arg("log_q"), arg("count"), arg("seed"),
             arg("first"), arg("step"), arg("given"), arg("keep"), arg("lanes"), arg("threads"), arg("shared_limit"),
             arg("device"), arg("stream"), "Draws or scores samples of nested log-sigmoids.");
  module.def("table_scan", &table_scan, py::kw_only(), arg("sites"), arg("prefix"), arg("rules"), arg("table"),
             arg("spins"), arg("log_q"), arg("count"), arg("seed"), arg("first"), arg("step"), arg("given"),
             arg("keep"), arg("device"), arg("stream"), "Draws or scores samples of tabulated logits.");
}
