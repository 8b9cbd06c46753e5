// Backward pass of a PixelCNN.
#pragma once

#include "cpu/conv_scan.h"
#include "cpu/gradient.h"

namespace vanfast::cpu {

// Always in float32; the spec is copied.
std::unique_ptr<Gradient> make_conv_gradient(const ConvSpec& spec, const Kernels& kernels);

}  // namespace vanfast::cpu
