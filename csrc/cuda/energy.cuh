// Launchers of the energy kernels. spins: int8 [count, N], energy: float64 [count]; vanfast/backends/engines/
// energy_arrays.py says what the other arrays hold.
#pragma once

#include <cstdint>

#include "cuda/runtime.cuh"

namespace vanfast::cuda {

struct LatticeArrays {
  int rows, width, directions;
  const int32_t* neighbour;  // [directions, rows]
  const int32_t* step;       // [directions]
  const double* values;      // [directions + 1]
  const int32_t* bonds;      // [directions]
  const uint32_t* signs;     // [directions, rows, ceil(width / 32)] or null
  const double* fields;      // [rows * width] or null
};

void launch_lattice_energy(const int8_t* spins, int64_t count, const LatticeArrays& lattice, double* energy,
                           StreamHandle stream);

// bits: [patterns, ceil(num_sites / 32)], values: [2].
void launch_pattern_energy(const int8_t* spins, int64_t count, int num_sites, int patterns, const uint32_t* bits,
                           const double* values, double* energy, StreamHandle stream);

// planes: see pack_spins.cuh. couplings: packed blocks of four rows, fields: [4 * ceil(num_sites / 4)].
void launch_dense_energy(const uint32_t* planes, int64_t count, int num_sites, const double* couplings,
                         const double* fields, double* energy, StreamHandle stream);

// edges: [num_bonds, 2] with sites up to num_sites, couplings: [num_bonds].
void launch_bond_energy(const uint32_t* planes, int64_t count, int num_sites, const int32_t* edges,
                        const double* couplings, int64_t num_bonds, double* energy, StreamHandle stream);

}  // namespace vanfast::cuda
