#include <pybind11/pybind11.h>

void bind_enumerate(pybind11::module_& module) { (void)module; }
