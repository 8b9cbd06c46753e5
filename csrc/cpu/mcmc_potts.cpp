// Chains of sites with q states whose neighbours gain where they agree.
#include "cpu/packing.h"
#include "cpu/walkers.h"

namespace vanfast::cpu {
namespace {

class StateGroup {
 public:
  StateGroup(const PottsTable& table, double quantum, uint64_t seed, bool heat_bath, const McmcKernels& kernels)
      : table_(table),
        quantum_(quantum),
        seed_(seed),
        heat_bath_(heat_bath),
        kernels_(kernels),
        states_(size_t(table.num_sites) * kLanes) {}

  void start(int lane, const Schedule& schedule, uint64_t walker, const int8_t* given) {
    const std::vector<int8_t> values = start_values(schedule, walker, given, table_.num_sites, table_.states);
    for (int i = 0; i < table_.num_sites; ++i) states_[size_t(i) * kLanes + lane] = static_cast<uint8_t>(values[i]);
  }
  void begin() {}
  // at most so large that a product with 2^31 stays finite: then every move is decided anyway
  void set_beta(int lane, double beta) { scale_[lane] = static_cast<float>(std::min(beta * quantum_, 1e28)); }
  template <class Pause>
  void sweep(int64_t number, Pause) {
    const PottsGroup group{low, high, scale_, states_.data(), turned};
    kernels_.potts_sweep(table_, group, seed_, sweep_block(number, table_.num_sites), heat_bath_);
  }
  void measure() {
    int64_t gain[kLanes] = {};  // -2 E / quantum
    for (int i = 0; i < table_.num_sites; ++i) {
      const uint8_t* here = states_.data() + size_t(i) * kLanes;
      for (int lane = 0; table_.has_fields && lane < kLanes; ++lane)
        gain[lane] += 2 * int64_t{table_.field[here[lane]]};
      for (int32_t e = table_.start[i]; e < table_.start[i + 1]; ++e) {
        const uint8_t* there = states_.data() + size_t(table_.neighbour[e]) * kLanes;
        for (int lane = 0; lane < kLanes; ++lane) gain[lane] += here[lane] == there[lane] ? table_.coupling[e] : 0;
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) energy_[lane] = -0.5 * quantum_ * static_cast<double>(gain[lane]);
  }
  double energy(int lane) const { return energy_[lane]; }
  void write(int first, int end, int8_t* rows, int64_t stride) const {
    for (int i = 0; i < table_.num_sites; ++i)
      for (int lane = first; lane < end; ++lane)
        rows[(lane - first) * stride + i] = static_cast<int8_t>(states_[size_t(i) * kLanes + lane]);
  }

  alignas(64) uint32_t low[kLanes], high[kLanes];
  alignas(64) int32_t turned[kLanes];

 private:
  const PottsTable& table_;
  double quantum_;
  uint64_t seed_;
  bool heat_bath_;
  const McmcKernels& kernels_;
  alignas(64) float scale_[kLanes] = {};
  double energy_[kLanes];
  Buffer<uint8_t> states_;  // [N][kLanes]
};

}  // namespace

Turned run_potts(const PottsTable& table, double quantum, const std::vector<double>& betas, int target, bool heat_bath,
                 const Schedule& schedule, const McmcKernels& kernels) {
  return run_walkers(betas, target, schedule, table.num_sites,
                     [&] { return StateGroup(table, quantum, schedule.seed, heat_bath, kernels); });
}

}  // namespace vanfast::cpu
