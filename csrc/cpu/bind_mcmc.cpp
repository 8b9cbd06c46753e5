// Bindings of the Monte Carlo engine. Arguments come checked from vanfast/mcmc; here only what memory depends on is.
#include <algorithm>
#include <cmath>
#include <ctime>
#include <optional>

#include "cpu/bind_schedule.h"
#include "cpu/packing.h"

namespace py = pybind11;
using namespace vanfast;
using namespace vanfast::cpu;

namespace {

// start[N + 1] rising from 0 into `neighbour`, which holds sites.
void require_rows(const Array<int32_t>& start, const Array<int32_t>& neighbour, int64_t num_sites) {
  require(start.ndim() == 1 && start.size() == num_sites + 1 && start.data()[0] == 0, "start must be [N + 1] from 0");
  require(std::is_sorted(start.data(), start.data() + start.size()), "start must not fall");
  require(start.data()[num_sites] == neighbour.size(), "neighbour must have start[N] entries");
  require(std::all_of(neighbour.data(), neighbour.data() + neighbour.size(),
                      [&](int32_t j) { return j >= 0 && j < num_sites; }),
          "neighbour must hold sites");
}

py::tuple pairwise(const std::optional<Array<int32_t>>& start, const std::optional<Array<int32_t>>& neighbour,
                   const Array<int32_t>& twice, const Array<int32_t>& field, const Array<uint8_t>& is_free,
                   double quantum, const std::vector<double>& betas, int target, bool heat_bath,
                   const py::dict& schedule) {
  const int64_t n = field.size();
  const bool dense = !start;
  require(is_free.size() == n, "is_free must be [N]");
  require(start.has_value() == neighbour.has_value(), "start and neighbour go together");
  if (dense)
    require(twice.size() == n * n, "twice must be [N, N]");
  else {
    require_rows(*start, *neighbour, n);
    require(twice.size() == neighbour->size(), "twice must have an entry for each neighbour");
  }
  require(!betas.empty() && target >= 0 && target < static_cast<int>(betas.size()), "target must be one of betas");
  Run run(schedule, static_cast<int>(n));
  const PairTable table{static_cast<int>(n),
                        dense,
                        dense ? nullptr : start->data(),
                        dense ? nullptr : neighbour->data(),
                        twice.data(),
                        field.data(),
                        is_free.data()};
  Turned turned;
  {
    py::gil_scoped_release release;
    turned = run_pairwise(table, quantum, betas, target, heat_bath, run.schedule, mcmc_kernels_for(run.isa));
  }
  return py::make_tuple(run.spins, turned.flips, turned.swaps);
}

py::tuple potts(const Array<int32_t>& start, const Array<int32_t>& neighbour, const Array<int32_t>& coupling,
                const Array<int32_t>& field, double quantum, const std::vector<double>& betas, int target,
                bool heat_bath, const py::dict& schedule) {
  const int64_t n = start.size() - 1;
  require_rows(start, neighbour, n);
  require(coupling.size() == neighbour.size(), "coupling must have an entry for each neighbour");
  require(field.size() >= 2 && field.size() <= vanfast::kMostStates, "field must have an entry for each state");
  require(!betas.empty() && target >= 0 && target < static_cast<int>(betas.size()), "target must be one of betas");
  const int states = static_cast<int>(field.size());
  Run run(schedule, static_cast<int>(n), states);
  const bool has_fields = std::any_of(field.data(), field.data() + states, [](int32_t h) { return h != 0; });
  const PottsTable table{static_cast<int>(n), states,          has_fields,  start.data(),
                         neighbour.data(),    coupling.data(), field.data()};
  Turned turned;
  {
    py::gil_scoped_release release;
    turned = run_potts(table, quantum, betas, target, heat_bath, run.schedule, mcmc_kernels_for(run.isa));
  }
  return py::make_tuple(run.spins, turned.flips, turned.swaps);
}

py::tuple planes(const Array<int32_t>& start, const Array<int32_t>& neighbour, const Array<uint8_t>& negative,
                 const Array<uint64_t>& thresholds, bool heat_bath, const py::dict& schedule) {
  const int64_t n = start.size() - 1;
  require_rows(start, neighbour, n);
  require(negative.size() == neighbour.size(), "negative must have an entry for each neighbour");
  require(thresholds.ndim() == 2 && thresholds.shape(0) == kMostBonds + 1 && thresholds.shape(1) == kMostClasses,
          "thresholds must be [16, 9]");
  for (int64_t i = 0; i < n; ++i)
    require(start.data()[i + 1] - start.data()[i] <= kMostBonds, "a site has more than 15 bonds");
  std::vector<uint32_t> masks(neighbour.size()), digits(size_t{kMostBonds + 1} * kPlanes * kMostClasses);
  for (size_t e = 0; e < masks.size(); ++e) masks[e] = negative.data()[e] ? ~0u : 0u;
  for (int z = 0; z <= kMostBonds; ++z)
    for (int k = 0; k < kPlanes; ++k)
      for (int c = 0; c < kMostClasses; ++c)
        digits[(static_cast<size_t>(z) * kPlanes + k) * kMostClasses + c] =
            thresholds.data()[z * kMostClasses + c] >> (kPlanes - 1 - k) & 1 ? ~0u : 0u;
  Run run(schedule, static_cast<int>(n));
  const PlaneTable table{static_cast<int>(n), start.data(), neighbour.data(), masks.data(), digits.data()};
  Turned turned;
  {
    py::gil_scoped_release release;
    turned = run_planes(table, heat_bath, run.schedule, mcmc_kernels_for(run.isa));
  }
  return py::make_tuple(run.spins, turned.flips[0]);
}

py::tuple clusters(const Array<int32_t>& start, const Array<int32_t>& neighbour, const Array<uint32_t>& threshold,
                   int states, bool wolff, int64_t per_sweep, const py::dict& schedule) {
  const int64_t n = start.size() - 1;
  require_rows(start, neighbour, n);
  require(threshold.size() == neighbour.size(), "threshold must have an entry for each neighbour");
  require(per_sweep >= 0, "per_sweep must not be negative");
  require(states == 0 || (states >= 2 && states <= vanfast::kMostStates), "states must be 0 or from 2 to 127");
  Run run(schedule, static_cast<int>(n), states);
  const ClusterTable table{static_cast<int>(n), states, start.data(), neighbour.data(), threshold.data()};
  Clusters found;
  {
    py::gil_scoped_release release;
    found = wolff ? run_wolff(table, per_sweep, run.schedule, mcmc_kernels_for(run.isa))
                  : run_swendsen_wang(table, run.schedule, mcmc_kernels_for(run.isa));
  }
  return py::make_tuple(run.spins, found.count, found.flips, found.per_sweep);
}

Array<uint32_t> words(uint64_t seed, uint64_t walker, uint32_t use, uint64_t block, int blocks,
                      const std::string& isa) {
  require(blocks >= 16 && blocks % 16 == 0 && block % blocks == 0 && block + blocks <= kWalkerBlocks,
          "blocks must be a multiple of 16, and block one of blocks");
  const McmcKernels& kernels = mcmc_kernels_for(isa);
  Buffer<uint32_t> out(4 * static_cast<size_t>(blocks));
  kernels.walker_run(seed, walker, static_cast<WordUse>(use), block, blocks, out.data());
  Array<uint32_t> array({4, blocks});
  std::copy(out.begin(), out.end(), array.mutable_data());
  return array;
}

double digit_rate(const std::string& isa, double seconds) {
  const McmcKernels& kernels = mcmc_kernels_for(isa);
  Buffer<uint32_t> out(4 * 64);
  const auto now = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
  const double begin = now();
  double end = begin;
  uint64_t block = 0;
  for (; end < begin + seconds; end = now())
    for (int k = 0; k < 10000; ++k, block += 64)
      kernels.walker_run(1, 1, kPlaneWords, block % kWalkerBlocks, 64, out.data());
  return 128.0 * static_cast<double>(block) / (end - begin);
}

}  // namespace

