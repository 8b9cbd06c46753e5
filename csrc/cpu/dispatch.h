// Which instruction sets this CPU has, best last.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace vanfast::cpu {

// Sets usable here, slowest first; the last is the default.
std::vector<std::string> available_isas();

// The kernels of a set by name; empty: the best one. "amx_model" is there everywhere, for tests: the AMX path with its
// instructions written out in C++. Throws std::invalid_argument naming what is available.
const Kernels& kernels_for(const std::string& isa);

}  // namespace vanfast::cpu
