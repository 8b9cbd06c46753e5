// The emulated GPU: runs the blocks of a launch one after another, every thread as a fiber, in an order drawn from a
// seed, and knows who waits where. Threads meet at barriers of the block and in collective operations of a warp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>

#include "emulation/sites.h"
#include "emulation/types.h"

namespace vanfast::emulation {

constexpr unsigned kWarp = 32, kAllLanes = 0xffffffffu;
constexpr size_t kMaxThreads = 1024, kMaxShared = 227u << 10;

// Runs body() as every thread of every block; throws std::runtime_error naming the kernel and what went wrong.
void launch(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

// The order of blocks and threads from now on.
void set_seed(uint64_t seed);

unsigned char* shared_memory();
// Throws unless [pointer, pointer + bytes) lies in the block's shared memory and pointer is a multiple of bytes.
void check_shared(const void* pointer, size_t bytes, const char* operation);

unsigned lane();

// Waits for all threads of the block that have not exited. Returns at once where the site is skipped.
void sync_block(Site& site);

// All lanes of the mask bring an operand; the last one to come runs `combine` with the operands by lane (null outside
// of the mask). Wrong masks, and lanes that come to different sites, are errors.
using Combine = void (*)(void* const* operands, unsigned mask);
void meet(Site& site, unsigned mask, void* operand, Combine combine);

void start_copy(void* shared, const void* global, bool valid);
void commit_copies();
void wait_copies(Site& site, int groups_under_way);

}  // namespace vanfast::emulation
