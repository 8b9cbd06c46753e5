// What the Monte Carlo kernels share: walkers as bits, temperatures, and how a piece of a run is cut into launches.
//
// Walkers stand in words of 32: bit `lane` of word w at a site is walker 32 w + lane of this call, set for -1. A walker
// is a chain, or replica r of chain c, walker c R + r, under tempering; its random words are those of common/mcmc.h.
// Sites are numbered by position: in the order in which a sweep tries them, colour after colour, where sites of one
// colour are no neighbours. A sweep by colours is thus the CPU's sweep in raster order of a system whose sites carry
// these numbers, byte for byte.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "common/mcmc.h"
#include "cuda/runtime.cuh"

namespace vanfast::cuda {

struct Walkers {
  uint32_t* state;  // [words][sites]
  int words, sites;
  int shift;      // lanes of word 0 before the first walker that is wanted
  int64_t count;  // wanted walkers
  uint64_t base;  // index of lane 0 of word 0
  uint64_t seed;
};

// Replicas and their temperatures; one replica without tempering.
struct Temperatures {
  int replicas;
  const float* scale;  // [replicas], 2 beta quantum
  int32_t* slot;       // [count]: which temperature a walker has
  int64_t* energy;     // [count], 2 E / quantum, kept up to date; null without tempering
};

// Sweeps of one launch: number `first` of the run's words, and where turned spins are counted, [replicas]; null: not.
struct Sweeps {
  int64_t first, count;
  int64_t* flips;
};

// Sweeps done .. done + sweeps - 1 of a run, of which draws first_draw .. are written, [chains][draws][sites] int8.
struct Piece {
  int64_t sweep;  // number of the run's first sweep
  int64_t done, sweeps, burn_in, thin;
  int8_t* spins;
  int64_t first_draw, draws;
  const int32_t* position;  // [sites], of the sites in raster order; null: as they are
};

// Spins at the start: given rows int8 [count / replicas][sites] in raster order, one for all replicas of a chain; null:
// random ones. site: of every position, null where these are the same.
void launch_mcmc_start(const Walkers& walkers, int replicas, const int8_t* given, const int32_t* site,
                       StreamHandle stream);
// Draw `draw` of the walkers whose slot is `target`; slot null: of all.
void launch_mcmc_draw(const Walkers& walkers, int replicas, const int32_t* slot, int target, const Piece& piece,
                      int64_t draw, StreamHandle stream);

inline void check(const Walkers& walkers) {
  if (walkers.sites < 1 || walkers.words < 1 || walkers.count < 1 || walkers.shift < 0 || walkers.shift > 31 ||
      (walkers.count + walkers.shift + 31) / 32 != walkers.words)
    throw std::invalid_argument("sites and walkers must be positive, and words as many as hold the walkers");
}

// Cuts a piece where burn-in ends and draws are taken, and after every sweep where `singly`:
// sweep(Sweeps), then draw(number in the piece's buffer) where one is due.
template <class Sweep, class Draw>
void walk(const Piece& piece, bool singly, int64_t* flips, Sweep&& sweep, Draw&& draw) {
  if (piece.done < 0 || piece.sweeps < 0 || piece.thin < 1 || piece.burn_in < 0 || piece.sweep < 0)
    throw std::invalid_argument("done, sweeps, burn_in and sweep must not be negative, thin at least 1");
  const int64_t end = piece.done + piece.sweeps;
  for (int64_t done = piece.done; done < end;) {
    const bool burning = done < piece.burn_in;
    const int64_t next = burning ? piece.burn_in : done + piece.thin - (done - piece.burn_in) % piece.thin;
    const int64_t count = singly ? 1 : std::min(next, end) - done;
    sweep(Sweeps{piece.sweep + done, count, burning ? nullptr : flips});
    done += count;
    if (done <= piece.burn_in || (done - piece.burn_in) % piece.thin) continue;
    const int64_t number = (done - piece.burn_in) / piece.thin - 1 - piece.first_draw;
    if (number < 0 || number >= piece.draws) throw std::invalid_argument("a draw lies outside of the buffer");
    draw(number);
  }
}

}  // namespace vanfast::cuda
