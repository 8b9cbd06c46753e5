// PixelCNN: sites in raster order, block = lattice row.
#pragma once

#include <optional>
#include <vector>

#include "cpu/packing.h"
#include "cpu/scan.h"
#include "cpu/star_prior.h"

namespace vanfast::cpu {

// One masked convolution as the plan describes it; weight is [out][in][k + 1][2k + 1], the last row the site's own.
struct ConvLayerSpec {
  int in, out;
  bool inclusive, residual;
  const float* weight;
  const float* bias;            // [out] or null
  const float* slope;           // [in], PReLU on the input; null for the first layer
  const float* pointwise;       // [in][in] in front of the PReLU, or null
  const float* pointwise_bias;  // [in] or null
};

struct ConvSpec {
  int height, width, half_kernel;
  std::vector<ConvLayerSpec> layers;
  std::optional<StarSpec> prior = {};
};

std::unique_ptr<Scan> make_conv_scan(const ConvSpec& spec, const Kernels& kernels, bool bf16);

}  // namespace vanfast::cpu
