// Sampling of nested log-sigmoids (H2ARNN's SK networks), one launch for whole configurations.
//
//   u_l = sum_{s<i} J_sl x_s,   logit_i = bias_i + direct_i u_i + sum_{l>i} sum_{e=0,1} r_e Y_e(u_l),
//   Y = lns(b_k + w_k ... lns(b_0 + w_0 u_l)),   lns = ln sigmoid
//
// Four neighbouring lanes, a quad, draw kSamples = 4 samples (or 1, where a batch is small): lane r owns the fields of
// the sites l = r mod 4 of all of them, so nobody else touches these, and a parameter that is read once serves 4
// samples. A site is one pass over its later sites, a step of four at a time: the field takes in the column of the spin
// drawn last, one FMA while it is in a register, and goes through both branches. The quad's four partial sums are added
// as (0 + 1) + (2 + 3), with 4 samples while they are scattered, so that lane r draws sample r. Sums have that order in
// every layout: a sample depends neither on its tile nor on the batch.
// Shared memory: headers [site][4]; the steps as one stream of chunks through a ring, one barrier a chunk; fields
//   [site][sample], rows 8 floats more than a multiple of 32, so that four lanes with sites of all remainders mod 4 and
//   their samples meet no bank twice.
// Packed by the caller: pairs (i, l) whose field no site before i reaches are constants and part of the bias; pairs
// that
//   are not in use are left out. A record is J_{i-1,l}, l, then w_0, b_0, ..., r of both branches, 4 (levels + 1)
//   floats, in base 2 (log_sigmoid.cuh): w_0 and all b times log2 e, r times ln 2. A missing fourth of a step has r = J
//   = 0.
// Random words: stream 0, counter (sample, site / 4). Grid: as many blocks as the device holds, tiles strided.
//
// Floor on H200 for SK_1RSB (levels = 2), four log-sigmoids a pair: with two instructions of the special function unit
// each (4.2 T/s) N = 100 takes 3.9e4, batch 100,000 0.94 ms; as it is here one, 0.47 ms, and FLOOR_INSTRUCTIONS
#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "common/draw.h"
#include "common/philox.h"
#include "cuda/h2arnn_launch.cuh"
#include "cuda/log_sigmoid.cuh"
#include "cuda/masked_spins.cuh"
#include "cuda/mma.cuh"
#include "cuda/runtime.cuh"

namespace vanfast::cuda {

namespace {

constexpr int kQuad = 4;
constexpr int kStages = 3;
constexpr int kThreads[] = {256, 192, 128, 64, 32};  // of a block
constexpr int kFold = 512;  // sites whose probabilities are multiplied before a logarithm is taken
constexpr unsigned kAll = 0xFFFFFFFFu;

__host__ __device__ constexpr int row_floats(int samples) { return samples + (40 - samples % 32) % 32; }
__host__ __device__ constexpr int step_floats(int levels) { return 4 * kQuad * (levels + 1); }
__host__ __device__ constexpr int field_rows(int sites) { return (sites + kQuad - 1) / kQuad * kQuad; }

// The stream of steps through a ring in shared memory.
struct Steps {
  const float* records;
  unsigned char* ring;
  int64_t chunks, left, next = 0;  // in the stream; still to be asked for; the next to be asked for
  int bytes;                       // of a chunk
  int fill = 0, use = 0;

  __device__ void ask() {
    if (left > 0) {
      const unsigned char* from = reinterpret_cast<const unsigned char*>(records) + next * bytes;
      for (int i = 16 * threadIdx.x; i < bytes; i += 16 * blockDim.x)
        copy_async16(ring + fill * bytes + i, from + i, true);
      if (++next == chunks) next = 0;
      --left;
    }
    copy_async_commit();
    fill = (fill + 1) % kStages;
  }

