// The logit of site i needs the fields u_l of all later sites and 2 (N - i) nests of log-sigmoids of them; those are
// nearly all of the work. So a site is one pass over the later sites (kernels: nest_logit): the field takes in the
// column of the spin drawn last, one fused multiply-add while it is in a register, and both branches use it.
//
// First sites: site i has 2^i prefixes only. The conditionals of the first ten sites are evaluated once for
// all of their prefixes, with the same kernel, and looked up; they are those with the most later sites, three quarters
// of all pairs at N = 20, a tenth at N = 200. The fields after them are one matrix product.
#include "cpu/nest_scan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/philox.h"
#include "cpu/logit_table.h"

namespace vanfast::cpu {

namespace {

// The read-outs of both branches at field 0, in float64.
double constant_term(const NestSpec& spec, size_t pair) {
  double sum = 0.0;
  for (int branch = 0; branch < 2; ++branch) {
    const float* weight = spec.weight + (2 * pair + branch) * (spec.levels + 1);
    const float* shift = spec.shift + (2 * pair + branch) * spec.levels;
    if (weight[spec.levels] == 0.0f) continue;  // most pairs of a sparse network
    double y = 0.0;
    for (int j = 0; j < spec.levels; ++j) {
      const double z = shift[j] + weight[j] * y;
      y = std::fmin(z, 0.0) - std::log1p(std::exp(-std::fabs(z)));
    }
    sum += weight[spec.levels] * y;
  }
  return sum;
}

class NestScan final : public Scan {
 public:
  NestScan(const NestSpec& spec, const Kernels& kernels);

  int num_sites() const override { return sites_; }
  int groups_per_tile() const override { return rows_.bytes() > (int64_t(1) << 19) ? 4 : 1; }
  int num_kept() const override { return 1; }
  int64_t kept_units(int) const override { return sites_; }
  int64_t workspace_bytes() const override { return int64_t(groups_per_tile()) * (sites_ + 6) * kLanes * 4; }
  std::unique_ptr<Workspace> make_workspace() const override { return std::make_unique<Fields>(*this); }
  void run(const Tile& tile, Workspace& workspace) const override;

 private:
  struct Fields final : Workspace {
    explicit Fields(const NestScan& scan)
        : u(size_t(scan.groups_per_tile()) * scan.sites_ * kLanes),
          words(size_t(scan.groups_per_tile()) * 4 * kLanes) {}
    Buffer<float> u;         // [group][site][kLanes]
    Buffer<uint32_t> words;  // [group][4][kLanes]
    alignas(64) uint32_t index[kLanes];
    alignas(64) float logit[kLanes];
  };

  void fill_table();
  // Fields of `site`, but for the spin just before it, which the kernel takes in.
  void start(int site, const float* spins, float* u) const {
    std::fill_n(u, size_t(sites_) * kLanes, 0.0f);
    couplings_.multiply(0, sites_, std::max(site - 1, 0), reinterpret_cast<const Word*>(spins), u);
  }

