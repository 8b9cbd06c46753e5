#include "cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "common/philox.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace vanfast::cpu {

namespace {

// Swaps bit i of word j with bit j of word i, by halves: 16 x 16 blocks first, single bits last.
void transpose_bits(uint32_t* w) {
  uint32_t mask = 0x0000ffffu;
  for (int size = 16; size; size >>= 1, mask ^= mask << size)
    for (int i = 0; i < kLanes; i = ((i | size) + 1) & ~size) {
      const uint32_t moved = ((w[i] >> size) ^ w[i + size]) & mask;
      w[i] ^= moved << size;
      w[i + size] ^= moved;
    }
}

// Eight spins of a byte of sign bits.
struct SpinTable {
  int8_t spins[256][8];
  SpinTable() {
    for (int bits = 0; bits < 256; ++bits)
      for (int i = 0; i < 8; ++i) spins[bits][i] = bits >> i & 1 ? -1 : 1;
  }
};

// Rows low .. high - 1 of a group as int8 [.][sites], from one mask of lanes per raster site (padded to kLanes sites).
void write_spins(uint32_t* masks, int sites, int low, int high, int8_t* out) {
  static const SpinTable table;
  for (int site = 0; site < sites; site += kLanes) {
    transpose_bits(masks + site);
    const int count = std::min(kLanes, sites - site);
    for (int lane = low; lane < high; ++lane) {
      const uint32_t bits = masks[site + lane];
      int8_t* to = out + int64_t(lane - low) * sites + site;
      int8_t row[kLanes];
      int8_t* part = count == kLanes ? to : row;
      for (int byte = 0; byte < 4; ++byte) std::memcpy(part + 8 * byte, table.spins[bits >> 8 * byte & 0xff], 8);
      if (count < kLanes) std::memcpy(to, row, count);
    }
  }
}

double log_half_sum(double a, double b) {
  const double top = std::max(a, b), gap = std::min(a, b) - top;
  return top + std::log1p(std::exp(gap)) - std::log(2.0);
}

}  // namespace

Sampler::Sampler(std::unique_ptr<Scan> scan, std::unique_ptr<Gradient> gradient, const Kernels& kernels,
                 std::vector<int64_t> order, bool z2)
    : scan_(std::move(scan)), gradient_(std::move(gradient)), kernels_(kernels), order_(std::move(order)), z2_(z2) {
  if (order_.empty()) {
    order_.resize(scan_->num_sites());
    std::iota(order_.begin(), order_.end(), 0);
  }
}

// One thread's memory for one tile.
struct Sampler::Task {
  Task(const Scan& scan, int groups)
      : workspace(scan.make_workspace()),
        spins(size_t(groups) * scan.num_sites() * kLanes),
        log_q(size_t(groups) * kLanes),
        drawn(scan.num_sites()),
        masks(scan.num_sites() + kLanes) {}
  std::unique_ptr<Scan::Workspace> workspace;
  Buffer<float> spins;
  Buffer<double> log_q;
  std::vector<uint32_t> drawn, masks;  // sign bits of a group's lanes: per drawn site, per raster site
};

// body(task, first group of the tile, groups) over consecutive runs of groups.
template <class Body>
void Sampler::for_tiles(uint64_t first_group, int64_t groups, int threads, const Poll& poll, Body&& body) const {
  threads = static_cast<int>(std::min<int64_t>(resolve_threads(threads), groups));
  // large tiles use a weight more often per visit, but every thread should have work until the end
  const int64_t per_tile = std::clamp<int64_t>(groups / (int64_t(4) * threads), 1, scan_->groups_per_tile());
  const int64_t tiles = (groups + per_tile - 1) / per_tile;
  std::vector<std::unique_ptr<Task>> tasks(threads);
  parallel_for(
      tiles, threads,
      [&](int64_t tile, int thread) {
        if (!tasks[thread]) tasks[thread] = std::make_unique<Task>(*scan_, static_cast<int>(per_tile));
        const int64_t from = tile * per_tile;
        body(*tasks[thread], first_group + from, static_cast<int>(std::min(per_tile, groups - from)));
      },
      poll);
}

// Where the kept layers of the `group`-th group begin.
std::vector<float*> Sampler::kept_from(const std::vector<float*>& keep, int64_t group) const {
  std::vector<float*> kept;
  for (size_t l = 0; l < keep.size(); ++l)
    kept.push_back(keep[l] + group * scan_->kept_units(static_cast<int>(l) % scan_->num_kept()) * kLanes);
  return kept;
}

