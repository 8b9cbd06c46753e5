// What every binding of a sampler takes from Python: pointers as integers.
#pragma once

#include <stdexcept>

#include "cuda/masked_launch.cuh"

namespace vanfast::cuda {

// The launchers check the numbers.
inline MaskedCall call_of(uintptr_t spins, uintptr_t log_q, int64_t count, uint64_t seed, uint64_t first,
                          uintptr_t step, uintptr_t order, bool given, uintptr_t keep) {
  if (count > 0 && (!spins || !log_q)) throw std::invalid_argument("spins and log_q must not be null");
  return {count,
          seed,
          first,
          reinterpret_cast<const int64_t*>(step),
          reinterpret_cast<const int*>(order),
          reinterpret_cast<int8_t*>(spins),
          given,
          reinterpret_cast<double*>(log_q),
          reinterpret_cast<float*>(keep)};
}

}  // namespace vanfast::cuda
