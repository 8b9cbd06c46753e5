// Launchers of the samplers of masked linear stacks and of mixtures, of the Z2 flip, and what their kernels are given.
#pragma once

#include <cstdint>

#include "cuda/star_tables.cuh"

namespace vanfast::cuda {

enum MaskedPrecision { kMaskedFp32 = 0, kMaskedTf32 = 1, kMaskedBf16 = 2 };

// What a call draws or scores: samples first + *step + n, n < count.
struct MaskedCall {
  int64_t count;
  uint64_t seed;
  uint64_t first;
  const int64_t* step;  // null: 0
  const int* order;     // [sites] raster index of the p-th drawn site; null: raster order
  int8_t* spins;        // [count][sites] in raster order; input when given
  bool given;
  double* log_q;  // [count]
  float* keep;    // pre-activations, layer after layer [count][units]; null: not kept
};

// One layer: see masked_single.cu for the two packed arrays.
struct MaskedSingle {
  int sites;
  int splits;             // bf16 products that make up a weight: 3, 2 or 1
  const void* prefix;     // [block][word < block, made even][step 2][tile 2][splits][lane 32] uint4
  const float* diagonal;  // [block][32 * 32 weights, then 32 biases]
  StarTables star;        // of one slot
};

// A stack: see masked_stack.cu for the tables.
struct MaskedStack {
  int sites;
  int block_sites;
  int blocks;
  int precision;
  const int* block_table;    // [blocks] of kBlockInts
  const int* task_table;     // [tasks] of kTaskInts
  const int* stage_table;    // [stages] of kStageInts
  const int* segment_table;  // [segments] of kSegmentInts
  const void* prefix;        // uint4: weights of the prefix products in fragment order
  const float* scan;         // weights inside blocks
  const float* bias;         // [all units]
  const float* slope;        // [all units], of the PReLU that follows; 1 where none does
  int z_rows;                // shared rows of pre-activations
  int scan_floats;           // largest block's weights inside it
  int active_rows;           // rows of finished activations
  StarTables star;           // of kMaskedStarSlots slots
};

constexpr int kMaskedStarSlots = 8;  // parts of a group share a sample's later sites
constexpr int kBlockInts = 8, kTaskInts = 8, kStageInts = 12, kSegmentInts = 8;

struct Mixture {
  int sites, components;
  const double* log_weights;  // [components]
  const double* tables;       // [sites][components][2]: ln sigmoid(x), ln sigmoid(-x)
};

struct Symmetry {
  int sites;
  int64_t count;
  uint64_t seed;
  uint64_t first;
  const int64_t* step;  // null: 0
  int8_t* spins;        // [count][sites], flipped in place
  const double* log_q;  // [count], of the spins as they come
  const double* log_q_flipped;
  double* out;  // [count]
};

// How a launch is laid out; results do not depend on it. 0 leaves a choice to the launcher.
struct MaskedLayout {
  int groups = 0;  // groups of 32 samples in a tile
  int parts = 0;   // warps that share the units of a group
  int memory = 0;  // where activations lie: 1 shared memory, 2 workspace
};

// Bytes of workspace for at most `count` samples.
int64_t masked_single_workspace(const MaskedSingle& net, int64_t count, int groups, int shared_limit, int device);
void launch_masked_single(const MaskedSingle& net, const MaskedCall& call, int groups, void* workspace,
                          int64_t workspace_bytes, int shared_limit, int device, uintptr_t stream);
int64_t masked_stack_workspace(const MaskedStack& net, int64_t count, const MaskedLayout& layout, int shared_limit,
                               int device);
void launch_masked_stack(const MaskedStack& net, const MaskedCall& call, const MaskedLayout& layout, void* workspace,
                         int64_t workspace_bytes, int shared_limit, int device, uintptr_t stream);
void launch_mixture_scan(const Mixture& net, const MaskedCall& call, int shared_limit, int device, uintptr_t stream);
void launch_symmetry_flip(const Symmetry& all, int device, uintptr_t stream);

}  // namespace vanfast::cuda
