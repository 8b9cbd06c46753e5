// What devices there are. Without a driver there are none, and that is no error.
#include <pybind11/pybind11.h>

#include "cuda/philox_words.cuh"
#include "cuda/runtime.cuh"

namespace py = pybind11;

namespace vanfast {
namespace {

#if defined(VANFAST_EMULATE)
constexpr bool kEmulated = true;

int device_count() { return 1; }

std::string device_error() { return ""; }

py::dict device_properties(int device) {
  const DeviceGuard guard(device);
  py::dict result;
  result["name"] = "emulated";
  result["capability"] = py::make_tuple(8, 0);
  result["multiprocessors"] = 1;
  result["shared_bytes"] = emulation::kMaxShared;
  result["memory_bytes"] = size_t(0);
  return result;
}
#else
constexpr bool kEmulated = false;

cudaError_t count_devices(int& count) {
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) count = 0, static_cast<void>(cudaGetLastError());
  return status;
}

int device_count() {
  int count;
  static_cast<void>(count_devices(count));
  return count;
}

std::string device_error() {
  int count;
  const cudaError_t status = count_devices(count);
  return status == cudaSuccess ? "" : cudaGetErrorString(status);
}

py::dict device_properties(int device) {
  cudaDeviceProp found;
  check(cudaGetDeviceProperties(&found, device), "device_properties");
  py::dict result;
  result["name"] = found.name;
  result["capability"] = py::make_tuple(found.major, found.minor);
  result["multiprocessors"] = found.multiProcessorCount;
  result["shared_bytes"] = found.sharedMemPerBlockOptin;
  result["memory_bytes"] = found.totalGlobalMem;
  return result;
}
#endif

void philox_words(uintptr_t words, int64_t count, uint64_t seed, uint64_t first, uint32_t block, uint32_t stream_number,
                  int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  launch_philox_words(reinterpret_cast<uint32_t*>(words), count, seed, first, block, stream_number, stream);
}

}  // namespace
}  // namespace vanfast

void bind_device(py::module_& module) {
  using namespace vanfast;
  module.attr("emulated") = kEmulated;
  module.def("device_count", &device_count, "How many GPUs can be used; 0 without a driver.");
  module.def("device_error", &device_error, "Why there is no device, in the driver's words; empty where there is.");
  module.def("device_properties", &device_properties, py::arg("device"),
             "name, capability (major, minor), multiprocessors, shared_bytes a block may have, memory_bytes.");
  module.def("philox_words", &philox_words, py::arg("words"), py::arg("count"), py::arg("seed"), py::arg("first"),
             py::arg("block"), py::arg("stream_number"), py::arg("device"), py::arg("stream"),
             "Writes the 4 * count random words of samples first, first + 1, ... as the device draws them.");
}
