// Backward pass of masked linear stacks.
#pragma once

#include "cpu/gradient.h"
#include "cpu/masked_scan.h"

namespace vanfast::cpu {

// Always in float32; the spec is copied.
std::unique_ptr<Gradient> make_masked_gradient(const MaskedSpec& spec, const Kernels& kernels);

}  // namespace vanfast::cpu
