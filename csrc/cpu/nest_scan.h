// Nested log-sigmoids of fields that grow by one column of couplings per drawn site (H2ARNN's SK networks).
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/gradient.h"
#include "cpu/packing.h"
#include "cpu/scan.h"

namespace vanfast::cpu {

struct NestSpec {
  int sites, levels;       // levels = nestings + 1
  const float* couplings;  // [sites][sites], symmetric
  const float* bias;       // [sites]
  const float* direct;     // [sites]
  const float* weight;     // [sites][sites][2][levels + 1]; entries l <= i of [i][l] are not read
  const float* shift;      // [sites][sites][2][levels]
};

// Pairs (i, l): a field moves if any site before i couples to l, else it is 0.
enum class NestPairs {
  kAll,
  kMoving,  // whose field moves
  kStill,   // whose field does not
  kRead,    // which the logits read and whose field moves; the others' share of the logit is put into the bias
};

// The parameters of all sites in the order in which they are used.
class NestRows {
 public:
  NestRows(const NestSpec& spec, NestPairs which);
  NestRows(const NestRows&) = delete;  // rows point into the lists
  NestRows& operator=(const NestRows&) = delete;

  const NestRow& operator[](int site) const { return rows_[site]; }
  int64_t bytes() const { return int64_t(parameters_.size() + later_.size()) * 4; }

 private:
  std::vector<NestRow> rows_;
  std::vector<int32_t> later_;
  Buffer<float> parameters_;
};

// The first sites, whose conditionals are evaluated once for all prefixes p = sum_j [s_j up] 2^j; site i has its 2^i
// from number 2^i - 1 on.
inline int nest_tabled(int sites) { return sites < 10 ? sites : 10; }
inline size_t nest_first(int site) { return (size_t(1) << site) - 1; }
// Spins [site][kLanes] of the prefixes p0 ... p0 + kLanes - 1, and how many of them there are.
int nest_prefixes(int site, uint32_t p0, float* spins);

// Fields of all sites from the spins of the first `columns`.
PackedMatrix nest_couplings(const NestSpec& spec, const Kernels& kernels, int columns);

std::unique_ptr<Scan> make_nest_scan(const NestSpec& spec, const Kernels& kernels);

}  // namespace vanfast::cpu
