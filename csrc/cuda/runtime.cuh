// What every kernel file includes: CUDA, or with -DVANFAST_EMULATE its stand-in for the host (csrc/emulation).
//   VANFAST_SHARED(name);       the block's dynamic shared memory as `unsigned char* name`, 16-byte aligned
//   VANFAST_LAUNCH(kernel, grid, block, shared_bytes, stream, args...);   launches, checks, throws std::runtime_error
//   resident_blocks(kernel, threads, shared_bytes)   how many blocks the whole current device holds at once
//   DeviceGuard guard(device);  selects a device until the end of the scope
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#if defined(VANFAST_EMULATE)
#include "emulation/cuda.h"
#else
#include <cuda_runtime.h>

#define VANFAST_SHARED(name)                                     \
  extern __shared__ __align__(16) unsigned char shared_memory[]; \
  unsigned char* const name = shared_memory

namespace vanfast {

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // or the next check, perhaps torch's, would report it again
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check(cudaGetDevice(&before_), "current device");
    if (device != before_) check(cudaSetDevice(device), "selecting a device");
    changed_ = device != before_;
  }
  ~DeviceGuard() {
    if (changed_) static_cast<void>(cudaSetDevice(before_));
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

// More than 48 KB of dynamic shared memory are to be asked for: all that there is, as another thread may be about to
// launch the kernel with more than this one.
template <class... P>
void allow_shared(const char* name, void (*kernel)(P...), size_t bytes) {
  if (bytes <= (48u << 10)) return;
  int device = 0, most = 0;
  check(cudaGetDevice(&device), "current device");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), name);
}

template <class... P>
int resident_blocks(void (*kernel)(P...), int threads, size_t shared_bytes) {
  allow_shared("resident_blocks", kernel, shared_bytes);
  int device = 0, processors = 0, blocks = 0;
  check(cudaGetDevice(&device), "current device");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "multiprocessors");
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes), "resident_blocks");
  if (blocks == 0) throw std::runtime_error("resident_blocks: one block is more than a multiprocessor holds");
  return blocks * processors;
}

template <class... P, size_t... I>
cudaError_t launch_tuple(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                         std::tuple<P...>& values, std::index_sequence<I...>) {
  void* pointers[sizeof...(P) + 1] = {static_cast<void*>(&std::get<I>(values))..., nullptr};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, stream);
}

}  // namespace vanfast
#endif

namespace vanfast {

// A stream as it comes: CUDA's handle, or the integer that Python passes.
struct StreamHandle {
  cudaStream_t value;
  StreamHandle(cudaStream_t stream) : value(stream) {}
  StreamHandle(uintptr_t stream) : value(reinterpret_cast<cudaStream_t>(stream)) {}
  StreamHandle(int stream) : StreamHandle(static_cast<uintptr_t>(stream)) {}
};

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, StreamHandle stream,
            A&&... arguments) {
  std::tuple<P...> values(static_cast<P>(std::forward<A>(arguments))...);
#if defined(VANFAST_EMULATE)
  static_cast<void>(stream);
  emulation::launch(name, grid, block, shared_bytes, [&] { std::apply(kernel, values); });
#else
  allow_shared(name, kernel, shared_bytes);
  check(launch_tuple(kernel, grid, block, shared_bytes, stream.value, values, std::index_sequence_for<P...>{}), name);
#endif
}

}  // namespace vanfast

#define VANFAST_LAUNCH(kernel, ...) ::vanfast::launch(#kernel, kernel, __VA_ARGS__)
