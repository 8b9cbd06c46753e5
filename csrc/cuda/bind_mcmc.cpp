// Bindings of the Monte Carlo engine. Pointers come as integers; vanfast/mcmc/device.py makes what they point at.
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "cuda/mcmc_launch.cuh"

namespace py = pybind11;

namespace vanfast::cuda {
namespace {

template <class T>
T value(const py::dict& from, const char* name) {
  if (!from.contains(name)) throw std::invalid_argument(std::string(name) + " is missing");
  return from[name].cast<T>();
}

template <class T>
T* pointer(const py::dict& from, const char* name) {
  return reinterpret_cast<T*>(value<uintptr_t>(from, name));
}

Walkers walkers_of(const py::dict& from) {
  return {pointer<uint32_t>(from, "state"), value<int>(from, "words"),     value<int>(from, "sites"),
          value<int>(from, "shift"),        value<int64_t>(from, "count"), value<uint64_t>(from, "base"),
          value<uint64_t>(from, "seed")};
}

Piece piece_of(const py::dict& from) {
  return {value<int64_t>(from, "sweep"),      value<int64_t>(from, "done"),  value<int64_t>(from, "sweeps"),
          value<int64_t>(from, "burn_in"),    value<int64_t>(from, "thin"),  pointer<int8_t>(from, "spins"),
          value<int64_t>(from, "first_draw"), value<int64_t>(from, "draws"), pointer<const int32_t>(from, "position")};
}

void start(const py::dict& walkers, int replicas, uintptr_t given, uintptr_t site, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  if (replicas < 1) throw std::invalid_argument("replicas must be at least 1");
  launch_mcmc_start(walkers_of(walkers), replicas, reinterpret_cast<const int8_t*>(given),
                    reinterpret_cast<const int32_t*>(site), stream);
}

void planes(const py::dict& walkers, const py::dict& system, bool heat_bath, const py::dict& piece, uintptr_t flips,
            int shared_limit, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  const PlaneSystem planes{pointer<const PlaneRun>(system, "runs"), value<int>(system, "num_runs"),
                           value<int>(system, "largest"), pointer<const int32_t>(system, "neighbour"),
                           pointer<const uint4>(system, "digits")};
  launch_mcmc_planes(walkers_of(walkers), planes, heat_bath, piece_of(piece), reinterpret_cast<int64_t*>(flips),
                     shared_limit, stream);
}

struct Pairs {
  bool dense;
  SparseSystem sparse;
  DenseSystem matrix;
};

Pairs pairs_of(const py::dict& from) {
  Pairs pairs{value<bool>(from, "dense"), {}, {}};
  if (pairs.dense)
    pairs.matrix = {pointer<const int32_t>(from, "twice"), pointer<const int32_t>(from, "field"),
                    pointer<const uint8_t>(from, "is_free"), pointer<int32_t>(from, "local"),
                    value<int>(from, "stride")};
  else
    pairs.sparse = {pointer<const int32_t>(from, "colour"),
                    value<int>(from, "colours"),
                    value<int>(from, "largest"),
                    pointer<const int32_t>(from, "start"),
                    pointer<const int2>(from, "bonds"),
                    pointer<const int32_t>(from, "field"),
                    pointer<const uint8_t>(from, "is_free")};
  return pairs;
}

Temperatures temperatures_of(const py::dict& from) {
  return {value<int>(from, "replicas"), pointer<const float>(from, "scale"), pointer<int32_t>(from, "slot"),
          pointer<int64_t>(from, "energy")};
}

// Fields and energies of the walkers as they stand.
void prepare(const py::dict& walkers_dict, const py::dict& system, const py::dict& temperatures, int device,
             uintptr_t stream) {
  const DeviceGuard guard(device);
  const Walkers walkers = walkers_of(walkers_dict);
  const Pairs pairs = pairs_of(system);
  const Temperatures ladder = temperatures_of(temperatures);
  check(walkers);
  if (pairs.dense) launch_mcmc_fields(walkers, pairs.matrix, stream);
  if (!ladder.energy) return;
  if (pairs.dense)
    launch_mcmc_energy(walkers, pairs.matrix, ladder.energy, stream);
  else
    launch_mcmc_energy(walkers, pairs.sparse, ladder.energy, stream);
}

void pairwise(const py::dict& walkers_dict, const py::dict& system, const py::dict& temperatures, int target,
              bool heat_bath, uint64_t first, const py::dict& piece_dict, uintptr_t flips_pointer, int shared_limit,
              int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  const Walkers walkers = walkers_of(walkers_dict);
  const Pairs pairs = pairs_of(system);
  const Temperatures all = temperatures_of(temperatures);
  const Ladder ladder{pointer<const double>(temperatures, "betas"), value<double>(temperatures, "quantum"),
                      pointer<int32_t>(temperatures, "walker_at"), pointer<int64_t>(temperatures, "accepted")};
  const Piece piece = piece_of(piece_dict);
  walk(
      piece, all.replicas > 1, reinterpret_cast<int64_t*>(flips_pointer),
      [&](const Sweeps& sweeps) {
        if (pairs.dense)
          launch_mcmc_dense(walkers, pairs.matrix, all, heat_bath, sweeps, shared_limit, stream);
        else
          launch_mcmc_sparse(walkers, pairs.sparse, all, heat_bath, sweeps, shared_limit, stream);
        if (all.replicas > 1) launch_mcmc_swap(walkers, all, ladder, first, sweeps.first, sweeps.flips, stream);
      },
      [&](int64_t draw) { launch_mcmc_draw(walkers, all.replicas, all.slot, target, piece, draw, stream); });
}

ClusterSystem clusters_of(const py::dict& from) {
  return {value<int>(from, "num_bonds"),
          pointer<const int2>(from, "ends"),
          pointer<const uint32_t>(from, "threshold"),
          pointer<const int32_t>(from, "start"),
          pointer<const int2>(from, "entries"),
          pointer<int32_t>(from, "workspace")};
}

void swendsen_wang(const py::dict& walkers, const py::dict& system, const py::dict& piece, uintptr_t flips,
                   int shared_limit, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  launch_mcmc_swendsen_wang(walkers_of(walkers), clusters_of(system), piece_of(piece),
                            reinterpret_cast<int64_t*>(flips), shared_limit, stream);
}

void wolff(const py::dict& walkers, const py::dict& system, uintptr_t states, int64_t per_sweep, uint64_t words,
           const py::dict& piece, uintptr_t flips, int shared_limit, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  launch_mcmc_wolff(walkers_of(walkers), clusters_of(system), reinterpret_cast<WolffState*>(states), per_sweep, words,
                    piece_of(piece), reinterpret_cast<int64_t*>(flips), shared_limit, stream);
}

}  // namespace
}  // namespace vanfast::cuda

