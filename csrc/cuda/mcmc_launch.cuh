// Launchers of the Monte Carlo kernels, each for a piece of a run; vanfast/mcmc/device.py makes what they take.
// shared_limit: bytes of shared memory that a block may have; what needs more works in global memory.
#pragma once

#include "cuda/mcmc.cuh"

namespace vanfast::cuda {

// Positions first .. first + count - 1, of one colour and one number of bonds. Bond e of the k-th of them is entry
// offset + e count + k of `neighbour`: position of the other site, with the top bit set where the coupling is negative.
struct PlaneRun {
  int first, count, bonds;
  int last_of_colour;
  int64_t offset;
};

struct PlaneSystem {
  const PlaneRun* runs;  // [num_runs], on the device
  int num_runs, largest;
  const int32_t* neighbour;
  // Four digits of a probability, highest first, as masks: digits[(bonds kPlanes / 4 + digit / 4) kMostClasses +
  // class], all ones or 0; classes as PlaneTable's of csrc/cpu/mcmc.h.
  const uint4* digits;
};

void launch_mcmc_planes(const Walkers& walkers, const PlaneSystem& system, bool heat_bath, const Piece& piece,
                        int64_t* flips, int shared_limit, StreamHandle stream);

// Couplings and fields as multiples of `quantum`, see PairTable of csrc/cpu/mcmc.h.
struct SparseSystem {
  const int32_t* colour;  // [colours + 1] first positions
  int colours, largest;   // sites of the largest colour
  const int32_t* start;   // [sites + 1] into bonds
  const int2* bonds;      // position of the other site, J / quantum
  const int32_t* field;   // [sites]
  const uint8_t* is_free;
};

void launch_mcmc_sparse(const Walkers& walkers, const SparseSystem& system, const Temperatures& temperatures,
                        bool heat_bath, const Sweeps& sweeps, int shared_limit, StreamHandle stream);

struct DenseSystem {
  const int32_t* twice;  // [sites][4 ceil(sites / 4)], 2 J / quantum, symmetric with zero diagonal; 0 behind it
  const int32_t* field;  // [sites]
  const uint8_t* is_free;
  int32_t* local;  // [words][32][stride]: local fields / quantum
  int stride;      // 4 more than a multiple of 8: rows are aligned, and lanes that read a column meet in fours
};

// Local fields of all walkers.
void launch_mcmc_fields(const Walkers& walkers, const DenseSystem& system, StreamHandle stream);
void launch_mcmc_dense(const Walkers& walkers, const DenseSystem& system, const Temperatures& temperatures,
                       bool heat_bath, const Sweeps& sweeps, int shared_limit, StreamHandle stream);

// Replicas that exchange temperatures after every sweep.
struct Ladder {
  const double* betas;  // [replicas]
  double quantum;
  int32_t* walker_at;  // [chains][replicas]: walker of each temperature
  int64_t* accepted;   // [replicas - 1]
};

// 2 E / quantum of every walker, added to energies that are 0.
void launch_mcmc_energy(const Walkers& walkers, const SparseSystem& system, int64_t* energy, StreamHandle stream);
void launch_mcmc_energy(const Walkers& walkers, const DenseSystem& system, int64_t* energy, StreamHandle stream);
// Exchanges after sweep `number`; counted where `counted`. first: index of the first chain.
void launch_mcmc_swap(const Walkers& walkers, const Temperatures& temperatures, const Ladder& ladder, uint64_t first,
                      int64_t number, bool counted, StreamHandle stream);

// Ferromagnetic couplings without fields, sites in raster order.
struct ClusterSystem {
  int num_bonds;
  const int2* ends;           // [num_bonds], smaller site first
  const uint32_t* threshold;  // [num_bonds] as ClusterTable's of csrc/cpu/mcmc_run.h
  const int32_t* start;       // [sites + 1] into entries
  const int2* entries;        // other site, number of the bond
  int32_t* workspace;         // [chains][cluster_ints(sites)] where shared memory does not hold it; else null
};

// What Wolff's chains remember between launches.
struct WolffState {
  int64_t clusters;            // built so far: numbers of the random words
  int64_t burnt, burnt_flips;  // clusters and spins that turned in the first half of the burn-in
  int64_t per_sweep;           // clusters of a sweep, 0 before it is known
  int64_t counted;             // clusters after burn-in
};

// 4-byte words of ClusterMemory (mcmc_clusters.cuh).
inline int64_t cluster_ints(int sites) { return sites + (sites + 127) / 128 * 8 + 2; }

void launch_mcmc_swendsen_wang(const Walkers& walkers, const ClusterSystem& system, const Piece& piece, int64_t* flips,
                               int shared_limit, StreamHandle stream);
// per_sweep 0: as many clusters as turn N spins; words: block that the run's first cluster begins at.
void launch_mcmc_wolff(const Walkers& walkers, const ClusterSystem& system, WolffState* states, int64_t per_sweep,
                       uint64_t words, const Piece& piece, int64_t* flips, int shared_limit, StreamHandle stream);

}  // namespace vanfast::cuda
