// Launchers of the bit packing.
#pragma once

#include <cstdint>

#include "cuda/runtime.cuh"

namespace vanfast::cuda {

// A plane holds the bits of kPlaneSamples samples of one site, 1 for spin -1: planes [tile][num_sites +
// 1][kPlaneWords], sample 128 tile + 32 w + b in bit b of word w. Plane num_sites is 0, a spin that is always +1; so
// are absent samples.
constexpr int kPlaneWords = 4, kPlaneSamples = 32 * kPlaneWords;

void launch_pack_planes(const int8_t* spins, int64_t count, int num_sites, uint32_t* planes, StreamHandle stream);

// packed: uint8 [count, ceil(num_sites / 8)], bit k of byte b set where spin 8 b + k is +1 (vanfast/store.py).
void launch_pack_spins(const int8_t* spins, int64_t count, int num_sites, uint8_t* packed, StreamHandle stream);
void launch_unpack_spins(const uint8_t* packed, int64_t count, int num_sites, int8_t* spins, StreamHandle stream);

}  // namespace vanfast::cuda
