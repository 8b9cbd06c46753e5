// The Python module vanfast._cuda. Each operation binds itself in its own bind_*.cpp.
#include <pybind11/pybind11.h>

// Weak: a module may be built of some of the engines.
#define VANFAST_OPTIONAL __attribute__((weak))
void bind_device(pybind11::module_& module);
void bind_conv(pybind11::module_& module) VANFAST_OPTIONAL;
void bind_masked(pybind11::module_& module) VANFAST_OPTIONAL;
void bind_h2arnn(pybind11::module_& module) VANFAST_OPTIONAL;
void bind_energy(pybind11::module_& module) VANFAST_OPTIONAL;
void bind_mcmc(pybind11::module_& module) VANFAST_OPTIONAL;
#if defined(VANFAST_EMULATE)
void bind_emulation(pybind11::module_& module);
#endif

PYBIND11_MODULE(_cuda, module) {
  module.doc() = "The CUDA engines of vanfast.";
  bind_device(module);
  if (bind_conv) bind_conv(module);
  if (bind_masked) bind_masked(module);
  if (bind_h2arnn) bind_h2arnn(module);
  if (bind_energy) bind_energy(module);
  if (bind_mcmc) bind_mcmc(module);
#if defined(VANFAST_EMULATE)
  bind_emulation(module);
#endif
}