void bind_mcmc(py::module_& module) {
  module.def("mcmc_pairwise", &pairwise, py::arg("start"), py::arg("neighbour"), py::arg("twice"), py::arg("field"),
             py::arg("is_free"), py::arg("quantum"), py::arg("betas"), py::arg("target"), py::arg("heat_bath"),
             py::arg("schedule"), "Spins int8 [chains, draws, N], turned spins [R], accepted swaps [R - 1].");
  module.def("mcmc_potts", &potts, py::arg("start"), py::arg("neighbour"), py::arg("coupling"), py::arg("field"),
             py::arg("quantum"), py::arg("betas"), py::arg("target"), py::arg("heat_bath"), py::arg("schedule"),
             "States int8 [chains, draws, N], changed sites [R], accepted swaps [R - 1].");
  module.def("mcmc_planes", &planes, py::arg("start"), py::arg("neighbour"), py::arg("negative"), py::arg("thresholds"),
             py::arg("heat_bath"), py::arg("schedule"), "Spins int8 [chains, draws, N], turned spins.");
  module.def("mcmc_clusters", &clusters, py::arg("start"), py::arg("neighbour"), py::arg("threshold"),
             py::arg("states"), py::arg("wolff"), py::arg("per_sweep"), py::arg("schedule"),
             "Spins, or with states > 0 states, int8 [chains, draws, N], clusters, turned spins, clusters of a sweep "
             "[chains].");
  module.def("mcmc_words", &words, py::arg("seed"), py::arg("walker"), py::arg("use"), py::arg("block"),
             py::arg("blocks"), py::arg("isa") = "", "Random words of a walker, uint32 [4, blocks].");
  module.def("mcmc_digit_rate", &digit_rate, py::arg("isa") = "", py::arg("seconds") = 0.2,
             "Random bits a second of CPU time that one core makes.");
}
