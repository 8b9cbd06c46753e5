// Bindings of the Monte Carlo engine. Arguments come checked from vanfast/mcmc; here only what memory depends on is.
#include <algorithm>
#include <optional>

#include "cpu/bind_schedule.h"

namespace py = pybind11;
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
                   bool wolff, int64_t per_sweep, const py::dict& schedule) {
  const int64_t n = start.size() - 1;
  require_rows(start, neighbour, n);
  require(threshold.size() == neighbour.size(), "threshold must have an entry for each neighbour");
  require(per_sweep >= 0, "per_sweep must not be negative");
  Run run(schedule, static_cast<int>(n));
  const ClusterTable table{static_cast<int>(n), start.data(), neighbour.data(), threshold.data()};
  Clusters found;
  {
    py::gil_scoped_release release;
    found = wolff ? run_wolff(table, per_sweep, run.schedule, mcmc_kernels_for(run.isa))
                  : run_swendsen_wang(table, run.schedule, mcmc_kernels_for(run.isa));
  }
  return py::make_tuple(run.spins, found.count, found.flips, found.per_sweep);
}

}  // namespace

void bind_mcmc(py::module_& module) {
  module.def("mcmc_pairwise", &pairwise, py::arg("start"), py::arg("neighbour"), py::arg("twice"), py::arg("field"),
             py::arg("is_free"), py::arg("quantum"), py::arg("betas"), py::arg("target"), py::arg("heat_bath"),
             py::arg("schedule"), "Spins int8 [chains, draws, N], turned spins [R], accepted swaps [R - 1].");
  module.def("mcmc_planes", &planes, py::arg("start"), py::arg("neighbour"), py::arg("negative"), py::arg("thresholds"),
             py::arg("heat_bath"), py::arg("schedule"), "Spins int8 [chains, draws, N], turned spins.");
  module.def("mcmc_clusters", &clusters, py::arg("start"), py::arg("neighbour"), py::arg("threshold"), py::arg("wolff"),
             py::arg("per_sweep"), py::arg("schedule"),
             "Spins int8 [chains, draws, N], clusters, turned spins, clusters of a sweep [chains].");
}
