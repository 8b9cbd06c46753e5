// Sampling from tabulated logits (H2ARNN's Curie-Weiss and exact networks), one launch for whole configurations.
//
//   logit_i = T_i[p],  p = sum_{j<i} [s_j = +1] (magnetisation: T_i has i + 1 entries) or sum_{j<i} [s_j = +1] 2^j
//   (prefix: 2^i entries)
//
// Nothing is computed but random words: an entry holds what a draw needs, its threshold and ln q of both outcomes, made
// from float64 logits. A lane draws one sample; its position in the table grows by a fixed step where the spin is up.
// ln q is a float64 sum in the order of the sites. 32 sites of a warp are read and written together, as bits.
// Shared memory: logits to keep, [warp][site][33], turned so that lanes write along a sample. Without them: none.
// Random words: stream 0, counter (sample, site / 4). Grid: as many blocks as the device holds, tiles strided.
//
// Floor on H200, CW_N, N = 100, batch 100,000: 10.8 MB written, 2.5 us at 4.3 TB/s. A warp has about 90 instructions a
// site and 24 for its spins' way to memory (counted in SASS): 33 us, and 24 warps a multiprocessor to wait for the
// table, 120 KB in the caches. Predicted: 40 us.
#include <algorithm>
#include <stdexcept>

#include "common/philox.h"
#include "cuda/h2arnn_launch.cuh"
#include "cuda/masked_spins.cuh"
#include "cuda/runtime.cuh"

namespace vanfast::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kRow = kWarp + 1;  // of logits: lanes reach any row or column without conflicts

// Rows of logits of a warp to call.keep, lanes along the sites of a word.
__device__ void store_logits(const float* rows, const SpinRows& spins, float* keep, int64_t n0, int word, int lane) {
  const int site = kWordSites * word + lane;
#pragma unroll 4
  for (int i = 0; i < kWarp; ++i)
    if (n0 + i < spins.count && site < spins.sites) keep[(n0 + i) * spins.sites + site] = rows[lane * kRow + i];
}

template <bool kPrefix>
__global__ void __launch_bounds__(kThreads) table_scan_kernel(LogitTables net, MaskedCall call) {
  VANFAST_SHARED(shared);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  float* rows = reinterpret_cast<float*>(shared) + warp * kWordSites * kRow;
  const SpinRows spins = {call.spins, nullptr, call.count, net.sites};
  const int64_t tiles = (call.count + kThreads - 1) / kThreads;
  const uint64_t first = call.first + (call.step ? static_cast<uint64_t>(*call.step) : 0);

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t n0 = tile * kThreads + warp * kWarp;
    if (n0 >= call.count) break;  // a whole warp; nobody waits for it
    double log_q = 0.0;
    int64_t entries = 0, at = 0;  // of the sites before; position in the site's own
    PhiloxWords random = {};
    for (int word = 0; kWordSites * word < net.sites; ++word) {
      const uint32_t given = call.given ? load_word(spins, n0, word, lane) : 0u;
      uint32_t bits = 0;
      const int end = min(kWordSites, net.sites - kWordSites * word);
      for (int j = 0; j < end; ++j) {
        const int site = kWordSites * word + j;
        const int64_t entry = entries + at;
        bool up;
        if (call.given) {
          up = !(given >> bit_of_site(j) & 1u);
        } else {
          if (j % 4 == 0) random = philox(call.seed, first + n0 + lane, site / 4, kSpinStream);
          const uint32_t even = j & 2 ? random.word[2] : random.word[0], odd = j & 2 ? random.word[3] : random.word[1];
          const int64_t rule = __ldg(net.rules + entry);
          up = ((j & 1 ? odd : even) < static_cast<uint32_t>(rule)) != (rule >> 32 != 0);
        }
        log_q += __ldg(net.log_q + 2 * entry + up);
        if (call.keep)
          rows[j * kRow + lane] = static_cast<float>(__ldg(net.log_q + 2 * entry + 1) - __ldg(net.log_q + 2 * entry));
        bits |= up ? 0u : 1u << bit_of_site(j);
        entries += kPrefix ? int64_t(1) << site : site + 1;
        at += up ? (kPrefix ? int64_t(1) << site : 1) : 0;
      }
      if (!call.given) store_word(spins, n0, word, lane, bits);
      if (call.keep) {
        __syncwarp();
        store_logits(rows, spins, call.keep, n0, word, lane);
        __syncwarp();
      }
    }
    if (n0 + lane < call.count) call.log_q[n0 + lane] = log_q;
  }
}

template <bool kPrefix>
void launch(const LogitTables& net, const MaskedCall& call, uintptr_t stream) {
  const size_t bytes = call.keep ? size_t(kThreads) * kRow * sizeof(float) : 0;
  const int64_t tiles = (call.count + kThreads - 1) / kThreads;
  const int resident = resident_blocks(table_scan_kernel<kPrefix>, kThreads, bytes);
  VANFAST_LAUNCH(table_scan_kernel<kPrefix>, static_cast<int>(std::min<int64_t>(tiles, resident)), kThreads, bytes,
                 stream, net, call);
}

}  // namespace

void launch_table_scan(const LogitTables& net, const MaskedCall& call, int device, uintptr_t stream) {
  if (net.sites < 1 || call.count < 0) throw std::invalid_argument("sites and count must be positive");
  if (net.prefix && net.sites > 30)
    throw std::invalid_argument("sites = " + std::to_string(net.sites) + ": at most 30 have a table of prefixes");
  if (call.count == 0) return;
  DeviceGuard guard(device);
  return net.prefix ? launch<true>(net, call, stream) : launch<false>(net, call, stream);
}

}  // namespace vanfast::cuda
