// Barriers of a block and of a warp, right and wrong.
#include "kernels.h"

namespace {

__device__ uint32_t* shared_words() {
  VANFAST_SHARED(memory);
  return reinterpret_cast<uint32_t*>(memory);
}

__global__ void reverse(const uint32_t* in, uint32_t* out, int n) {
  uint32_t* const x = shared_words();
  const int i = static_cast<int>(threadIdx.x);
  x[i] = in[i];
  __syncthreads();
  out[i] = x[n - 1 - i];
}

// Two rounds through one buffer: the second barrier keeps the slow from reading what the fast write next.
__global__ void two_rounds(const uint32_t* in, uint32_t* out, int n) {
  uint32_t* const x = shared_words();
  const int i = static_cast<int>(threadIdx.x);
  for (int round = 0; round < 2; ++round) {
    x[i] = in[round * n + i];
    __syncthreads();
    out[round * n + i] = x[n - 1 - i];
    __syncthreads();
  }
}

__global__ void rotate_in_warp(const uint32_t* in, uint32_t* out, int) {
  uint32_t* const x = shared_words() + threadIdx.x / 32 * 32;
  const unsigned lane = threadIdx.x % 32;
  x[lane] = in[threadIdx.x];
  __syncwarp();
  out[threadIdx.x] = x[(lane + 1) % 32];
}

__global__ void half_warps(const uint32_t* in, uint32_t* out, int) {
  uint32_t* const x = shared_words();
  const unsigned lane = threadIdx.x % 32, half = lane / 16 * 16;
  x[threadIdx.x] = in[threadIdx.x];
  __syncwarp(0xffffu << half);
  out[threadIdx.x] = x[threadIdx.x - lane + half + (lane + 1) % 16];
}

__global__ void without_self(const uint32_t*, uint32_t*, int) { __syncwarp(0xfffffffeu); }

__global__ void masks_differ(const uint32_t*, uint32_t*, int) {
  __syncwarp(threadIdx.x % 32 ? 0xffffffffu : 0x0000ffffu);
}

__global__ void lanes_missing(const uint32_t*, uint32_t*, int) { __syncwarp(); }

__global__ void lane_exits(const uint32_t*, uint32_t*, int) {
  if (threadIdx.x == 7) return;
  __syncwarp();
}

__global__ void two_barriers(const uint32_t*, uint32_t*, int) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void deadlock(const uint32_t*, uint32_t*, int) {
  if (threadIdx.x == 3) __syncwarp();
  __syncthreads();
}

// Threads that have left do not count for a barrier of the block.
__global__ void early_exit(const uint32_t* in, uint32_t* out, int n) {
  uint32_t* const x = shared_words();
  const int i = static_cast<int>(threadIdx.x);
  if (i >= n) return;
  x[i] = in[i];
  __syncthreads();
  out[i] = x[n - 1 - i];
}

__global__ void trap(const uint32_t*, uint32_t*, int n) {
  if (static_cast<int>(threadIdx.x) == n) __trap();
  __syncthreads();
}

__global__ void deep_stack(const uint32_t*, uint32_t* out, int n) {
  volatile unsigned char frame[244 << 10];
  for (int i = 0; i < n; ++i) frame[sizeof frame - 1 - i] = 1;
  __syncthreads();
  out[threadIdx.x] = frame[sizeof frame - 1];
}

}  // namespace

void add_barriers(Kernels& kernels) {
  kernels["reverse"] = reverse;
  kernels["two_rounds"] = two_rounds;
  kernels["rotate_in_warp"] = rotate_in_warp;
  kernels["half_warps"] = half_warps;
  kernels["without_self"] = without_self;
  kernels["masks_differ"] = masks_differ;
  kernels["lanes_missing"] = lanes_missing;
  kernels["lane_exits"] = lane_exits;
  kernels["two_barriers"] = two_barriers;
  kernels["deadlock"] = deadlock;
  kernels["early_exit"] = early_exit;
  kernels["trap"] = trap;
  kernels["deep_stack"] = deep_stack;
}
