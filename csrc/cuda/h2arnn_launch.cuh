// Launchers of the samplers of the H2ARNN family, nested log-sigmoids and tabulated logits, and what they are given.
#pragma once

#include <cstdint>

#include "cuda/masked_launch.cuh"

namespace vanfast::cuda {

// See nest_scan.cu for the two packed arrays.
struct Nest {
  int sites, levels;  // levels = nestings + 1
  int64_t chunks;     // of chunk_steps steps
  int chunk_steps;
  int site_steps;        // of the site with most
  const float* headers;  // [sites][8]: bias, direct, coupling to the site before, 0; steps of the quarters (int)
  const float* records;  // [chunks][chunk_steps][levels + 1][lane 4][4]
};

// How a launch is laid out; results do not depend on it. 0 leaves a choice to the launcher.
struct NestLayout {
  int lanes = 0;    // that share the later sites of a sample: 4 or 16
  int threads = 0;  // of a block
};

// Site i has its entries from first(i) on: i (i + 1) / 2 for the magnetisation, 2^i - 1 for prefixes.
struct LogitTables {
  int sites;
  bool prefix;
  const int64_t* rules;  // [entries] floor(sigma(-|logit|) 2^32), plus 2^32 where the likelier spin is up
  const double* log_q;   // [entries][2] ln q of a spin down, up
};

void launch_nest_scan(const Nest& net, const MaskedCall& call, const NestLayout& layout, int shared_limit, int device,
                      uintptr_t stream);
void launch_table_scan(const LogitTables& net, const MaskedCall& call, int device, uintptr_t stream);

}  // namespace vanfast::cuda
