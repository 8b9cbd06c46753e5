// The rate of the engine's own matrix product on data that stays in the first-level cache: what this CPU can give.
#pragma once

#include "cpu/kernels.h"

namespace vanfast::cpu {

// Operations per second of `threads` threads together, measured for about `seconds`.
double product_rate(const Kernels& kernels, bool bf16, int threads, double seconds);

}  // namespace vanfast::cpu
