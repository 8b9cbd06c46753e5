// Masked linear stacks (one layer, VAN dense with channels, MADE): block = consecutive sites in drawing order.
// Sites are spins, or have q states: then q inputs each, one-hot, and q logits.
#pragma once

#include <optional>
#include <vector>

#include "cpu/packing.h"
#include "cpu/scan.h"
#include "cpu/star_prior.h"

namespace vanfast::cpu {

// z = weight a + bias [+ pre-activation of the layer before the previous one]; a = PReLU(previous z) or the spins.
struct MaskedLayerSpec {
  int in, out;
  bool skip;
  bool local;             // a unit sees units of its own degree only
  const float* weight;    // [out][in], masked entries zero
  const float* bias;      // [out] or null
  const float* slope;     // [in] or null (no activation)
  const int64_t* degree;  // [out], never decreasing: how many of the first sites the unit may see
};

struct MaskedSpec {
  int num_sites;
  std::vector<MaskedLayerSpec> layers;
  std::optional<StarSpec> prior = {};
  int states = 0;  // q, or 0 for spins
  // Inputs, and logits, of a site.
  int width() const { return states ? states : 1; }
};

// bf16 is rounding with float32 arithmetic here, on every set: pairs of units would straddle the sites of a block.
std::unique_ptr<Scan> make_masked_scan(const MaskedSpec& spec, const Kernels& kernels, bool bf16);

}  // namespace vanfast::cpu