  // The next chunk, ready for all warps; what they have left behind is filled again.
  __device__ const float* take() {
    copy_async_wait<kStages - 2>();
    __syncthreads();
    const unsigned char* chunk = ring + use * bytes;
    use = (use + 1) % kStages;
    ask();
    return reinterpret_cast<const float*>(chunk);
  }
};

// A lane's record in a step: in registers, or where the levels are many (kLevels = 0) read when used.
template <int kLevels>
struct Record {
  float p[4 * (kLevels + 1)];
  __device__ explicit Record(const float* at) {
#pragma unroll
    for (int q = 0; q <= kLevels; ++q) {
      const float4 four = *reinterpret_cast<const float4*>(at + 4 * kQuad * q);
      p[4 * q] = four.x, p[4 * q + 1] = four.y, p[4 * q + 2] = four.z, p[4 * q + 3] = four.w;
    }
  }
  __device__ float operator[](int j) const { return p[j]; }
};

template <>
struct Record<0> {
  const float* at;
  __device__ explicit Record(const float* at) : at(at) {}
  __device__ float operator[](int j) const { return at[j / 4 * 4 * kQuad + j % 4]; }
};

// Y of the branch whose parameters begin at `from`, in base 2.
template <int kLevels>
__device__ float nest(const Record<kLevels>& record, int from, int levels, float y) {
#pragma unroll
  for (int j = 0; j < (kLevels ? kLevels : levels); ++j)
    y = log2_sigmoid(fmaf(record[from + 2 * j], y, record[from + 2 * j + 1]));
  return y;
}

// One later site: its fields take in the spins x of the site before, and its read-outs are added to `sum`.
template <int kLevels, int kSamples>
__device__ void add_later(const float* at, int levels, float* fields, int row, const float (&x)[kSamples],
                          float (&sum)[kSamples]) {
  const Record<kLevels> record(at);
  const int branch = 2 * (kLevels ? kLevels : levels) + 1;
  float* field = fields + __float_as_int(record[1]) * row;
  float u[kSamples];
  if constexpr (kSamples == 4) {
    const float4 four = *reinterpret_cast<const float4*>(field);
    u[0] = four.x, u[1] = four.y, u[2] = four.z, u[3] = four.w;
  } else {
    u[0] = *field;
  }
#pragma unroll
  for (int s = 0; s < kSamples; ++s) u[s] = fmaf(record[0], x[s], u[s]);
  if constexpr (kSamples == 4)
    *reinterpret_cast<float4*>(field) = make_float4(u[0], u[1], u[2], u[3]);
  else
    *field = u[0];
#pragma unroll
  for (int e = 0; e < 2; ++e)
#pragma unroll
    for (int s = 0; s < kSamples; ++s) {
      const int from = 2 + e * branch;
      sum[s] = fmaf(record[from + branch - 1], nest<kLevels>(record, from, levels, u[s]), sum[s]);
    }
}

// The quad's sum of its one sample, or of sample `lane` of four.
template <int kSamples>
__device__ float total(const float (&sum)[kSamples], int lane) {
  if constexpr (kSamples == 1) {
    const float two = sum[0] + __shfl_xor_sync(kAll, sum[0], 1);
    return two + __shfl_xor_sync(kAll, two, 2);
  } else {
    const bool odd = lane & 1, high = lane & 2;
    const float low2 = (odd ? sum[1] : sum[0]) + __shfl_xor_sync(kAll, odd ? sum[0] : sum[1], 1);
    const float high2 = (odd ? sum[3] : sum[2]) + __shfl_xor_sync(kAll, odd ? sum[2] : sum[3], 1);
    return (high ? high2 : low2) + __shfl_xor_sync(kAll, high ? low2 : high2, 2);
  }
}

// The spins of the quad's samples from the lanes that drew them.
template <int kSamples>
__device__ void share(bool up, float (&x)[kSamples]) {
  if constexpr (kSamples == 1) {
    x[0] = up ? 1.0f : -1.0f;
  } else {
    const unsigned votes = __ballot_sync(kAll, up) >> (threadIdx.x % kWarp / kQuad * kQuad);
#pragma unroll
    for (int s = 0; s < kSamples; ++s) x[s] = votes >> s & 1u ? 1.0f : -1.0f;
  }
}

template <int kLevels, int kSamples>
__global__ void __launch_bounds__(256, 2) nest_scan_kernel(Nest net, MaskedCall call) {
  VANFAST_SHARED(shared);
  const int lane = threadIdx.x % kQuad, quad = threadIdx.x / kQuad, samples = blockDim.x / kQuad * kSamples;
  const int own = kSamples == 1 ? quad : threadIdx.x, row = row_floats(samples);
  const int step = step_floats(net.levels), rows = field_rows(net.sites);
  const int64_t tiles = (call.count + samples - 1) / samples;
  const int64_t my_tiles = (tiles - blockIdx.x + gridDim.x - 1) / gridDim.x;
  const uint64_t first = call.first + (call.step ? static_cast<uint64_t>(*call.step) : 0);

  float4* headers = reinterpret_cast<float4*>(shared);
  Steps steps = {net.records, shared + 16 * static_cast<size_t>(net.sites),
                 net.chunks,  my_tiles * net.chunks,
                 0,           4 * step * net.chunk_steps};
  float* fields = reinterpret_cast<float*>(steps.ring + kStages * size_t(steps.bytes)) + quad * kSamples;
  for (int i = 0; i < kStages - 1; ++i) steps.ask();
  for (int site = threadIdx.x; site < net.sites; site += blockDim.x)
    headers[site] = reinterpret_cast<const float4*>(net.headers)[site];
  __syncthreads();

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t n = tile * samples + own;
    const bool wanted = n < call.count, writes = wanted && (kSamples == 4 || lane == 0);
    int8_t* spins = call.spins + n * net.sites;
    for (int l = lane; l < rows; l += kQuad)
#pragma unroll
      for (int s = 0; s < kSamples; ++s) fields[l * row + s] = 0.0f;
    const float* chunk = nullptr;
    int at = net.chunk_steps;  // the next step in the chunk; a tile begins with a new one
    float x[kSamples] = {};
    PhiloxWords random = {};
    LogProbability log_q;
    for (int site = 0; site < net.sites; ++site) {
      const bool given = call.given && wanted && spins[site] > 0;  // asked for early
      const float4 header = headers[site];
      float sum[kSamples] = {};
      if (site % kQuad == lane)
#pragma unroll
        for (int s = 0; s < kSamples; ++s)
          sum[s] = fmaf(header.y, fmaf(header.z, x[s], fields[site * row + s]), header.x);
      for (int left = __float_as_int(header.w); left > 0;) {
        if (at == net.chunk_steps) chunk = steps.take(), at = 0;
        const int now = min(left, net.chunk_steps - at);
        for (int i = 0; i < now; ++i)
          add_later<kLevels>(chunk + (at + i) * step + 4 * lane, net.levels, fields, row, x, sum);
        at += now, left -= now;
      }
      const float logit = total<kSamples>(sum, lane);

      if (!call.given && site % 4 == 0) random = philox(call.seed, first + n, site / 4, kSpinStream);
      const uint32_t even = site & 2 ? random.word[2] : random.word[0],
                     odd = site & 2 ? random.word[3] : random.word[1];
      const bool up = call.given ? given : draw_spin(logit, site & 1 ? odd : even);
      share(up, x);
      log_q.add(logit, up);
      if (site % kFold == kFold - 1) log_q.fold();
      if (writes && !call.given) spins[site] = up ? 1 : -1;
      if (writes && call.keep) call.keep[n * net.sites + site] = logit;
    }
    log_q.fold();
    if (writes) call.log_q[n] = log_q.sum;
  }
}

size_t shared_bytes(const Nest& net, int threads, int samples) {
  const size_t fields = size_t(field_rows(net.sites)) * row_floats(threads / kQuad * samples) * sizeof(float);
  return size_t(net.sites) * 16 + size_t(kStages) * net.chunk_steps * step_floats(net.levels) * 4 + fields;
}

struct Launch {
  int threads, samples;
  int64_t resident, tiles;  // blocks that the device holds at once; tiles of the batch
};

// The block size that holds most samples at once; where those are more than there are, the smallest.
template <int kLevels, int kSamples>
Launch arranged(const Nest& net, int64_t count, int threads, size_t limit) {
  Launch best = {0, kSamples, 0, 0};
  int64_t most = 0;
  for (int candidate : kThreads) {
    if ((threads && threads != candidate) || shared_bytes(net, candidate, kSamples) > limit) continue;
    const int tile = candidate / kQuad * kSamples;
    const int64_t resident =
        resident_blocks(nest_scan_kernel<kLevels, kSamples>, candidate, shared_bytes(net, candidate, kSamples));
    const int64_t now = std::min(resident * tile, (count + tile - 1) / tile * tile), tiles = (count + tile - 1) / tile;
    const bool idle = best.threads && best.tiles < best.resident;
    if (idle || now > most) best = {candidate, kSamples, resident, tiles}, most = now;
  }
  return best;
}

template <int kLevels, int kSamples>
void launch_arranged(const Nest& net, const MaskedCall& call, const Launch& how, uintptr_t stream) {
  VANFAST_LAUNCH(nest_scan_kernel<kLevels, kSamples>, static_cast<int>(std::min(how.tiles, how.resident)), how.threads,
                 shared_bytes(net, how.threads, kSamples), stream, net, call);
}

template <int kLevels>
void launch_levels(const Nest& net, const MaskedCall& call, const NestLayout& layout, size_t limit, uintptr_t stream) {
  Launch four = {}, one = {};
  if (layout.samples != 1) four = arranged<kLevels, 4>(net, call.count, layout.threads, limit);
  // With one sample a quad there are four times as many threads, which a small batch needs and a large one pays for.
  const bool small = !four.threads || 2 * four.tiles < four.resident;
  if (layout.samples != 4 && small) one = arranged<kLevels, 1>(net, call.count, layout.threads, limit);
  if (one.threads) return launch_arranged<kLevels, 1>(net, call, one, stream);
  if (four.threads) return launch_arranged<kLevels, 4>(net, call, four, stream);
  throw std::invalid_argument("sites = " + std::to_string(net.sites) + " with levels = " + std::to_string(net.levels) +
                              ": the fields and parameters of a block do not fit in shared memory");
}

}  // namespace

