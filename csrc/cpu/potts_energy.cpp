#include "cpu/potts_energy.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "cpu/parallel.h"

namespace vanfast::cpu {

namespace {

constexpr int kTile = 64;  // samples, one cache line of states a site

}  // namespace

PottsEnergy::PottsEnergy(int num_sites, int states, const int32_t* edges, const double* couplings, int64_t count,
                         const double* fields)
    : num_sites_(num_sites), fields_(fields, fields + states) {
  has_fields_ = std::any_of(fields_.begin(), fields_.end(), [](double h) { return h != 0.0; });
  std::vector<int64_t> by_coupling(count);
  std::iota(by_coupling.begin(), by_coupling.end(), 0);
  std::stable_sort(by_coupling.begin(), by_coupling.end(),
                   [&](int64_t m, int64_t n) { return couplings[m] < couplings[n]; });
  for (int64_t m : by_coupling) {
    if (couplings[m] == 0.0) continue;
    const int64_t at = static_cast<int64_t>(bonds_.size());
    bonds_.push_back({edges[2 * m], edges[2 * m + 1]});
    if (runs_.empty() || runs_.back().coupling != couplings[m]) runs_.push_back({couplings[m], at, at});
    ++runs_.back().end;
  }
}

void PottsEnergy::evaluate_tile(const int8_t* states, int64_t count, double* energy) const {
  std::vector<int8_t> columns(size_t(num_sites_) * kTile, 0);  // [site][sample]
  for (int64_t n = 0; n < count; ++n)
    for (int i = 0; i < num_sites_; ++i) columns[size_t(i) * kTile + n] = states[n * num_sites_ + i];
  double sums[kTile] = {};
  for (const Run& run : runs_) {
    int64_t equal[kTile] = {};
    for (int64_t first = run.first; first < run.end; first += 255) {  // as many as a byte counts
      uint8_t some[kTile] = {};
      for (int64_t m = first; m < std::min(run.end, first + 255); ++m) {
        const int8_t* a = columns.data() + size_t(bonds_[m].a) * kTile;
        const int8_t* b = columns.data() + size_t(bonds_[m].b) * kTile;
        for (int n = 0; n < kTile; ++n) some[n] = static_cast<uint8_t>(some[n] + (a[n] == b[n]));
      }
      for (int n = 0; n < kTile; ++n) equal[n] += some[n];
    }
    for (int n = 0; n < kTile; ++n) sums[n] -= run.coupling * static_cast<double>(equal[n]);
  }
  for (int64_t n = 0; n < count; ++n) {
    for (int i = 0; has_fields_ && i < num_sites_; ++i) sums[n] -= fields_[columns[size_t(i) * kTile + n]];
    energy[n] = sums[n] + 0.0;  // no negative zero
  }
}

void PottsEnergy::evaluate(const int8_t* values, int64_t count, double* energy, int threads) const {
  const int8_t *end = values + count * num_sites_, most = static_cast<int8_t>(states() - 1);
  const int8_t* bad = std::find_if(values, end, [most](int8_t s) { return s < 0 || s > most; });
  if (bad != end)
    throw std::invalid_argument("spins must hold states 0 .. " + std::to_string(most) + ", found " +
                                std::to_string(*bad) + " at configuration " +
                                std::to_string((bad - values) / num_sites_) + ", site " +
                                std::to_string((bad - values) % num_sites_));
  parallel_for((count + kTile - 1) / kTile, threads, [&](int64_t tile, int) {
    const int64_t from = tile * kTile;
    evaluate_tile(values + from * num_sites_, std::min<int64_t>(kTile, count - from), energy + from);
  });
}

}  // namespace vanfast::cpu
