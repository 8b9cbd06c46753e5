// Site by site: an entry of the table for each lane, whose index grows by a fixed step where the spin is up.
//   magnetisation: site i has i + 1 entries, the step is 1;   prefix: 2^i entries, the step is 2^i.
#include "cpu/table_scan.h"

#include <algorithm>

#include "common/philox.h"
#include "cpu/logit_table.h"
#include "cpu/packing.h"

namespace vanfast::cpu {

namespace {

class TableScan final : public Scan {
 public:
  TableScan(int sites, bool prefix, const double* logits, const Kernels& kernels)
      : kernels_(kernels), sites_(sites), prefix_(prefix), table_(first(sites)) {
    for (int i = 0; i < sites; ++i) {
      const double* from = logits + (prefix ? first(i) : size_t(i) * sites);
      for (size_t entry = 0; entry < first(i + 1) - first(i); ++entry) table_.set(first(i) + entry, from[entry]);
    }
  }

  int num_sites() const override { return sites_; }
  int num_kept() const override { return 1; }
  int64_t kept_units(int) const override { return sites_; }
  int64_t workspace_bytes() const override { return int64_t(sizeof(State)); }
  std::unique_ptr<Workspace> make_workspace() const override { return std::make_unique<State>(); }

  void run(const Tile& tile, Workspace& workspace) const override {
    State& state = static_cast<State&>(workspace);
    for (int g = 0; g < tile.groups; ++g) {
      std::fill_n(state.index, kLanes, 0u);
      double* log_q = tile.log_q + g * kLanes;
      for (int i = 0; i < sites_; ++i) {
        const size_t at = first(i);
        const uint32_t step = prefix_ ? 1u << i : 1u;
        const int64_t row = (int64_t(g) * sites_ + i) * kLanes;
        if (tile.keep) table_.logits(at, state.index, tile.keep[0] + row);
        if (tile.given) {
          table_.score(at, step, tile.spins + row, state.index, log_q);
          continue;
        }
        if (i % 4 == 0)
          kernels_.words(tile.seed, tile.first_sample + uint64_t(g) * kLanes, static_cast<uint32_t>(i / 4), kSpinStream,
                         state.words);
        table_.draw(at, step, state.words + i % 4 * kLanes, state.index, tile.spins + row, log_q);
      }
    }
  }

 private:
  struct State final : Workspace {
    alignas(64) uint32_t index[kLanes];
    alignas(64) uint32_t words[4 * kLanes];
  };
  size_t first(int i) const { return prefix_ ? (size_t(1) << i) - 1 : size_t(i) * (i + 1) / 2; }

  const Kernels& kernels_;
  int sites_;
  bool prefix_;
  LogitTable table_;
};

// d ln q / d logits[i][u] = sum over the samples that met the entry of weight spin sigma(-spin logit).
class MagnetizationGradient final : public Gradient {
 public:
  MagnetizationGradient(int sites, const Kernels& kernels) : kernels_(kernels), sites_(sites) {}

  std::unique_ptr<Gradient::Sums> make_sums() const override { return std::make_unique<Sums>(sites_); }
  int64_t num_sums() const override { return int64_t(sites_) * (sites_ + 1); }  // doubles, two floats each
  std::unique_ptr<Gradient::Workspace> make_workspace() const override { return std::make_unique<Row>(); }

  void run(const std::vector<GradientGroup>& groups, Gradient::Sums& base,
           Gradient::Workspace& workspace) const override {
    Row& row = static_cast<Row&>(workspace);
    std::vector<double>& sums = static_cast<Sums&>(base).table;
    for (const GradientGroup& group : groups) {
      uint32_t up[kLanes] = {};
      for (int i = 0; i < sites_; ++i) {
        const float* spin = group.spins + int64_t(i) * kLanes;
        kernels_.logit_gradient(group.kept[0] + int64_t(i) * kLanes, spin, group.weight, 1, row.gradient);
        for (int lane = 0; lane < kLanes; ++lane) {
          sums[size_t(i) * (i + 1) / 2 + up[lane]] += row.gradient[lane];
          up[lane] += spin[lane] > 0.0f;
        }
      }
    }
  }

  std::vector<std::vector<float>> unpack(const Gradient::Sums& base) const override {
    const std::vector<double>& sums = static_cast<const Sums&>(base).table;
    std::vector<float> table(size_t(sites_) * sites_, 0.0f);
    for (int i = 0; i < sites_; ++i)
      for (int u = 0; u <= i; ++u)
        table[size_t(i) * sites_ + u] = static_cast<float>(sums[size_t(i) * (i + 1) / 2 + u]);
    return {std::move(table)};
  }

 private:
  struct Sums final : Gradient::Sums {
    explicit Sums(int sites) : table(size_t(sites) * (sites + 1) / 2, 0.0) {}
    void add(const Gradient::Sums& other) override {
      const std::vector<double>& from = static_cast<const Sums&>(other).table;
      for (size_t i = 0; i < table.size(); ++i) table[i] += from[i];
    }
    std::vector<double> table;
  };
  struct Row final : Gradient::Workspace {
    alignas(64) float gradient[kLanes];
  };

  const Kernels& kernels_;
  int sites_;
};

}  // namespace

std::unique_ptr<Scan> make_magnetization_scan(int sites, const double* logits, const Kernels& kernels) {
  return std::make_unique<TableScan>(sites, false, logits, kernels);
}

std::unique_ptr<Scan> make_prefix_scan(int sites, const double* logits, const Kernels& kernels) {
  return std::make_unique<TableScan>(sites, true, logits, kernels);
}

std::unique_ptr<Gradient> make_magnetization_gradient(int sites, const Kernels& kernels) {
  return std::make_unique<MagnetizationGradient>(sites, kernels);
}

}  // namespace vanfast::cpu
