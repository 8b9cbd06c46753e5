// Sampling of a stack of masked linear layers (VAN dense with channels and residual blocks, MADE), one launch.
//
//   z_l = b_l + W_l PReLU(z_{l-1}) [+ z_{l-2}],   z_0 = b_0 + W_0 s,   the last layer's unit p is the logit of site p
//
// Units are sorted by degree, so a block of consecutive sites owns a run of units in every layer. A thread block owns a
// tile of 32 * groups consecutive samples; of its groups * parts warps each works for 32 samples, lanes are samples.
// prefix: z of the block's units of all layers from what finished blocks hold: tasks of 16 units x 32 samples on tensor
//   cores, shared out among warps, no barrier inside. Weights are in fragment order and read once a task, 16 bytes a
//   lane; activations are rows [unit][sample] as mma wants its B operand. Both come straight from L1, L2 or shared
//   memory: staging them would cost a barrier a chunk, and tasks of unequal depth could not run side by side.
//   Products: spins x weights as 3 (fp32), 2 (tf32), 1 (bf16) exact bf16 products; hidden as 3 tf32 products of split
//   operands (fp32), 1 (tf32), 1 of bf16.
// scan: a list of stages made once for the network's shape. A stage takes the units of one degree in one layer, which
//   are final, activates them and pushes what they give to the block's later units of the next layer; the last layer's
//   stage draws (all parts of a group alike) and pushes the spin. Parts share the units pushed to; one barrier a stage.
// star prior (star_prior.cuh; kernels of their own): a sample's later sites are dealt to 8 slots, slots to parts. As
// soon
//   as a spin is drawn each part takes it up in its fields, [site][sample] in the workspace, and leaves its slots'
//   share of the next site's logit in shared memory, one of two buffers in turn; the draw adds 8 numbers.
// segments: finished activations go to rows for later prefixes, pre-activations to the caller if kept.
// Every sum has one order, whatever groups and parts are, and a column of a product does not depend on the others.
// Shared memory: spins as bits [word][sample], random words [site of block][sample], z [unit of block][sample + 1], the
// block's own weights, and activations [unit][sample + 8] where they fit, else in the caller's workspace (they stay in
// L2). Random words: stream 0, counter (sample, site / 4). Grid: as many blocks as the device holds, tiles strided.
//
// Floor on H200 for dense 3/4, N = 256, batch 1000: 1.6 MFLOP a sample, x 3 in tf32: 4.7 GFLOP, 10 us; but 32 tiles
// keep 32 multiprocessors busy, and what follows one another counts: 16 blocks x 64 steps of 130 cycles in prefixes,
// 768 stages of 250 cycles: 0.19 ms predicted. Batch 131,072: products at about a third of 495 TFLOP/s, 3.7 ms.
#include <algorithm>
#include <stdexcept>

#include "cuda/masked_products.cuh"
#include "cuda/star_prior.cuh"

