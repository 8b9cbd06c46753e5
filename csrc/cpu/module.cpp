// The Python module vanfast._cpu. Each operation binds itself in its own bind_*.cpp.
#include <pybind11/pybind11.h>

void bind_energy(pybind11::module_& module);
void bind_enumerate(pybind11::module_& module);
void bind_mcmc(pybind11::module_& module);
void bind_mcmc_masked(pybind11::module_& module);
void bind_sampler(pybind11::module_& module);

PYBIND11_MODULE(_cpu, module) {
  module.doc() = "The C++ CPU engine of vanfast.";
  bind_energy(module);
  bind_enumerate(module);
  bind_mcmc(module);
  bind_mcmc_masked(module);
  bind_sampler(module);  // after bind_energy, whose EnergyModel it takes
}
