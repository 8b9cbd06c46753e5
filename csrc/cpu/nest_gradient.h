// Backward pass of nest networks.
#pragma once

#include "cpu/gradient.h"
#include "cpu/nest_scan.h"

namespace vanfast::cpu {

// Gradients of bias, direct, weight, shift and, if wanted, couplings (the upper triangle), shaped as in the spec.
std::unique_ptr<Gradient> make_nest_gradient(const NestSpec& spec, const Kernels& kernels, bool couplings);

}  // namespace vanfast::cpu