namespace vanfast::cuda {

namespace {

constexpr int kChunk = 4;  // units activated together

// Where a launch keeps things, in bytes from the start of shared memory.
struct Places {
  int groups, parts;
  int words, z, weights, active;
  int star;          // what slots give to the next logit [2][slot][sample]
  bool staged;       // the block's own weights are copied to shared memory
  bool near_memory;  // activations lie in shared memory
  uint32_t* workspace;
  float* fields;  // of the star prior [site][sample]
};

__device__ inline int4 table_entry(const int* table, int width, int row, int quarter) {
  return __ldg(reinterpret_cast<const int4*>(table + int64_t(width) * row) + quarter);
}

struct Stage {
  int4 from;  // row of z, units, row for the sums with skip terms or -1, row to add or -1
  int4 to;    // row of z, units, weights, how far their rows are apart
  int4 what;  // first unit, site to be drawn or -1
};

__device__ inline Stage stage_of(const MaskedStack& net, int stage) {
  return {table_entry(net.stage_table, kStageInts, stage, 0), table_entry(net.stage_table, kStageInts, stage, 1),
          table_entry(net.stage_table, kStageInts, stage, 2)};
}

template <int kPrecision>
__device__ void run_task(const MaskedStack& net, int task, const uint32_t* bits, const uint32_t* active, float* z,
                         int samples, int lane) {
  const int4 where = table_entry(net.task_table, kTaskInts, task, 0);  // z row, rows, first unit, steps
  const int4 what = table_entry(net.task_table, kTaskInts, task, 1);   // weights, row of activations, inputs
  const int g = lane / 4, t = lane % 4;
  float acc[kColumns][4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int unit = g + 8 * (i / 2);
    const float bias = unit < where.y ? __ldg(net.bias + where.z + unit) : 0.0f;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) acc[c][i] = bias;
  }
  const uint4* weights = static_cast<const uint4*>(net.prefix) + what.x;
  if (what.y < 0)
    multiply_spins<kPrecision>(acc, weights, bits, samples, where.w, lane);
  else if (where.w > 0)
    multiply_units<kPrecision>(acc, weights, active + int64_t(what.y) * (samples + 8), samples + 8, where.w, what.z,
                               lane);
#pragma unroll
  for (int c = 0; c < kColumns; ++c)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int unit = g + 8 * (i / 2);
      if (unit < where.y) z[(where.x + unit) * (samples + 1) + 8 * c + 2 * t + i % 2] = acc[c][i];
    }
}

// The star prior's share of the logit of `site`, for a part's slots, once they have taken up the spin before it.
__device__ inline void star_shares(const MaskedStack& net, const Places& at, int site, float spin, float* fields,
                                   float* shares, int part) {
  const int samples = kWarp * at.groups;
#pragma unroll 1
  for (int slot = part; slot < kMaskedStarSlots; slot += at.parts)
    shares[((site & 1) * kMaskedStarSlots + slot) * samples] =
        star_step<kMaskedStarSlots>(net.star, site, slot, spin, fields, samples);
}

// A segment is the block's run of units in one layer: activations for later prefixes, pre-activations, which lie from
// z_row on (or where the table says, if that is negative), to the caller.
template <int kPrecision>
__device__ void store_segment(const MaskedStack& net, const MaskedCall& call, int segment, const Places& at,
                              const float* z, int z_row, uint32_t* active, int64_t n0, int part, int lane) {
  const int4 where = table_entry(net.segment_table, kSegmentInts, segment, 0);  // z row, units, first, layer's units
  const int4 what = table_entry(net.segment_table, kSegmentInts, segment, 1);   // units before the layer, row
  const int samples = kWarp * at.groups;
  const auto value = [&](int unit) {
    return activate<kPrecision>(z[(where.x + unit - where.z) * (samples + 1) + lane], __ldg(net.slope + what.x + unit));
  };
  const int end = where.z + where.y;
  if (what.y >= 0) {
    if constexpr (kPrecision == kMaskedBf16) {
      for (int pair = where.z / 2 + part; 2 * pair < end; pair += at.parts) {
        uint32_t* to = active + int64_t(what.y + pair) * (samples + 8) + lane;
        const bool low = 2 * pair >= where.z, high = 2 * pair + 1 < end;
        const float second = high ? value(2 * pair + 1) : 0.0f;  // a partner still to come counts as 0
        if (low)
          *to = pack_bf16(value(2 * pair), second);
        else
          reinterpret_cast<uint16_t*>(to)[1] = to_bf16(second).bits;
      }
    } else {
      for (int unit = where.z + part; unit < end; unit += at.parts)
        active[int64_t(what.y + unit) * (samples + 8) + lane] = word_of(value(unit));
    }
  }
  if (!call.keep) return;
  const int row = z_row < 0 ? where.x : z_row;
  for (int i = part; i < kWarp && n0 + i < call.count; i += at.parts) {
    float* to = call.keep + call.count * what.x + (n0 + i) * where.w;
    for (int unit = lane; unit < where.y; unit += kWarp) to[where.z + unit] = z[(row + unit) * (samples + 1) + i];
  }
}