// log_q of 1/2 (q(s) + q(-s)): the flipped spins go through the same blocks as given ones.
void Sampler::add_mirror(const Tile& tile, float* const* keep, Scan::Workspace& workspace) const {
  const int64_t values = int64_t(tile.groups) * scan_->num_sites() * kLanes;
  Buffer<double> mirror(size_t(tile.groups) * kLanes, 0.0);
  for (int64_t i = 0; i < values; ++i) tile.spins[i] = -tile.spins[i];
  Tile flipped = tile;
  flipped.given = true;
  flipped.keep = keep;
  flipped.log_q = mirror.data();
  scan_->run(flipped, workspace);
  for (int64_t i = 0; i < values; ++i) tile.spins[i] = -tile.spins[i];
  for (size_t i = 0; i < mirror.size(); ++i) tile.log_q[i] = log_half_sum(tile.log_q[i], mirror[i]);
}

void Sampler::sample(uint64_t seed, uint64_t first, int64_t count, int threads, int8_t* spins, double* log_q,
                     const EnergyModel* model, double* energy, const std::vector<float*>& keep, bool* flipped,
                     const Poll& poll) const {
  if (count <= 0) return;
  const int sites = scan_->num_sites();
  const uint64_t first_group = first / kLanes;
  const int64_t groups = static_cast<int64_t>((first + count - 1) / kLanes - first_group + 1);
  for_tiles(first_group, groups, threads, poll, [&](Task& task, uint64_t group, int tile_groups) {
    std::fill(task.log_q.begin(), task.log_q.end(), 0.0);
    const std::vector<float*> kept = kept_from(keep, static_cast<int64_t>(group - first_group));
    Tile tile{seed,
              group * kLanes,
              tile_groups,
              false,
              task.spins.data(),
              task.log_q.data(),
              keep.empty() ? nullptr : kept.data()};
    scan_->run(tile, *task.workspace);
    if (z2_) add_mirror(tile, keep.empty() ? nullptr : kept.data() + scan_->num_kept(), *task.workspace);
    for (int g = 0; g < tile_groups; ++g) {
      alignas(64) uint32_t flip[4 * kLanes];
      const uint64_t base = (group + g) * kLanes;
      if (z2_) kernels_.words(seed, base, 0, kFlipStream, flip);
      const int low = static_cast<int>(std::max(first, base) - base);
      // by the last index, for the index after it may be 2^64
      const int high = static_cast<int>(std::min<uint64_t>(first + (count - 1) - base, kLanes - 1)) + 1;
      const float* from = task.spins.data() + int64_t(g) * sites * kLanes;
      const int64_t row = static_cast<int64_t>(base + low - first);
      int8_t* to = spins + row * sites;
      uint32_t mirror = 0;
      for (int lane = 0; z2_ && lane < kLanes; ++lane) mirror |= uint32_t(flip[lane] < 0x80000000u) << lane;
      kernels_.signs(from, sites, task.drawn.data());
      for (int p = 0; p < sites; ++p) task.masks[order_[p]] = task.drawn[p] ^ mirror;
      write_spins(task.masks.data(), sites, low, high, to);
      for (int lane = low; flipped && lane < high; ++lane) flipped[row + lane - low] = mirror >> lane & 1;
      std::copy(task.log_q.data() + g * kLanes + low, task.log_q.data() + g * kLanes + high, log_q + row);
    }
  });
  if (!model) return;
  // rows are still in a cache near by, and the energy kernel wants larger tiles than the engine
  const int64_t chunk = model->tile();
  parallel_for((count + chunk - 1) / chunk, threads, [&](int64_t task, int) {
    const int64_t from = task * chunk;
    model->evaluate(spins + from * sites, std::min(chunk, count - from), energy + from, from);
  });
}

// What one thread holds of a group in the backward pass: both passes' spins and weights (the second with Z2 only).
struct Sampler::Backward {
  explicit Backward(int sites) : spins{Buffer<float>(size_t(sites) * kLanes), {}}, weight{Buffer<float>(kLanes), {}} {}
  Buffer<float> spins[2], weight[2];
};

// Fills `to` for a group whose lane 0 is row `row0` of the batch (negative: lanes before the batch have weight 0).
void Sampler::prepare_backward(const int8_t* spins, const double* weight, int64_t row0, int64_t count,
                               const float* const* kept, Backward& to) const {
  const int sites = scan_->num_sites(), layers = scan_->num_kept();
  for (int p = 0; p < sites; ++p)
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t row = row0 + lane;
      to.spins[0][p * kLanes + lane] = row < 0 || row >= count ? 1.0f : spins[row * sites + order_[p]];
    }
  alignas(64) double log_q[2][kLanes] = {};
  if (z2_) {
    to.spins[1] = to.spins[0];
    for (float& s : to.spins[1]) s = -s;
    to.weight[1].resize(kLanes);
    for (int pass = 0; pass < 2; ++pass) {
      const float* logits = kept[(pass + 1) * layers - 1];
      for (int p = 0; p < sites; ++p)
        kernels_.score(logits + p * kLanes, to.spins[pass].data() + p * kLanes, log_q[pass]);
    }
  }
  for (int pass = 0; pass < (z2_ ? 2 : 1); ++pass)
    for (int lane = 0; lane < kLanes; ++lane) {
      // d ln (q(s) + q(-s)) gives each term its share of the sum
      const double part = z2_ ? 1.0 / (1.0 + std::exp(log_q[1 - pass][lane] - log_q[pass][lane])) : 1.0;
      const int64_t row = row0 + lane;
      to.weight[pass][lane] = row < 0 || row >= count ? 0.0f : static_cast<float>(part * weight[row]);
    }
}

