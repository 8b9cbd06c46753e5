#pragma once

#include <cstdint>

#include "cuda/runtime.cuh"

namespace vanfast {

void launch_philox_words(uint32_t* words, int64_t count, uint64_t seed, uint64_t first, uint32_t block,
                         uint32_t stream_number, StreamHandle stream);

}  // namespace vanfast