// The random words of a block, [site of the block][sample]: made by all parts, for every part draws with them.
__device__ inline void draw_words(const MaskedStack& net, uint64_t seed, uint64_t sample, int block, const Places& at,
                                  uint32_t* words, int part) {
  const int begin = block * net.block_sites, end = min(net.sites, begin + net.block_sites);
  for (int four = begin / 4 + part; 4 * four < end; four += at.parts) {
    const PhiloxWords random = philox(seed, sample, four, kSpinStream);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int site = 4 * four + i;
      if (site >= begin && site < end) words[(site - begin) * kWarp * at.groups] = random.word[i];
    }
  }
}

template <int kPrecision, bool kStar>
__global__ void __launch_bounds__(256, 2) masked_stack_kernel(MaskedStack net, MaskedCall call, Places at) {
  VANFAST_SHARED(shared);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, group = warp % at.groups, part = warp / at.groups;
  const int samples = kWarp * at.groups, stride = samples + 1, words = (net.sites + kWordSites - 1) / kWordSites;
  const int column = kWarp * group;
  uint32_t* bits = reinterpret_cast<uint32_t*>(shared) + column;
  uint32_t* random = reinterpret_cast<uint32_t*>(shared + at.words) + column + lane;
  float* z = reinterpret_cast<float*>(shared + at.z) + column;
  float* staged = reinterpret_cast<float*>(shared + at.weights);
  uint32_t* active = at.near_memory ? reinterpret_cast<uint32_t*>(shared + at.active)
                                    : at.workspace + blockIdx.x * int64_t(net.active_rows) * (samples + 8);
  active += column;
  float* shares = reinterpret_cast<float*>(shared + at.star) + column + lane;
  float* fields = at.fields + blockIdx.x * int64_t(net.sites) * samples + column + lane;
  const SpinRows spins = {call.spins, call.order, call.count, net.sites};
  const uint64_t first = call.first + (call.step ? static_cast<uint64_t>(*call.step) : 0);
  const int64_t tiles = (call.count + samples - 1) / samples;

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t n0 = tile * samples + column;
    if (call.given)
      for (int word = part; word < words; word += at.parts)
        bits[word * samples + lane] = load_word(spins, n0, word, lane);
    LogProbability log_q;
    uint32_t drawn = 0;
    if constexpr (kStar) {
      for (int slot = part; slot < kMaskedStarSlots; slot += at.parts)
        star_begin<kMaskedStarSlots>(net.star, net.sites, slot, fields, samples);
      star_shares(net, at, 0, 0.0f, fields, shares, part);
    }
    for (int block = 0; block < net.blocks; ++block) {
      const int4 lists = table_entry(net.block_table, kBlockInts, block, 0);  // tasks and stages, begin and end
      const int4 rest = table_entry(net.block_table, kBlockInts, block, 1);   // segments, weights and their number
      const float* weights = net.scan + rest.z;
      if (at.staged) {
        for (int i = 4 * threadIdx.x; i < rest.w; i += 4 * blockDim.x) copy_async16(staged + i, weights + i, true);
        weights = staged;
      }
      copy_async_commit();
      if (!call.given) draw_words(net, call.seed, first + n0 + lane, block, at, random, part);
      for (int task = lists.x + part; task < lists.y; task += at.parts)
        run_task<kPrecision>(net, task, bits, active, z, samples, lane);
      copy_async_wait<0>();
      __syncthreads();

      Stage next = stage_of(net, lists.z);
      for (int stage = lists.z; stage < lists.w; ++stage) {
        const auto [from, to, what] = next;
        next = stage_of(net, min(stage + 1, lists.w - 1));  // in time for the next round
        float* target = z + to.x * stride + lane;
        const int site = what.y;
        if (site >= 0) {
          float logit = z[from.x * stride + lane];
          if (from.w >= 0) logit += z[from.w * stride + lane];
          if constexpr (kStar) {
            const float* share = shares + (site & 1) * kMaskedStarSlots * samples;
            float star = 0.0f;
#pragma unroll
            for (int slot = 0; slot < kMaskedStarSlots; ++slot) star += share[slot * samples];
            logit += star;
            if (part == 0) z[(net.z_rows + site - block * net.block_sites) * stride + lane] = logit;
          }
          if (from.z >= 0 && part == 0) z[from.z * stride + lane] = logit;
          uint32_t* word = bits + site / kWordSites * samples + lane;
          bool up;
          if (call.given) {
            up = !((*word >> bit_of_site(site % kWordSites)) & 1u);
          } else {
            up = draw_spin(logit, random[(site - block * net.block_sites) * samples]);
            drawn = (site % kWordSites ? drawn : 0u) | (up ? 0u : 1u << bit_of_site(site % kWordSites));
            if (part == 0) *word = drawn;
          }
          if (part == 0) log_q.add(logit, up);
          const float s = up ? 1.0f : -1.0f;
          for (int i = part; i < to.y; i += at.parts)
            target[i * stride] = fmaf(weights[to.z + i * to.w], s, target[i * stride]);
          if constexpr (kStar)
            if (site + 1 < net.sites) star_shares(net, at, site + 1, s, fields, shares, part);
        } else {
          for (int begin = 0; begin < from.y; begin += kChunk) {
            float a[kChunk];
#pragma unroll
            for (int j = 0; j < kChunk; ++j) {
              a[j] = 0.0f;
              if (begin + j >= from.y) continue;
              float x = z[(from.x + begin + j) * stride + lane];
              if (from.w >= 0) x += z[(from.w + begin + j) * stride + lane];
              if (from.z >= 0 && part == 0) z[(from.z + begin + j) * stride + lane] = x;
              a[j] = activate<kPrecision>(x, __ldg(net.slope + what.x + begin + j));
            }
#pragma unroll 4
            for (int i = part; i < to.y; i += at.parts) {
              const float4 w = *reinterpret_cast<const float4*>(weights + to.z + i * to.w + begin);
              float sum = fmaf(w.x, a[0], target[i * stride]);
              sum = fmaf(w.y, a[1], sum);
              sum = fmaf(w.z, a[2], sum);
              target[i * stride] = fmaf(w.w, a[3], sum);
            }
          }
        }
        if (to.y > 0 || from.z >= 0 || (kStar && site >= 0)) __syncthreads();
      }
      for (int segment = rest.x; segment < rest.y; ++segment)
        store_segment<kPrecision>(net, call, segment, at, z, kStar && segment + 1 == rest.y ? net.z_rows : -1, active,
                                  n0, part, lane);
      log_q.fold();
      __syncthreads();
    }
    if (part == 0 && n0 + lane < call.count) call.log_q[n0 + lane] = log_q.sum;
    if (!call.given)
      for (int word = part; word < words; word += at.parts)
        store_word(spins, n0, word, lane, bits[word * samples + lane]);
  }
}

