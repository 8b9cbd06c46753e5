// Stands in for cuda_runtime.h where kernels are compiled for the host (-DVANFAST_EMULATE): for tests only.
// What it does not show: races between blocks, which run one after another; a missing fence, as a write is seen by all
// at once; a missing __syncwarp where a shuffle, a vote or a product of the same lanes stands in its place, as lanes
// wait for each other there; bank conflicts, and all else that is only slow.
#pragma once

#include <stdexcept>

#include "emulation/collectives.h"
#include "emulation/intrinsics.h"
#include "emulation/types.h"

#define VANFAST_SHARED(name) unsigned char* const name = ::vanfast::emulation::shared_memory()

namespace vanfast {

class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    if (device != 0) throw std::runtime_error("selecting a device: invalid device ordinal (there is one, emulated)");
  }
};

template <class... P>
int resident_blocks(void (*)(P...), int threads, size_t shared_bytes) {
  if (threads < 1 || size_t(threads) > emulation::kMaxThreads || shared_bytes > emulation::kMaxShared)
    throw std::runtime_error("resident_blocks: one block is more than a multiprocessor holds");
  return 3;  // few, so that persistent blocks have more than one round
}

}  // namespace vanfast
