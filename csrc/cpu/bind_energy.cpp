#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>

#include "cpu/energy.h"
#include "cpu/parallel.h"
#include "cpu/potts_energy.h"

namespace py = pybind11;
using vanfast::cpu::EnergyModel;
using vanfast::cpu::PottsEnergy;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

void require_finite(const Array<double>& values, const char* name) {
  require(std::all_of(values.data(), values.data() + values.size(), [](double v) { return std::isfinite(v); }),
          std::string(name) + " must be finite");
}

void require_bonds(int num_sites, const Array<int32_t>& edges, const Array<double>& couplings) {
  require(num_sites >= 1, "num_sites must be at least 1, not " + std::to_string(num_sites));
  require(edges.ndim() == 2 && edges.shape(1) == 2, "edges must have shape [M, 2]");
  require(couplings.ndim() == 1 && couplings.size() == edges.shape(0), "couplings must have one entry a row of edges");
  require_finite(couplings, "couplings");
  const int32_t* pairs = edges.data();
  for (py::ssize_t e = 0; e < couplings.size(); ++e) {
    const int32_t i = pairs[2 * e], j = pairs[2 * e + 1];
    require(i >= 0 && j >= 0 && i < num_sites && j < num_sites && i != j,
            "edges row " + std::to_string(e) + " is (" + std::to_string(i) + ", " + std::to_string(j) +
                "), expected two different sites in [0, " + std::to_string(num_sites) + ")");
  }
}

std::shared_ptr<EnergyModel> make_model(int num_sites, const Array<int32_t>& edges, const Array<double>& couplings,
                                        const Array<double>& fields) {
  require_bonds(num_sites, edges, couplings);
  require(fields.ndim() == 1 && fields.size() == num_sites, "fields must have one entry a site");
  require_finite(fields, "fields");
  return std::make_shared<EnergyModel>(num_sites, edges.data(), couplings.data(), couplings.size(), fields.data());
}

std::shared_ptr<PottsEnergy> make_potts(int num_sites, const Array<int32_t>& edges, const Array<double>& couplings,
                                        const Array<double>& fields) {
  require_bonds(num_sites, edges, couplings);
  require(fields.ndim() == 1 && fields.size() >= 2 && fields.size() <= 127,
          "fields must have one entry a state, 2 to 127");
  require_finite(fields, "fields");
  return std::make_shared<PottsEnergy>(num_sites, static_cast<int>(fields.size()), edges.data(), couplings.data(),
                                       couplings.size(), fields.data());
}

std::shared_ptr<EnergyModel> from_patterns(const Array<int8_t>& patterns, double coupling,
                                           const Array<double>& fields) {
  require(patterns.ndim() == 2 && patterns.shape(1) >= 1, "patterns must have shape [P, N]");
  require(fields.ndim() == 1 && fields.size() == patterns.shape(1), "fields must have one entry a site");
  require(std::isfinite(coupling), "coupling must be finite");
  require_finite(fields, "fields");
  require(std::all_of(patterns.data(), patterns.data() + patterns.size(), [](int8_t s) { return s == 1 || s == -1; }),
          "patterns must hold only +1 and -1");
  return std::make_shared<EnergyModel>(EnergyModel::from_patterns(static_cast<int>(patterns.shape(1)), patterns.data(),
                                                                  patterns.shape(0), coupling, fields.data()));
}

void evaluate(const EnergyModel& model, const Array<int8_t>& spins, Array<double> energy, int threads) {
  const int64_t count = energy.size();
  require(spins.ndim() == 2 && spins.shape(0) == count && spins.shape(1) == model.num_sites(),
          "spins must be [" + std::to_string(count) + ", " + std::to_string(model.num_sites()) + "]");
  const int8_t* in = spins.data();
  double* out = energy.mutable_data();
  py::gil_scoped_release release;
  if (count == 0) return;
  // Enough for a task to be worth its working memory, unless threads would go without work.
  const int64_t workers = vanfast::cpu::resolve_threads(threads), num_sites = model.num_sites();
  const int64_t share = ((count + workers - 1) / workers + 255) / 256 * 256;
  const int64_t chunk = std::min(share, std::max<int64_t>(model.tile(), 4096));
  vanfast::cpu::parallel_for((count + chunk - 1) / chunk, threads, [&](int64_t task, int) {
    const int64_t first = task * chunk;
    model.evaluate(in + first * num_sites, std::min(chunk, count - first), out + first, first);
  });
}

void evaluate_potts(const PottsEnergy& model, const Array<int8_t>& states, Array<double> energy, int threads) {
  const int64_t count = energy.size();
  require(states.ndim() == 2 && states.shape(0) == count && states.shape(1) == model.num_sites(),
          "spins must be [" + std::to_string(count) + ", " + std::to_string(model.num_sites()) + "]");
  const int8_t* in = states.data();
  double* out = energy.mutable_data();
  py::gil_scoped_release release;
  model.evaluate(in, count, out, threads);
}

}  // namespace

void bind_energy(py::module_& module) {
  py::class_<EnergyModel, std::shared_ptr<EnergyModel>>(module, "EnergyModel")
      .def(py::init(&make_model), py::arg("num_sites"), py::arg("edges"), py::arg("couplings"), py::arg("fields"))
      .def_static("from_patterns", &from_patterns, py::arg("patterns"), py::arg("coupling"), py::arg("fields"),
                  "J_ij = (coupling / N) sum_mu xi_i^mu xi_j^mu for int8 patterns[P, N].")
      .def_property_readonly("num_sites", &EnergyModel::num_sites)
      .def("evaluate", &evaluate, py::arg("spins").noconvert(), py::arg("energy").noconvert(), py::arg("threads") = 0,
           "Writes float64 energy[count] of int8 spins[count, num_sites] on `threads` threads, 0 for all.");
  py::class_<PottsEnergy, std::shared_ptr<PottsEnergy>>(module, "PottsEnergy")
      .def(py::init(&make_potts), py::arg("num_sites"), py::arg("edges"), py::arg("couplings"), py::arg("fields"))
      .def("evaluate", &evaluate_potts, py::arg("spins").noconvert(), py::arg("energy").noconvert(),
           py::arg("threads") = 0,
           "Writes float64 energy[count] of int8 states[count, num_sites] on `threads` threads, 0 for all.");
}