using Kernel = void (*)(MaskedStack, MaskedCall, Places);

template <int kPrecision>
Kernel kernel_of(bool star) {
  return star ? masked_stack_kernel<kPrecision, true> : masked_stack_kernel<kPrecision, false>;
}

Kernel kernel_for(const MaskedStack& net) {
  const bool star = net.star.rows != nullptr;
  switch (net.precision) {
    case kMaskedFp32:
      return kernel_of<kMaskedFp32>(star);
    case kMaskedTf32:
      return kernel_of<kMaskedTf32>(star);
    case kMaskedBf16:
      return kernel_of<kMaskedBf16>(star);
    default:
      throw std::invalid_argument("precision must be 0, 1 or 2");
  }
}

struct Plan {
  Places at = {};
  int shared = 0, grid = 0;
  int64_t active = 0, workspace = 0;  // bytes: of activations, of these and the star prior's fields
};

// Bytes of shared memory; the weights inside a block stay where they are if they are too many.
int arrange(const MaskedStack& net, int groups, int memory, int limit, Places& at) {
  const int samples = kWarp * groups;
  const auto round16 = [](int64_t bytes) { return (bytes + 15) / 16 * 16; };
  const int64_t words = (net.sites + kWordSites - 1) / kWordSites;
  const int64_t bits = round16(words * samples * 4), z = bits + round16(int64_t(net.block_sites) * samples * 4);
  const bool has_star = net.star.rows != nullptr;  // then logits have rows of their own
  const int64_t star = z + round16(int64_t(net.z_rows + (has_star ? net.block_sites : 0)) * (samples + 1) * 4);
  const int64_t weights = star + (has_star ? int64_t(2) * kMaskedStarSlots * samples * 4 : 0);
  at.groups = groups;
  at.staged = weights + net.scan_floats * int64_t(4) <= limit;
  const int64_t active = weights + (at.staged ? net.scan_floats * int64_t(4) : 0);
  const int64_t with_active = active + int64_t(net.active_rows) * (samples + 8) * 4;
  at.near_memory = memory == 1 || (memory == 0 && with_active <= limit / 2);
  at.words = static_cast<int>(bits), at.z = static_cast<int>(z), at.star = static_cast<int>(star),
  at.weights = static_cast<int>(weights), at.active = static_cast<int>(active);
  const int64_t all = at.near_memory ? with_active : active;
  return all > limit ? -1 : static_cast<int>(all);
}

