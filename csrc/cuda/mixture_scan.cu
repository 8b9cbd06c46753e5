// Sampling of a mixture of products of independent spins, q(s) = sum_k w_k prod_i sigmoid(s_i x_ki), one launch.
//
//   x_i = LSE_k(a_k + ln sigmoid(x_ki)) - LSE_k(a_k + ln sigmoid(-x_ki)),   a_k = ln w_k + sum_{j<i} ln sigmoid(s_j
//   x_kj)
//
// A sample belongs to kLanes neighbouring lanes that share its components, 1 (independent spins) to 32; each lane keeps
// the a_k of its components in shared memory, [component][thread], which no other thread touches. Sums over lanes are
// butterflies, whose result is the same in all of them, so every lane draws the same spin; there is no barrier.
// a_k and ln sigmoid are float64, since they grow with N; the exponentials of their differences are float32.
// Random words: stream 0, counter (sample, site / 4). Grid: as many blocks as the device holds, tiles strided.
//
// Floor on H200: K N exponential pairs and 8 K N float64 operations a sample. K = 8, N = 256, batch 100,000: 2e8
// component-sites, 1.6e9 float64 operations = 50 us at 34 T/s; the 4e8 exponentials take 0.1 ms at 4.2 T/s, and about
// 40 instructions a component-site 0.25 ms. Predicted: 0.3 ms.
#include <algorithm>
#include <stdexcept>

#include "common/draw.h"
#include "common/philox.h"
#include "cuda/masked_launch.cuh"
#include "cuda/runtime.cuh"

namespace vanfast::cuda {

namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;

template <int kLanes>
__device__ double largest(double x) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) x = fmax(x, __shfl_xor_sync(kAll, x, distance));
  return x;
}

template <int kLanes>
__device__ float total(float x) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAll, x, distance);
  return x;
}

template <int kLanes>
__global__ void __launch_bounds__(128, 6) mixture_scan_kernel(Mixture net, MaskedCall call) {
  VANFAST_SHARED(shared);
  double* a = reinterpret_cast<double*>(shared) + threadIdx.x;  // a[j * blockDim.x]: component kLanes * j + lane
  const int lane = threadIdx.x % kLanes, own = threadIdx.x / kLanes, samples = blockDim.x / kLanes;
  const double2* tables = reinterpret_cast<const double2*>(net.tables);
  const uint64_t first = call.first + (call.step ? static_cast<uint64_t>(*call.step) : 0);
  const int64_t tiles = (call.count + samples - 1) / samples;

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t n = tile * samples + own;
    const bool wanted = n < call.count;
    int8_t* row = call.spins + n * net.sites;
    for (int k = lane, j = 0; k < net.components; k += kLanes, ++j) a[j * blockDim.x] = net.log_weights[k];
    double log_q = 0.0;
    PhiloxWords random = {};
    for (int site = 0; site < net.sites; ++site) {
      const double2* table = tables + int64_t(site) * net.components;
      double up_most = -INFINITY, down_most = -INFINITY;
      for (int k = lane, j = 0; k < net.components; k += kLanes, ++j) {
        up_most = fmax(up_most, a[j * blockDim.x] + table[k].x);
        down_most = fmax(down_most, a[j * blockDim.x] + table[k].y);
      }
      up_most = largest<kLanes>(up_most), down_most = largest<kLanes>(down_most);
      float up_sum = 0.0f, down_sum = 0.0f;
      for (int k = lane, j = 0; k < net.components; k += kLanes, ++j) {
        up_sum += expf(static_cast<float>(a[j * blockDim.x] + table[k].x - up_most));
        down_sum += expf(static_cast<float>(a[j * blockDim.x] + table[k].y - down_most));
      }
      up_sum = total<kLanes>(up_sum), down_sum = total<kLanes>(down_sum);
      const float logit = static_cast<float>(up_most - down_most + static_cast<double>(logf(up_sum) - logf(down_sum)));

      bool up;
      if (call.given) {
        up = wanted && row[site] > 0;
      } else {
        if (site % 4 == 0) random = philox(call.seed, first + n, site / 4, kSpinStream);
        const uint32_t even = site & 2 ? random.word[2] : random.word[0],
                       odd = site & 2 ? random.word[3] : random.word[1];
        up = draw_spin(logit, site & 1 ? odd : even);
        if (wanted && lane == site % kLanes) row[site] = up ? 1 : -1;
      }
      log_q += log_sigmoid_term(logit, up);
      for (int k = lane, j = 0; k < net.components; k += kLanes, ++j) a[j * blockDim.x] += up ? table[k].x : table[k].y;
    }
    if (wanted && lane == 0) call.log_q[n] = log_q;
  }
}

template <int kLanes>
void launch_lanes(const Mixture& net, const MaskedCall& call, int shared_limit, uintptr_t stream) {
  const size_t each = size_t((net.components + kLanes - 1) / kLanes) * sizeof(double);
  int threads = 128;
  while (threads > 32 && threads * each > static_cast<size_t>(shared_limit)) threads /= 2;
  if (threads * each > static_cast<size_t>(shared_limit))
    throw std::invalid_argument("components = " + std::to_string(net.components) + " do not fit in shared memory");
  const int64_t tiles = (call.count + threads / kLanes - 1) / (threads / kLanes);
  const int resident = resident_blocks(mixture_scan_kernel<kLanes>, threads, threads * each);
  VANFAST_LAUNCH(mixture_scan_kernel<kLanes>, static_cast<int>(std::min<int64_t>(tiles, resident)), threads,
                 threads * each, stream, net, call);
}

}  // namespace

void launch_mixture_scan(const Mixture& net, const MaskedCall& call, int shared_limit, int device, uintptr_t stream) {
  if (net.sites < 1 || net.components < 1 || call.count < 0)
    throw std::invalid_argument("sites, components and count must be positive");
  if (call.count == 0) return;
  DeviceGuard guard(device);
  if (net.components == 1) return launch_lanes<1>(net, call, shared_limit, stream);
  if (net.components <= 4) return launch_lanes<4>(net, call, shared_limit, stream);
  if (net.components <= 64) return launch_lanes<8>(net, call, shared_limit, stream);
  launch_lanes<32>(net, call, shared_limit, stream);
}

}  // namespace vanfast::cuda
