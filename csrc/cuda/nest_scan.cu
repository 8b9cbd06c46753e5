// Sampling of nested log-sigmoids (H2ARNN's SK networks), one launch for whole configurations.
//
//   u_l = sum_{s<i} J_sl x_s,   logit_i = bias_i + direct_i u_i + sum_{l>i} sum_{e=0,1} r_e Y_e(u_l),
//   Y = lns(b_k + w_k ... lns(b_0 + w_0 u_l)),   lns = ln sigmoid
//
// Lanes share the later sites of their samples. Site l has row N - 1 - l, so that the last steps are full. Lane r of
// four has rows r mod 4 and draws four samples with the others: a parameter is read once for four. Where a batch is too
// small for that, 16 lanes draw one sample, lane r + 4 q with the rows of that remainder mod 16, in a quarter of the
// time. The field of a later site is touched by its lane alone, so lanes need no barrier.
// A site is one pass over its later sites, a step of four at a time: the field takes in the column of the spin drawn
// last, one FMA while it is in a register, and goes through both branches. Sums have one order in both layouts: over
// the rows of each remainder mod 16; the four quarters q one after another; then (0 + 1) + (2 + 3) over r, with four
// samples while they are scattered, so that lane r draws sample r. A sample depends neither on its tile nor its batch.
// Shared memory: headers [site]; the steps as a stream of chunks (for 16 lanes: of sites) through a ring, one barrier a
//   chunk; fields [row][sample] in rows of 32 m + 8 floats, for 16 lanes [sample][row] in rows of 32 m + 16: lanes with
//   rows of all remainders then meet no bank twice.
// Packed by the caller: pairs (i, l) whose field no site before i reaches are constants and part of the bias; pairs
//   that are not in use are left out. A record is J_{i-1,l}, l's row, then w_0, b_0, ..., r of both branches: 4 (levels
//   + 1) floats, in base 2 (log_sigmoid.cuh): w_0 and all b times log2 e, r times ln 2. Four are a step; where one is
//   missing, r = J = 0. A site's steps come quarter after quarter.
// Random words: stream 0, counter (sample, site / 4). Grid: as many blocks as the device holds, tiles strided.
//
// Floor on H200 for SK_1RSB (levels = 2), batch 100,000, four log-sigmoids a pair: with two instructions of the special
// function unit each (4.2 T/s) 0.92 ms at N = 100 and 3.8 ms at N = 200; with one, as here, half of that. A warp of 32
// samples has 201 instructions a step (112 and 290 for one and three levels, counted in SASS for sm_90), of which 176
// are log-sigmoids, and about 330 a site: 2.8e5 at N = 100, where a sample has 1250 steps, 1.07e6 at N = 200. At one
// instruction a cycle and scheduler (1.98 GHz) 0.05, 0.85 and 3.2 ms for N = 20, 100 and 200; predicted 0.065, 1.0
// and 3.8 ms. Fields leave room for 12 warps a multiprocessor at N = 100 and 8 at N = 200. A batch of 2000, N = 100:
// four lanes would keep 63 of 528 schedulers busy for 0.15 ms; 16 lanes a sample wait for 1150 cycles a site, predicted
// 0.07 ms.
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
constexpr int kWide = 16;
constexpr int kStages = 3;
constexpr int kThreads[] = {256, 192, 128, 64, 32};  // of a block
constexpr int kFold = 512;  // sites whose probabilities are multiplied before a logarithm is taken
constexpr unsigned kAll = 0xFFFFFFFFu;

__host__ __device__ constexpr int step_floats(int levels) { return 4 * kQuad * (levels + 1); }
__host__ __device__ constexpr int padded(int n, int to) { return (n + to - 1) / to * to; }

// kLanes lanes have kSamples samples.
template <int kLanes>
constexpr int kSamples = kLanes == kQuad ? 4 : 1;

// Floats of a row of fields, and of all.
template <int kLanes>
__host__ __device__ constexpr int row_floats(int sites, int samples) {
  return kLanes == kQuad ? padded(samples, 32) + 8 : padded(sites, 32) + 16;
}
template <int kLanes>
__host__ __device__ constexpr size_t field_floats(int sites, int samples) {
  return size_t(row_floats<kLanes>(sites, samples)) * (kLanes == kQuad ? padded(sites, kQuad) : samples);
}