void launch_nest_scan(const Nest& net, const MaskedCall& call, const NestLayout& layout, int shared_limit, int device,
                      uintptr_t stream) {
  if (net.sites < 1 || net.levels < 1 || net.chunk_steps < 1 || net.chunks < 0 || call.count < 0)
    throw std::invalid_argument("sites, levels, chunks, chunk_steps and count must be positive");
  if (layout.samples != 0 && layout.samples != 1 && layout.samples != 4)
    throw std::invalid_argument("samples = " + std::to_string(layout.samples) + " must be 0, 1 or 4");
  if (layout.threads && std::find(std::begin(kThreads), std::end(kThreads), layout.threads) == std::end(kThreads))
    throw std::invalid_argument("threads = " + std::to_string(layout.threads) + " must be 0, 32, 64, 128, 192 or 256");
  if (call.count == 0) return;
  DeviceGuard guard(device);
  switch (net.levels) {
    case 1:
      return launch_levels<1>(net, call, layout, shared_limit, stream);
    case 2:
      return launch_levels<2>(net, call, layout, shared_limit, stream);
    case 3:
      return launch_levels<3>(net, call, layout, shared_limit, stream);
    default:
      return launch_levels<0>(net, call, layout, shared_limit, stream);
  }
}

}  // namespace vanfast::cuda