  const Kernels& kernels_;
  int sites_, tabled_;
  NestRows rows_;
  PackedMatrix couplings_;
  LogitTable table_;
};

NestScan::NestScan(const NestSpec& spec, const Kernels& kernels)
    : kernels_(kernels),
      sites_(spec.sites),
      tabled_(nest_tabled(spec.sites)),
      rows_(spec, NestPairs::kRead),
      couplings_(nest_couplings(spec, kernels, tabled_)),
      table_(nest_first(tabled_)) {
  fill_table();
}

void NestScan::fill_table() {
  Buffer<float> spins(size_t(tabled_) * kLanes), u(size_t(sites_) * kLanes);
  alignas(64) float logit[kLanes];
  for (int site = 0; site < tabled_; ++site)
    for (uint32_t p0 = 0; p0 < 1u << site; p0 += kLanes) {
      const int count = nest_prefixes(site, p0, spins.data());
      start(site, spins.data(), u.data());
      kernels_.nest_logit(rows_[site], spins.data() + std::max(site - 1, 0) * kLanes, u.data(), logit);
      for (int lane = 0; lane < count; ++lane) table_.set(nest_first(site) + p0 + lane, logit[lane]);
    }
}

void NestScan::run(const Tile& tile, Workspace& workspace) const {
  Fields& fields = static_cast<Fields&>(workspace);
  auto row = [&](int g, int site) { return (int64_t(g) * sites_ + site) * kLanes; };
  auto words = [&](int g, int site) -> const uint32_t* {
    uint32_t* four = fields.words.data() + g * 4 * kLanes;
    if (site % 4 == 0)
      kernels_.words(tile.seed, tile.first_sample + uint64_t(g) * kLanes, static_cast<uint32_t>(site / 4), kSpinStream,
                     four);
    return four + site % 4 * kLanes;
  };
  for (int g = 0; g < tile.groups; ++g) {
    std::fill_n(fields.index, kLanes, 0u);
    for (int i = 0; i < tabled_; ++i) {
      float* spin = tile.spins + row(g, i);
      if (tile.keep) table_.logits(nest_first(i), fields.index, tile.keep[0] + row(g, i));
      if (tile.given)
        table_.score(nest_first(i), 1u << i, spin, fields.index, tile.log_q + g * kLanes);
      else
        table_.draw(nest_first(i), 1u << i, words(g, i), fields.index, spin, tile.log_q + g * kLanes);
    }
    if (tabled_ < sites_) start(tabled_, tile.spins + row(g, 0), fields.u.data() + row(g, 0));
  }
  for (int i = tabled_; i < sites_; ++i)
    for (int g = 0; g < tile.groups; ++g) {
      float* spin = tile.spins + row(g, i);
      kernels_.nest_logit(rows_[i], spin - kLanes, fields.u.data() + row(g, 0), fields.logit);
      if (tile.keep) std::memcpy(tile.keep[0] + row(g, i), fields.logit, sizeof fields.logit);
      if (tile.given)
        kernels_.score(fields.logit, spin, tile.log_q + g * kLanes);
      else
        kernels_.draw(fields.logit, words(g, i), spin, tile.log_q + g * kLanes);
    }
}

}  // namespace

NestRows::NestRows(const NestSpec& spec, NestPairs which) {
  const int n = spec.sites, levels = spec.levels;
  auto coupling = [&](int s, int l) { return s < 0 ? 0.0f : spec.couplings[size_t(s) * n + l]; };
  std::vector<char> moves(n, 0);  // whether any site before the present one couples to l
  std::vector<size_t> start(n);
  for (int i = 0; i < n; ++i) {
    double bias = spec.bias[i];
    start[i] = later_.size();
    for (int l = i; l < n; ++l) {
      moves[l] |= coupling(i - 1, l) != 0.0f;
      if (l == i) continue;
      const size_t pair = size_t(i) * n + l;
      if (which == NestPairs::kRead && !moves[l]) bias += constant_term(spec, pair);
      if (which != NestPairs::kAll && bool(moves[l]) == (which == NestPairs::kStill)) continue;
      const float* readout = spec.weight + 2 * pair * (levels + 1) + levels;
      const bool read = readout[0] != 0.0f || readout[levels + 1] != 0.0f || coupling(i - 1, l) != 0.0f;
      if (which == NestPairs::kRead && !read) continue;
      later_.push_back(l);
      parameters_.push_back(coupling(i - 1, l));
      for (int branch = 0; branch < 2; ++branch) {
        const float* weight = spec.weight + (2 * pair + branch) * (levels + 1);
        const float* shift = spec.shift + (2 * pair + branch) * levels;
        for (int j = 0; j < levels; ++j) parameters_.insert(parameters_.end(), {weight[j], shift[j]});
        parameters_.push_back(weight[levels]);
      }
    }
    const int pairs = static_cast<int>(later_.size() - start[i]);
    rows_.push_back({i, levels, pairs, static_cast<float>(bias), spec.direct[i], coupling(i - 1, i), nullptr, nullptr});
  }
  for (int i = 0; i < n; ++i) {
    rows_[i].later = later_.data() + start[i];
    rows_[i].parameters = parameters_.data() + start[i] * nest_stride(levels);
  }
}

int nest_prefixes(int site, uint32_t p0, float* spins) {
  for (int j = 0; j < site; ++j)
    for (uint32_t lane = 0; lane < kLanes; ++lane) spins[j * kLanes + lane] = (p0 + lane) >> j & 1 ? 1.0f : -1.0f;
  return static_cast<int>(std::min<uint32_t>(kLanes, (1u << site) - p0));
}

PackedMatrix nest_couplings(const NestSpec& spec, const Kernels& kernels, int columns) {
  Matrix m(spec.sites, columns);
  for (int l = 0; l < spec.sites; ++l)
    for (int s = 0; s < columns; ++s) m.at(l, s) = spec.couplings[size_t(s) * spec.sites + l];
  return PackedMatrix(kernels.fp32, m);
}

std::unique_ptr<Scan> make_nest_scan(const NestSpec& spec, const Kernels& kernels) {
  return std::make_unique<NestScan>(spec, kernels);
}

}  // namespace vanfast::cpu