Plan plan_launch(const MaskedStack& net, int64_t count, const MaskedLayout& layout, int limit) {
  const Kernel kernel = kernel_for(net);
  if (layout.groups < 0 || layout.parts < 0 || layout.groups * layout.parts > 8)
    throw std::invalid_argument("groups and parts must be at least 0 and make at most 8 warps");
  Plan plan;
  for (int groups = layout.groups ? layout.groups : 4; groups > 0; groups /= 2) {
    plan.shared = arrange(net, groups, layout.memory, limit, plan.at);
    if (plan.shared < 0 && layout.groups) break;
    if (plan.shared < 0) continue;
    plan.at.parts = layout.parts;
    if (!layout.parts)
      for (plan.at.parts = 8 / groups; plan.at.parts > 1 && 8 * plan.at.parts > net.z_rows;) plan.at.parts /= 2;
    const int64_t tiles = (count + kWarp * groups - 1) / (kWarp * groups);
    const int resident = resident_blocks(kernel, kWarp * groups * plan.at.parts, plan.shared);
    plan.grid = static_cast<int>(std::min<int64_t>(tiles, resident));
    // a wide tile reads weights less often, but every multiprocessor wants one
    if (layout.groups || groups == 1 || tiles >= resident) break;
  }
  if (plan.shared < 0)
    throw std::invalid_argument("the network has too many units of one degree: a block of sites needs " +
                                std::to_string(net.z_rows) + " rows of pre-activations in shared memory of " +
                                std::to_string(limit) + " bytes");
  if (!plan.at.near_memory) plan.active = int64_t(plan.grid) * net.active_rows * (kWarp * plan.at.groups + 8) * 4;
  plan.workspace = plan.active;
  if (net.star.rows) plan.workspace += int64_t(plan.grid) * net.sites * kWarp * plan.at.groups * 4;
  return plan;
}

}  // namespace

int64_t masked_stack_workspace(const MaskedStack& net, int64_t count, const MaskedLayout& layout, int shared_limit,
                               int device) {
  DeviceGuard guard(device);
  return count > 0 ? plan_launch(net, count, layout, shared_limit).workspace : 0;
}

void launch_masked_stack(const MaskedStack& net, const MaskedCall& call, const MaskedLayout& layout, void* workspace,
                         int64_t workspace_bytes, int shared_limit, int device, uintptr_t stream) {
  if (net.sites < 1 || call.count < 0) throw std::invalid_argument("sites and count must be positive");
  if (call.count == 0) return;
  DeviceGuard guard(device);
  Plan plan = plan_launch(net, call.count, layout, shared_limit);
  if (workspace_bytes < plan.workspace)
    throw std::invalid_argument("workspace of " + std::to_string(workspace_bytes) + " bytes, needed are " +
                                std::to_string(plan.workspace));
  plan.at.workspace = static_cast<uint32_t*>(workspace);
  plan.at.fields = static_cast<float*>(workspace) + plan.active / 4;
  const Kernel masked_stack = kernel_for(net);
  VANFAST_LAUNCH(masked_stack, plan.grid, kWarp * plan.at.groups * plan.at.parts, plan.shared, stream, net, call,
                 plan.at);
}

}  // namespace vanfast::cuda
