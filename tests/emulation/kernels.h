// Kernels that exercise the emulation: each reads words, writes words, and has a number to go by.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "cuda/runtime.cuh"

using Kernel = void (*)(const uint32_t* in, uint32_t* out, int n);
using Kernels = std::map<std::string, Kernel>;

void add_barriers(Kernels& kernels);
void add_warps(Kernels& kernels);
void add_memory(Kernels& kernels);
void add_matrices(Kernels& kernels);
