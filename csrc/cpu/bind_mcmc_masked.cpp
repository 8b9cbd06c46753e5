// Binding of Markov chains of a masked stack. Arguments come checked from vanfast/mcmc.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "cpu/bind_schedule.h"

namespace py = pybind11;
using namespace vanfast::cpu;

namespace {

py::tuple masked(int num_sites, const std::vector<py::dict>& layers, const std::optional<Indices>& order,
                 const py::object& group, double T0, const std::vector<double>& betas, int target, bool heat_bath,
                 const py::dict& schedule) {
  require(num_sites > 0, "num_sites must be positive");
  require(std::isfinite(T0) && T0 > 0, "T0 must be positive");
  require(!betas.empty() && target >= 0 && target < static_cast<int>(betas.size()), "target must be one of betas");
  std::vector<py::object> alive;
  const Alphabet alphabet = read_alphabet(group);
  const MaskedSpec spec = read_masked(num_sites, alphabet.states(), layers, alive);
  const std::vector<int64_t> sites = read_order(order, num_sites);
  Run run(schedule, num_sites, alphabet.states());
  const Kernels& kernels = kernels_for(run.isa);
  const MaskedFlips flips(spec, kernels);
  Turned turned;
  {
    py::gil_scoped_release release;
    turned = run_masked(flips, sites, alphabet, T0, betas, target, heat_bath, run.schedule, kernels);
  }
  return py::make_tuple(run.spins, turned.flips, turned.swaps);
}

py::array_t<double> changes(int num_sites, const std::vector<py::dict>& layers, const std::optional<Indices>& order,
                            const py::object& group, const Array<int8_t>& spins, int threads, const std::string& isa) {
  require(num_sites > 0, "num_sites must be positive");
  require(spins.ndim() == 2 && spins.shape(1) == num_sites, "spins must be [count, num_sites]");
  std::vector<py::object> alive;
  const Alphabet alphabet = read_alphabet(group);
  const int states = alphabet.states();
  require(
      !states || std::all_of(spins.data(), spins.data() + spins.size(), [&](int8_t s) { return s >= 0 && s < states; }),
      "spins must hold states 0 .. q - 1");
  const MaskedSpec spec = read_masked(num_sites, states, layers, alive);
  const std::vector<int64_t> sites = read_order(order, num_sites);
  const MaskedFlips flips(spec, kernels_for(isa));
  const int64_t count = spins.shape(0);
  std::vector<int64_t> shape{count, num_sites};
  if (states) shape.push_back(states);
  py::array_t<double> found(shape);
  const int8_t* rows = spins.data();
  double* out = found.mutable_data();
  {
    py::gil_scoped_release release;
    flip_changes(flips, sites, alphabet, rows, count, threads, out, [] {
      py::gil_scoped_acquire acquire;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    });
  }
  return found;
}

}  // namespace

void bind_mcmc_masked(py::module_& module) {
  module.def(
      "mcmc_masked", &masked, py::arg("num_sites"), py::arg("layers"), py::arg("order"), py::arg("group"),
      py::arg("T0"), py::arg("betas"), py::arg("target"), py::arg("heat_bath"), py::arg("schedule"),
      "Spins or states int8 [chains, draws, N], changed sites [R], accepted swaps [R - 1]. group: whether spins have "
      "Z2, or the permutations of states [order, q].");
  module.def(
      "flip_changes", &changes, py::arg("num_sites"), py::arg("layers"), py::arg("order"), py::arg("group"),
      py::arg("spins"), py::arg("threads") = 0, py::arg("isa") = "",
      "What turning each single spin adds to ln q of a masked stack, float64 [count, N]; of states, what each at "
      "each site adds, [count, N, q].");
}