struct alignas(16) Header {
  float bias, direct, coupling, unused;
  int steps[4];  // of the quarters
  __device__ int before(int quarter) const {
    int sum = 0;
#pragma unroll
    for (int q = 0; q < 4; ++q) sum += q < quarter ? steps[q] : 0;
    return sum;
  }
};

// The stream of steps through a ring in shared memory: chunks of one size, or with 16 lanes sites.
template <int kLanes>
struct Steps {
  const float* records;
  const Header* headers;
  unsigned char* ring;
  int64_t chunks, left;  // in the stream; still to be asked for
  int step, bytes;       // floats of a step; bytes of a chunk, or of the site with most steps
  int64_t next = 0, offset = 0;
  int fill = 0, use = 0;

  __device__ void ask() {
    if (left > 0) {
      const int now = kLanes == kQuad ? bytes : 4 * step * headers[next].before(4);
      const unsigned char* from = reinterpret_cast<const unsigned char*>(records) + offset;
      for (int i = 16 * threadIdx.x; i < now; i += 16 * blockDim.x)
        copy_async16(ring + size_t(fill) * bytes + i, from + i, true);
      offset += now;
      if (++next == chunks) next = 0, offset = 0;
      --left;
    }
    copy_async_commit();
    fill = (fill + 1) % kStages;
  }

