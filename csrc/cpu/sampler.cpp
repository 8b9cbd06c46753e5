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

// ln of the mean of exp(values). They are sorted: the images of a configuration come in another order for each of them,
// and all must get the same bytes.
double log_mean_exp(std::vector<double>& values) {
  for (double value : values)
    if (std::isnan(value)) return value;  // of activations that overflowed; nothing sorts it
  std::sort(values.begin(), values.end());
  const double top = values.back();
  double others = 0.0;
  for (size_t i = 0; i + 1 < values.size(); ++i) others += std::exp(values[i] - top);
  return top + std::log1p(others) - std::log(static_cast<double>(values.size()));
}

}  // namespace

Sampler::Sampler(std::unique_ptr<Scan> scan, std::unique_ptr<Gradient> gradient, const Kernels& kernels,
                 std::vector<int64_t> order, Alphabet alphabet)
    : scan_(std::move(scan)),
      gradient_(std::move(gradient)),
      kernels_(kernels),
      order_(std::move(order)),
      alphabet_(std::move(alphabet)) {
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

// log_q of 1/|G| sum_g q_theta(g s): the images go through the same blocks as given spins. They end as they were.
void Sampler::add_images(const Tile& tile, const std::vector<float*>& keep, Scan::Workspace& workspace) const {
  const int order = alphabet_.order();
  if (order == 1) return;
  const int64_t values = int64_t(tile.groups) * scan_->num_sites() * kLanes, lanes = int64_t(tile.groups) * kLanes;
  Buffer<double> log_q(size_t(order) * lanes, 0.0);
  std::copy(tile.log_q, tile.log_q + lanes, log_q.begin());
  for (int g = 1; g < order; ++g) {
    alphabet_.advance(g - 1, tile.spins, values);
    Tile image = tile;
    image.given = true;
    image.keep = keep.empty() ? nullptr : keep.data() + int64_t(g) * scan_->num_kept();
    image.log_q = log_q.data() + g * lanes;
    scan_->run(image, workspace);
  }
  alphabet_.advance(order - 1, tile.spins, values);
  std::vector<double> images(order);
  for (int64_t i = 0; i < lanes; ++i) {
    for (int g = 0; g < order; ++g) images[g] = log_q[g * lanes + i];
    tile.log_q[i] = log_mean_exp(images);
  }
}

// Rows low .. high - 1 of a group in raster order, each mapped by its element of the symmetry (null: as drawn).
void Sampler::write_rows(Task& task, const float* values, const int* element, int low, int high, int8_t* out) const {
  const int sites = scan_->num_sites();
  if (alphabet_.states()) {
    for (int p = 0; p < sites; ++p)
      for (int lane = low; lane < high; ++lane)
        out[int64_t(lane - low) * sites + order_[p]] =
            alphabet_.image(element ? element[lane] : 0, values[p * kLanes + lane]);
    return;
  }
  uint32_t mirror = 0;
  for (int lane = 0; element && lane < kLanes; ++lane) mirror |= uint32_t(element[lane]) << lane;
  kernels_.signs(values, sites, task.drawn.data());
  for (int p = 0; p < sites; ++p) task.masks[order_[p]] = task.drawn[p] ^ mirror;
  write_spins(task.masks.data(), sites, low, high, out);
}

void Sampler::sample(uint64_t seed, uint64_t first, int64_t count, int threads, int8_t* spins, double* log_q,
                     const EnergyModel* model, double* energy, const std::vector<float*>& keep, int8_t* drawn,
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
    add_images(tile, kept, *task.workspace);
    for (int g = 0; g < tile_groups; ++g) {
      const uint64_t base = (group + g) * kLanes;
      const int low = static_cast<int>(std::max(first, base) - base);
      // by the last index, for the index after it may be 2^64
      const int high = static_cast<int>(std::min<uint64_t>(first + (count - 1) - base, kLanes - 1)) + 1;
      const float* from = task.spins.data() + int64_t(g) * sites * kLanes;
      const int64_t row = static_cast<int64_t>(base + low - first);
      int element[kLanes] = {};
      if (alphabet_.order() > 1) {
        alignas(64) uint32_t words[4 * kLanes];
        kernels_.words(seed, base, 0, kFlipStream, words);
        for (int lane = 0; lane < kLanes; ++lane) element[lane] = alphabet_.element(words[lane]);
      }
      write_rows(task, from, element, low, high, spins + row * sites);
      if (drawn) write_rows(task, from, nullptr, low, high, drawn + row * sites);
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

// What one thread holds of a group in the backward pass: spins and weights of every pass.
struct Sampler::Backward {
  Backward(int sites, int passes)
      : spins(passes, Buffer<float>(size_t(sites) * kLanes)), weight(passes, Buffer<float>(kLanes)) {}
  std::vector<Buffer<float>> spins, weight;
};

// Fills `to` for a group whose lane 0 is row `row0` of the batch (negative: lanes before the batch have weight 0).
void Sampler::prepare_backward(const int8_t* spins, const double* weight, int64_t row0, int64_t count,
                               const float* const* kept, Backward& to) const {
  const int sites = scan_->num_sites(), layers = scan_->num_kept(), passes = alphabet_.order();
  for (int p = 0; p < sites; ++p)
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t row = row0 + lane;
      to.spins[0][p * kLanes + lane] = row < 0 || row >= count ? 1.0f : spins[row * sites + order_[p]];
    }
  std::vector<double> log_q(size_t(passes) * kLanes, 0.0);
  for (int pass = 0; pass < passes && passes > 1; ++pass) {
    if (pass) {
      to.spins[pass] = to.spins[pass - 1];
      alphabet_.advance(pass - 1, to.spins[pass].data(), int64_t(sites) * kLanes);
    }
    const float* logits = kept[(pass + 1) * layers - 1];
    for (int p = 0; p < sites; ++p)
      alphabet_.score(kernels_, logits + int64_t(p) * alphabet_.logits() * kLanes, to.spins[pass].data() + p * kLanes,
                      log_q.data() + pass * kLanes);
  }
  for (int pass = 0; pass < passes; ++pass)
    for (int lane = 0; lane < kLanes; ++lane) {
      // d ln sum_g q_theta(g s) gives each term its share of the sum
      double sum = 1.0;
      for (int other = 0; other < passes; ++other)
        if (other != pass) sum += std::exp(log_q[other * kLanes + lane] - log_q[pass * kLanes + lane]);
      const int64_t row = row0 + lane;
      to.weight[pass][lane] = row < 0 || row >= count ? 0.0f : static_cast<float>(1.0 / sum * weight[row]);
    }
}

std::vector<std::vector<float>> Sampler::gradient(const int8_t* spins, const double* weight, uint64_t first,
                                                  int64_t count, int threads, const std::vector<const float*>& keep,
                                                  const Poll& poll) const {
  const int layers = scan_->num_kept(), passes = alphabet_.order();
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
        std::vector<Backward> held(step, Backward(scan_->num_sites(), passes));
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
    add_images(tile, kept, *task.workspace);
    const int64_t from = group * kLanes, to = std::min<int64_t>(count, from + int64_t(tile_groups) * kLanes);
    std::copy(task.log_q.data(), task.log_q.data() + (to - from), log_q + from);
  });
}

}  // namespace vanfast::cpu