std::vector<std::vector<float>> Sampler::gradient(const int8_t* spins, const double* weight, uint64_t first,
                                                  int64_t count, int threads, const std::vector<const float*>& keep,
                                                  const Poll& poll) const {
  const int layers = scan_->num_kept(), passes = z2_ ? 2 : 1;
  const uint64_t first_group = first / kLanes;
  const int64_t groups = count ? static_cast<int64_t>((first + count - 1) / kLanes - first_group + 1) : 0;
  // partial sums over fixed runs of groups, added in fixed order: the same bytes for any number of threads. More of
  // them keep more threads busy, but each must be cleared and added: 32 MiB of them, or 8, but 1 GiB at the most.
  const int64_t most = std::clamp<int64_t>((int64_t(1) << 28) / gradient_->num_sums(), 1, 64);
  const int64_t cheap = std::clamp<int64_t>((int64_t(1) << 23) / gradient_->num_sums(), 8, 64);
  const int64_t slots = std::min({groups, most, std::clamp<int64_t>(groups / 8, 8, cheap)});
  std::vector<std::unique_ptr<Gradient::Sums>> sums(std::max<int64_t>(slots, 1));
  sums[0] = gradient_->make_sums();
  parallel_for(
      slots, threads,
      [&](int64_t slot, int) {
        if (!sums[slot]) sums[slot] = gradient_->make_sums();
        const auto workspace = gradient_->make_workspace();
        const int64_t end = groups * (slot + 1) / slots, step = gradient_->groups_per_run();
        std::vector<Backward> held(step, Backward(scan_->num_sites()));
        std::vector<const float*> kept(size_t(step) * layers * passes);
        for (int64_t g = groups * slot / slots; g < end; g += step) {
          std::vector<GradientGroup> run;
          for (int pass = 0; pass < passes; ++pass, run.clear()) {
            for (int64_t i = 0; i < std::min(step, end - g); ++i) {
              const float** pointers = kept.data() + i * layers * passes;
              for (int l = 0; l < layers * passes; ++l)
                pointers[l] = keep[l] + (g + i) * scan_->kept_units(l % layers) * kLanes;
              const int64_t row0 = static_cast<int64_t>((first_group + g + i) * kLanes - first);
              if (pass == 0) prepare_backward(spins, weight, row0, count, pointers, held[i]);
              run.push_back({pointers + pass * layers, held[i].spins[pass].data(), held[i].weight[pass].data()});
            }
            gradient_->run(run, *sums[slot], *workspace);
          }
        }
      },
      poll);
  for (int64_t slot = 1; slot < slots; ++slot) sums[0]->add(*sums[slot]);
  return gradient_->unpack(*sums[0]);
}

void Sampler::log_prob(const int8_t* spins, int64_t count, int threads, double* log_q, const std::vector<float*>& keep,
                       const Poll& poll) const {
  if (count <= 0) return;
  const int sites = scan_->num_sites();
  for_tiles(0, (count + kLanes - 1) / kLanes, threads, poll, [&](Task& task, uint64_t group, int tile_groups) {
    std::fill(task.log_q.begin(), task.log_q.end(), 0.0);
    for (int g = 0; g < tile_groups; ++g)
      for (int p = 0; p < sites; ++p)
        for (int lane = 0; lane < kLanes; ++lane) {
          // lanes past the end repeat the last sample
          const int64_t row = std::min<int64_t>((group + g) * kLanes + lane, count - 1);
          task.spins[(int64_t(g) * sites + p) * kLanes + lane] = spins[row * sites + order_[p]];
        }
    const std::vector<float*> kept = kept_from(keep, static_cast<int64_t>(group));
    float* const* keep_here = keep.empty() ? nullptr : kept.data();
    Tile tile{0, group * kLanes, tile_groups, true, task.spins.data(), task.log_q.data(), keep_here};
    scan_->run(tile, *task.workspace);
    if (z2_) add_mirror(tile, keep_here ? keep_here + scan_->num_kept() : nullptr, *task.workspace);
    const int64_t from = group * kLanes, to = std::min<int64_t>(count, from + int64_t(tile_groups) * kLanes);
    std::copy(task.log_q.data(), task.log_q.data() + (to - from), log_q + from);
  });
}

}  // namespace vanfast::cpu
