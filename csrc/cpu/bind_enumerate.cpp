// Bindings of the exact sums: enumeration and site-by-site transfer.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/enumerate.h"
#include "cpu/transfer_matrix.h"

namespace py = pybind11;

namespace {

using Ints = py::array_t<int32_t, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style>;

void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

void require_finite(const Doubles& values, const char* name) {
  for (py::ssize_t k = 0; k < values.size(); ++k) {
    require(std::isfinite(values.data()[k]), std::string(name) + " must be finite");
  }
}

void require_beta(double beta) {
  require(std::isfinite(beta) && beta > 0, "beta must be positive and finite, not " + std::to_string(beta));
}

Doubles copy(const std::vector<double>& values) {
  Doubles array(static_cast<py::ssize_t>(values.size()));
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

py::dict enumerate(int num_sites, const Ints& edges, const Doubles& couplings, const Doubles& fields, double beta,
                   int threads, bool with_log_prob) {
  require(num_sites >= 1 && num_sites <= vanfast::cpu::kMaxEnumeratedSites,
          "num_sites must be in [1, 24], not " + std::to_string(num_sites));
  require(edges.ndim() == 2 && edges.shape(1) == 2, "edges must have shape [M, 2]");
  require(couplings.ndim() == 1 && couplings.size() == edges.shape(0), "couplings must have one entry a row of edges");
  require(fields.ndim() == 1 && fields.size() == num_sites, "fields must have one entry a site");
  require_finite(couplings, "couplings");
  require_finite(fields, "fields");
  require_beta(beta);
  for (py::ssize_t e = 0; e < couplings.size(); ++e) {
    const int32_t i = edges.data()[2 * e], j = edges.data()[2 * e + 1];
    require(i >= 0 && j >= 0 && i < num_sites && j < num_sites && i != j,
            "edges row " + std::to_string(e) + " must hold two different sites in [0, N)");
  }
  Doubles log_prob(with_log_prob ? py::ssize_t{1} << num_sites : 0);
  double* table = with_log_prob ? log_prob.mutable_data() : nullptr;
  const int32_t* pairs = edges.data();
  const double *values = couplings.data(), *site_fields = fields.data();
  const int64_t count = couplings.size();
  vanfast::cpu::Enumeration sums;
  {
    py::gil_scoped_release release;
    sums = vanfast::cpu::enumerate(num_sites, pairs, values, count, site_fields, beta, threads, table);
  }
  py::dict result;
  result["min_energy"] = sums.min_energy;
  result["log_sum"] = sums.log_sum;
  result["mean_excess"] = sums.mean_excess;
  result["variance"] = sums.variance;
  result["magnetization"] = copy(sums.magnetization);
  result["correlation"] = copy(sums.correlation).reshape({num_sites, num_sites});
  result["log_prob"] = with_log_prob ? py::object(log_prob) : py::object(py::none());
  return result;
}

std::vector<vanfast::cpu::TransferBond> bonds(const Ints& start, const Ints& other, const Doubles& coupling,
                                              py::ssize_t t) {
  const int32_t first = start.data()[t], last = start.data()[t + 1];
  require(0 <= first && first <= last && last <= other.size() && last <= coupling.size(),
          "bonds of step " + std::to_string(t) + " lie outside of their arrays");
  std::vector<vanfast::cpu::TransferBond> list;
  for (int32_t b = first; b < last; ++b) list.push_back({other.data()[b], coupling.data()[b]});
  return list;
}

// Steps t = 0 .. T - 1 as columns; the bonds of step t are entries start[t] .. start[t + 1] - 1.
py::tuple transfer(const Ints& slot, const Ints& fresh, const Doubles& replaced, const Doubles& field,
                   const Ints& live_start, const Ints& live_slot, const Doubles& live_coupling, const Ints& given_start,
                   const Ints& given_index, const Doubles& given_coupling, int64_t settings, double beta, double cut,
                   int threads) {
  const py::ssize_t count = slot.size();
  require(fresh.size() == count && replaced.size() == count && field.size() == count &&
              live_start.size() == count + 1 && given_start.size() == count + 1,
          "the columns of the steps differ in length");
  require(settings >= 1, "settings must be at least 1, not " + std::to_string(settings));
  require_beta(beta);
  for (const auto* values : {&replaced, &field, &live_coupling, &given_coupling}) require_finite(*values, "couplings");
  std::vector<vanfast::cpu::TransferStep> steps;
  for (py::ssize_t t = 0; t < count; ++t) {
    steps.push_back({slot.data()[t], fresh.data()[t] != 0, replaced.data()[t], field.data()[t],
                     bonds(live_start, live_slot, live_coupling, t),
                     bonds(given_start, given_index, given_coupling, t)});
  }
  vanfast::cpu::Transfer result;
  {
    py::gil_scoped_release release;
    result = vanfast::cpu::transfer(steps, settings, beta, cut, threads);
  }
  return py::make_tuple(copy(result.log_z), copy(result.energy), copy(result.variance));
}

}  // namespace

void bind_enumerate(py::module_& module) {
  module.def("enumerate", &enumerate, py::arg("num_sites"), py::arg("edges"), py::arg("couplings"), py::arg("fields"),
             py::arg("beta"), py::arg("threads"), py::arg("log_prob"),
             "Exact sums over all states; see csrc/cpu/enumerate.h.");
  module.def("transfer", &transfer, py::arg("slot"), py::arg("fresh"), py::arg("replaced"), py::arg("field"),
             py::arg("live_start"), py::arg("live_slot"), py::arg("live_coupling"), py::arg("given_start"),
             py::arg("given_index"), py::arg("given_coupling"), py::arg("settings"), py::arg("beta"), py::arg("cut"),
             py::arg("threads"), "ln Z, <E> and Var E of every setting of the given sites; see transfer_matrix.h.");
}