  // The next chunk, ready for all warps; what they have left behind is filled again.
  __device__ const float* take() {
    copy_async_wait<kStages - 2>();
    __syncthreads();
    const unsigned char* chunk = ring + size_t(use) * bytes;
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
template <int kLevels, int kCount>
__device__ void add_later(const float* at, int levels, float* fields, int stride, const float (&x)[kCount],
                          float (&sum)[kCount]) {
  const Record<kLevels> record(at);
  const int branch = 2 * (kLevels ? kLevels : levels) + 1;
  float* field = fields + __float_as_int(record[1]) * stride;
  float u[kCount];
  if constexpr (kCount == 4) {
    const float4 four = *reinterpret_cast<const float4*>(field);
    u[0] = four.x, u[1] = four.y, u[2] = four.z, u[3] = four.w;
  } else {
    u[0] = *field;
  }
#pragma unroll
  for (int s = 0; s < kCount; ++s) u[s] = fmaf(record[0], x[s], u[s]);
  if constexpr (kCount == 4)
    *reinterpret_cast<float4*>(field) = make_float4(u[0], u[1], u[2], u[3]);
  else
    *field = u[0];
#pragma unroll
  for (int e = 0; e < 2; ++e)
#pragma unroll
    for (int s = 0; s < kCount; ++s) {
      const int from = 2 + e * branch;
      sum[s] = fmaf(record[from + branch - 1], nest<kLevels>(record, from, levels, u[s]), sum[s]);
    }
}

// The logits of four samples from a quad's sums; lane r gets that of sample r.
__device__ float total(const float (&sum)[4], int lane) {
  const bool odd = lane & 1, high = lane & 2;
  const float low2 = (odd ? sum[1] : sum[0]) + __shfl_xor_sync(kAll, odd ? sum[0] : sum[1], 1);
  const float high2 = (odd ? sum[3] : sum[2]) + __shfl_xor_sync(kAll, odd ? sum[2] : sum[3], 1);
  return (high ? high2 : low2) + __shfl_xor_sync(kAll, high ? low2 : high2, 2);
}

// The logit of one sample from its own site's share, which lane `from` has, and the quarters' sums of 16 lanes.
__device__ float total(float own, int from, float quarter, int lane) {
  const float share = __shfl_sync(kAll, own, from, kWide);
  float sum = lane % kQuad == from % kQuad ? share : 0.0f;
#pragma unroll
  for (int q = 0; q < 4; ++q) sum += __shfl_sync(kAll, quarter, kQuad * q + lane % kQuad, kWide);
  sum += __shfl_xor_sync(kAll, sum, 1);
  return sum + __shfl_xor_sync(kAll, sum, 2);
}

// One site of four samples: the logit of the lane's own. `at` is the next step in the chunk.
template <int kLevels>
__device__ float site_logit(const Nest& net, const Header& header, int site, Steps<kQuad>& steps, const float*& chunk,
                            int& at, float* fields, int stride, const float (&x)[4], int lane) {
  const int row = net.sites - 1 - site;
  float sum[4] = {};
  if (row % kQuad == lane)
#pragma unroll
    for (int s = 0; s < 4; ++s)
      sum[s] = fmaf(header.direct, fmaf(header.coupling, x[s], fields[row * stride + s]), header.bias);
  for (int q = 0; q < 4; ++q) {
    float quarter[4] = {};
    for (int left = header.steps[q]; left > 0;) {
      if (at == net.chunk_steps) chunk = steps.take(), at = 0;
      const int now = min(left, net.chunk_steps - at);
      const float* record = chunk + at * steps.step + 4 * lane;
      for (int i = 0; i < now; ++i, record += steps.step)
        add_later<kLevels>(record, net.levels, fields, stride, x, quarter);
      at += now, left -= now;
    }
#pragma unroll
    for (int s = 0; s < 4; ++s) sum[s] += quarter[s];
  }
  return total(sum, lane);
}

// One site of one sample.
template <int kLevels>
__device__ float site_logit(const Nest& net, const Header& header, int site, Steps<kWide>& steps, const float*&, int&,
                            float* fields, int stride, const float (&x)[1], int lane) {
  const int row = net.sites - 1 - site, from = row % kWide;
  float own = 0.0f, quarter[1] = {};
  if (from == lane) own = fmaf(header.direct, fmaf(header.coupling, x[0], fields[row * stride]), header.bias);
  const float* record = steps.take() + header.before(lane / kQuad) * steps.step + 4 * (lane % kQuad);
  for (int left = header.steps[lane / kQuad]; left > 0; --left, record += steps.step)
    add_later<kLevels>(record, net.levels, fields, stride, x, quarter);
  return total(own, from, quarter[0], lane);
}

// The spins of four samples from the lanes that drew them.
__device__ void share(bool up, float (&x)[4]) {
  const unsigned votes = __ballot_sync(kAll, up) >> (threadIdx.x % kWarp / kQuad * kQuad);
#pragma unroll
  for (int s = 0; s < 4; ++s) x[s] = votes >> s & 1u ? 1.0f : -1.0f;
}

__device__ void share(bool up, float (&x)[1]) { x[0] = up ? 1.0f : -1.0f; }

template <int kLevels, int kLanes>
__global__ void __launch_bounds__(256, 2) nest_scan_kernel(Nest net, MaskedCall call) {
  VANFAST_SHARED(shared);
  constexpr int kCount = kSamples<kLanes>;
  constexpr bool kFour = kLanes == kQuad;
  const int lane = threadIdx.x % kLanes, group = threadIdx.x / kLanes, samples = blockDim.x / kLanes * kCount;
  const int own = kFour ? threadIdx.x : group, row = row_floats<kLanes>(net.sites, samples), stride = kFour ? row : 1;
  const int64_t tiles = (call.count + samples - 1) / samples, chunks = kFour ? net.chunks : net.sites;
  const int64_t my_tiles = (tiles - blockIdx.x + gridDim.x - 1) / gridDim.x;
  const uint64_t first = call.first + (call.step ? static_cast<uint64_t>(*call.step) : 0);

  Header* headers = reinterpret_cast<Header*>(shared);
  for (int i = threadIdx.x; i < 2 * net.sites; i += blockDim.x)
    reinterpret_cast<float4*>(shared)[i] = reinterpret_cast<const float4*>(net.headers)[i];
  __syncthreads();
  const int step = step_floats(net.levels);
  Steps<kLanes> steps = {net.records,
                         headers,
                         shared + sizeof(Header) * net.sites,
                         chunks,
                         my_tiles * chunks,
                         step,
                         4 * step * (kFour ? net.chunk_steps : net.site_steps)};
  float* fields = reinterpret_cast<float*>(steps.ring + kStages * size_t(steps.bytes)) + group * (kFour ? 4 : row);
  for (int i = 0; i < kStages - 1; ++i) steps.ask();

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t n = tile * samples + own;
    const bool wanted = n < call.count, writes = wanted && (kFour || lane == 0);
    int8_t* spins = call.spins + n * net.sites;
    for (int l = lane; l < padded(net.sites, kQuad); l += kLanes)
#pragma unroll
      for (int s = 0; s < kCount; ++s) fields[l * stride + s] = 0.0f;
    const float* chunk = nullptr;
    int at = net.chunk_steps;  // a tile begins with a new chunk
    float x[kCount] = {};
    PhiloxWords random = {};
    LogProbability log_q;
    for (int site = 0; site < net.sites; ++site) {
      const bool given = call.given && wanted && spins[site] > 0;  // asked for early
      const float logit = site_logit<kLevels>(net, headers[site], site, steps, chunk, at, fields, stride, x, lane);

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

template <int kLanes>
size_t shared_bytes(const Nest& net, int threads) {
  const size_t steps = size_t(kStages) * (kLanes == kQuad ? net.chunk_steps : net.site_steps);
  const size_t fields = field_floats<kLanes>(net.sites, threads / kLanes * kSamples<kLanes>);
  return sizeof(Header) * net.sites + 4 * (steps * step_floats(net.levels) + fields);
}

struct Launch {
  int threads;
  int64_t resident, tiles;  // blocks that the device holds at once; tiles of the batch
};

template <int kLevels, int kLanes>
Launch of_threads(const Nest& net, int64_t count, int threads) {
  const int tile = threads / kLanes * kSamples<kLanes>;
  return {threads, resident_blocks(nest_scan_kernel<kLevels, kLanes>, threads, shared_bytes<kLanes>(net, threads)),
          (count + tile - 1) / tile};
}

// Four lanes: the block size that holds most samples at once; where those are more than there are, the smallest.
template <int kLevels>
Launch arranged_quads(const Nest& net, int64_t count, int wish, size_t limit) {
  Launch best = {};
  int64_t most = 0;
  for (int threads : kThreads) {
    if ((wish && wish != threads) || shared_bytes<kQuad>(net, threads) > limit) continue;
    const Launch now = of_threads<kLevels, kQuad>(net, count, threads);
    const int64_t samples = std::min(now.resident, now.tiles) * threads;
    const bool idle = best.threads && best.tiles < best.resident;
    if (idle || samples > most) best = now, most = samples;
  }
  return best;
}

// 16 lanes: 8 samples a block, which share the copying of the parameters; fewer where they do not fit.
template <int kLevels>
Launch arranged_wide(const Nest& net, int64_t count, int wish, size_t limit) {
  for (int threads : kThreads)
    if ((wish ? wish == threads : threads <= 128) && shared_bytes<kWide>(net, threads) <= limit)
      return of_threads<kLevels, kWide>(net, count, threads);
  return {};
}

template <int kLevels, int kLanes>
void launch_arranged(const Nest& net, const MaskedCall& call, const Launch& how, uintptr_t stream) {
  VANFAST_LAUNCH(nest_scan_kernel<kLevels, kLanes>, static_cast<int>(std::min(how.tiles, how.resident)), how.threads,
                 shared_bytes<kLanes>(net, how.threads), stream, net, call);
}

template <int kLevels>
void launch_levels(const Nest& net, const MaskedCall& call, const NestLayout& layout, size_t limit, uintptr_t stream) {
  Launch quads = {}, wide = {};
  if (layout.lanes != kQuad) wide = arranged_wide<kLevels>(net, call.count, layout.threads, limit);
  // 16 lanes have more work in all, and less to wait for: as long as the device holds all samples at once.
  const bool few = wide.threads && wide.tiles <= wide.resident;
  if (layout.lanes != kWide && !few) quads = arranged_quads<kLevels>(net, call.count, layout.threads, limit);
  if (quads.threads) return launch_arranged<kLevels, kQuad>(net, call, quads, stream);
  if (wide.threads) return launch_arranged<kLevels, kWide>(net, call, wide, stream);
  throw std::invalid_argument("sites = " + std::to_string(net.sites) + " with levels = " + std::to_string(net.levels) +
                              ": the fields and parameters of a block do not fit in shared memory");
}

}  // namespace

void launch_nest_scan(const Nest& net, const MaskedCall& call, const NestLayout& layout, int shared_limit, int device,
                      uintptr_t stream) {
  if (net.sites < 1 || net.levels < 1 || net.chunk_steps < 1 || net.chunks < 0 || net.site_steps < 0 || call.count < 0)
    throw std::invalid_argument("sites, levels, chunks, chunk_steps, site_steps and count must be positive");
  if (layout.lanes != 0 && layout.lanes != kQuad && layout.lanes != kWide)
    throw std::invalid_argument("lanes = " + std::to_string(layout.lanes) + " must be 0, 4 or 16");
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
