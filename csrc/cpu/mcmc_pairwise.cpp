// Chains of pairs with cached local fields.
#include "cpu/packing.h"
#include "cpu/walkers.h"

namespace vanfast::cpu {
namespace {

class PairGroup {
 public:
  PairGroup(const PairTable& table, double quantum, const std::vector<int32_t>& all_up, uint64_t seed, bool heat_bath,
            const McmcKernels& kernels)
      : table_(table),
        quantum_(quantum),
        seed_(seed),
        heat_bath_(heat_bath),
        kernels_(kernels),
        local_(size_t(table.num_sites) * kLanes),
        down_(table.num_sites) {
    for (size_t i = 0; i < all_up.size(); ++i) std::fill_n(local_.data() + i * kLanes, kLanes, all_up[i]);
  }

  void start(int lane, const Schedule& schedule, uint64_t walker, const int8_t* given) {
    std::vector<uint32_t> bits;
    start_bits(schedule, walker, given, table_.num_sites, bits);
    for (int i = 0; i < table_.num_sites; ++i) down_[i] |= (bits[i / 32] >> (i % 32) & 1) << lane;
  }
  // Local fields follow from those where all spins are up.
  void begin() {
    const Buffer<uint32_t> down = down_;
    std::fill(down_.begin(), down_.end(), 0);
    const WalkerGroup all = group();
    for (int i = 0; i < table_.num_sites; ++i) kernels_.flip(table_, all, i, down[i]);
  }
  // at most so large that a product with 2^31 stays finite: then every move is decided anyway
  void set_beta(int lane, double beta) { scale_[lane] = static_cast<float>(std::min(2.0 * beta * quantum_, 1e28)); }
  template <class Pause>
  void sweep(int64_t number, Pause) {
    kernels_.sweep(table_, group(), seed_, sweep_block(number, table_.num_sites), heat_bath_);
  }
  void measure() { kernels_.energies(table_, group(), twice_energy_); }
  double energy(int lane) const { return 0.5 * quantum_ * static_cast<double>(twice_energy_[lane]); }
  void write(int first, int end, int8_t* rows, int64_t stride) const {
    unpack_lanes(down_.data(), table_.num_sites, 1, first, end, rows, stride);
  }

  alignas(64) uint32_t low[kLanes], high[kLanes];
  alignas(64) int32_t turned[kLanes];

 private:
  WalkerGroup group() { return {low, high, scale_, local_.data(), down_.data(), turned}; }

  const PairTable& table_;
  double quantum_;
  uint64_t seed_;
  bool heat_bath_;
  const McmcKernels& kernels_;
  alignas(64) float scale_[kLanes] = {};
  int64_t twice_energy_[kLanes];
  Buffer<int32_t> local_;
  Buffer<uint32_t> down_;
};

}  // namespace

Turned run_pairwise(const PairTable& table, double quantum, const std::vector<double>& betas, int target,
                    bool heat_bath, const Schedule& schedule, const McmcKernels& kernels) {
  const int64_t n = table.num_sites;
  std::vector<int32_t> all_up(table.field, table.field + n);  // local fields where all spins are up
  for (int64_t i = 0; i < n; ++i) {
    const int64_t from = table.dense ? i * n : table.start[i], to = table.dense ? from + n : table.start[i + 1];
    int64_t sum = all_up[i];
    for (int64_t e = from; e < to; ++e) sum += table.twice[e] / 2;
    all_up[i] = static_cast<int32_t>(sum);
  }
  return run_walkers(betas, target, schedule, table.num_sites,
                     [&] { return PairGroup(table, quantum, all_up, schedule.seed, heat_bath, kernels); });
}

}  // namespace vanfast::cpu
