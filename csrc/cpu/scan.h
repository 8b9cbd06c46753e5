// A network compiled for the CPU engine: draws or scores whole groups of samples, block after block.
#pragma once

#include <cstdint>
#include <memory>

#include "cpu/kernels.h"

namespace vanfast::cpu {

// Consecutive groups worked on together by one thread. Spins are in drawing order.
struct Tile {
  uint64_t seed;
  uint64_t first_sample;  // multiple of kLanes
  int groups;
  bool given;     // spins are input: score them instead of drawing
  float* spins;   // [groups][sites][kLanes], +-1, or states 0 .. q - 1
  double* log_q;  // [groups][kLanes], added to
  // Pre-activations kept for the backward pass, or null: one pointer for each linear layer, to
  // [groups][kept units of the layer][kLanes].
  float* const* keep;
};

class Scan {
 public:
  class Workspace {
   public:
    virtual ~Workspace() = default;
  };

  virtual ~Scan() = default;
  virtual int num_sites() const = 0;
  // Groups that one thread likes to work on together, so that a weight is used more than once per visit.
  virtual int groups_per_tile() const { return 1; }
  virtual int num_kept() const = 0;
  virtual int64_t kept_units(int layer) const = 0;
  virtual int64_t workspace_bytes() const = 0;  // per thread
  virtual std::unique_ptr<Workspace> make_workspace() const = 0;
  virtual void run(const Tile& tile, Workspace& workspace) const = 0;
};

}  // namespace vanfast::cpu