void bind_mcmc(py::module_& module) {
  using py::arg;
  namespace cuda = vanfast::cuda;
  module.def("mcmc_cluster_ints", &cuda::cluster_ints, arg("sites"), "4-byte words that a chain's clusters need.");
  module.def("mcmc_start", &cuda::start, arg("walkers"), arg("replicas"), arg("given"), arg("site"), arg("device"),
             arg("stream"), "Spins at the start: those given, int8 [chains, N] in raster order, or random ones.");
  module.def("mcmc_planes", &cuda::planes, arg("walkers"), arg("system"), arg("heat_bath"), arg("piece"), arg("flips"),
             arg("shared_limit"), arg("device"), arg("stream"), "Sweeps by multi-spin coding.");
  module.def("mcmc_prepare", &cuda::prepare, arg("walkers"), arg("system"), arg("temperatures"), arg("device"),
             arg("stream"), "Local fields of a dense system, and the energies that tempering needs.");
  module.def("mcmc_pairwise", &cuda::pairwise, arg("walkers"), arg("system"), arg("temperatures"), arg("target"),
             arg("heat_bath"), arg("first"), arg("piece"), arg("flips"), arg("shared_limit"), arg("device"),
             arg("stream"), "Sweeps of single spins, and exchanges of temperatures where there are several.");
  module.def("mcmc_swendsen_wang", &cuda::swendsen_wang, arg("walkers"), arg("system"), arg("piece"), arg("flips"),
             arg("shared_limit"), arg("device"), arg("stream"), "Swendsen and Wang's updates.");
  module.def("mcmc_wolff", &cuda::wolff, arg("walkers"), arg("system"), arg("states"), arg("per_sweep"), arg("words"),
             arg("piece"), arg("flips"), arg("shared_limit"), arg("device"), arg("stream"), "Wolff's updates.");
}
