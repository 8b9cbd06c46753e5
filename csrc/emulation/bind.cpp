// What tests ask of the emulation.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "emulation/machine.h"
#include "emulation/sites.h"

namespace py = pybind11;

void bind_emulation(py::module_& module) {
  using namespace vanfast::emulation;
  module.def("emulation_seed", &set_seed, py::arg("seed"), "Sets the order in which blocks and threads run.");
  module.def("emulation_skip", &skip, py::arg("site"),
             "From now on the barrier at \"file:line\" does nothing, and any other is one again; \"\" skips none.");
  module.def(
      "emulation_sites",
      [] {
        py::dict result;
        for (const Site* site : barriers_executed()) result[py::str(site->name)] = py::cast(site->kernels);
        return result;
      },
      "The barriers executed so far, \"file:line\", with the kernels that came there.");
}
