#include <pybind11/pybind11.h>

#include "kernels.h"

namespace py = pybind11;

void bind_emulation(py::module_& module);

static void run(const std::string& name, uintptr_t in, uintptr_t out, int n, std::array<unsigned, 3> grid,
                std::array<unsigned, 3> block, size_t shared) {
  static const Kernels kernels = [] {
    Kernels all;
    add_barriers(all);
    add_warps(all);
    add_memory(all);
    add_matrices(all);
    return all;
  }();
  const Kernel kernel = kernels.at(name);
  vanfast::launch(name.c_str(), kernel, dim3(grid[0], grid[1], grid[2]), dim3(block[0], block[1], block[2]), shared,
                  nullptr, reinterpret_cast<const uint32_t*>(in), reinterpret_cast<uint32_t*>(out), n);
}

PYBIND11_MODULE(_cuda, module) {
  bind_emulation(module);
  module.def("run", [](const std::string& name, uintptr_t in, uintptr_t out, int n, py::tuple grid, py::tuple block,
                       size_t shared) {
    const auto three = [](const py::tuple& t) {
      return std::array<unsigned, 3>{t[0].cast<unsigned>(), t[1].cast<unsigned>(), t[2].cast<unsigned>()};
    };
    run(name, in, out, n, three(grid), three(block), shared);
  });
}
