// Energies and bit packing. Pointers, devices and streams are integers; arrays as the launchers' headers say.
#include <pybind11/pybind11.h>

#include "cuda/energy.cuh"
#include "cuda/pack_spins.cuh"
#include "cuda/runtime.cuh"

namespace py = pybind11;
using namespace vanfast;

namespace {

template <class T>
T* at(uintptr_t pointer) {
  return reinterpret_cast<T*>(pointer);
}

void lattice_energy(uintptr_t spins, int64_t count, int rows, int width, int directions, uintptr_t neighbour,
                    uintptr_t step, uintptr_t values, uintptr_t bonds, uintptr_t signs, uintptr_t fields,
                    uintptr_t energy, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  const cuda::LatticeArrays lattice{rows,
                                    width,
                                    directions,
                                    at<const int32_t>(neighbour),
                                    at<const int32_t>(step),
                                    at<const double>(values),
                                    at<const int32_t>(bonds),
                                    at<const uint32_t>(signs),
                                    at<const double>(fields)};
  cuda::launch_lattice_energy(at<const int8_t>(spins), count, lattice, at<double>(energy), stream);
}

void pattern_energy(uintptr_t spins, int64_t count, int num_sites, int patterns, uintptr_t bits, uintptr_t values,
                    uintptr_t energy, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  cuda::launch_pattern_energy(at<const int8_t>(spins), count, num_sites, patterns, at<const uint32_t>(bits),
                              at<const double>(values), at<double>(energy), stream);
}

void dense_energy(uintptr_t planes, int64_t count, int num_sites, uintptr_t couplings, uintptr_t fields,
                  uintptr_t energy, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  cuda::launch_dense_energy(at<const uint32_t>(planes), count, num_sites, at<const double>(couplings),
                            at<const double>(fields), at<double>(energy), stream);
}

void bond_energy(uintptr_t planes, int64_t count, int num_sites, uintptr_t edges, uintptr_t couplings,
                 int64_t num_bonds, uintptr_t energy, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  cuda::launch_bond_energy(at<const uint32_t>(planes), count, num_sites, at<const int32_t>(edges),
                           at<const double>(couplings), num_bonds, at<double>(energy), stream);
}

void pack_planes(uintptr_t spins, int64_t count, int num_sites, uintptr_t planes, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  cuda::launch_pack_planes(at<const int8_t>(spins), count, num_sites, at<uint32_t>(planes), stream);
}

void pack_spins(uintptr_t spins, int64_t count, int num_sites, uintptr_t packed, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  cuda::launch_pack_spins(at<const int8_t>(spins), count, num_sites, at<uint8_t>(packed), stream);
}

void unpack_spins(uintptr_t packed, int64_t count, int num_sites, uintptr_t spins, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  cuda::launch_unpack_spins(at<const uint8_t>(packed), count, num_sites, at<int8_t>(spins), stream);
}

}  // namespace

void bind_energy(py::module_& module) {
  using py::arg;
  module.attr("plane_samples") = cuda::kPlaneSamples;
  module.def("lattice_energy", &lattice_energy, arg("spins"), arg("count"), arg("rows"), arg("width"),
             arg("directions"), arg("neighbour"), arg("step"), arg("values"), arg("bonds"), arg("signs"), arg("fields"),
             arg("energy"), arg("device"), arg("stream"), "Energies of a lattice; signs and fields may be 0.");
  module.def("pattern_energy", &pattern_energy, arg("spins"), arg("count"), arg("num_sites"), arg("patterns"),
             arg("bits"), arg("values"), arg("energy"), arg("device"), arg("stream"), "Energies from overlaps.");
  module.def("dense_energy", &dense_energy, arg("planes"), arg("count"), arg("num_sites"), arg("couplings"),
             arg("fields"), arg("energy"), arg("device"), arg("stream"), "Energies of a dense matrix of couplings.");
  module.def("bond_energy", &bond_energy, arg("planes"), arg("count"), arg("num_sites"), arg("edges"), arg("couplings"),
             arg("num_bonds"), arg("energy"), arg("device"), arg("stream"), "Energies of a list of bonds.");
  module.def("pack_planes", &pack_planes, arg("spins"), arg("count"), arg("num_sites"), arg("planes"), arg("device"),
             arg("stream"), "Spins to planes, uint32 [tiles, num_sites + 1, plane_samples / 32].");
  module.def("pack_spins", &pack_spins, arg("spins"), arg("count"), arg("num_sites"), arg("packed"), arg("device"),
             arg("stream"), "Spins to uint8 [count, ceil(num_sites / 8)].");
  module.def("unpack_spins", &unpack_spins, arg("packed"), arg("count"), arg("num_sites"), arg("spins"), arg("device"),
             arg("stream"), "The inverse of pack_spins.");
}
