// Energies of batches of spin configurations, E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i in float64.
//
// Samples are turned into bit planes (bitplanes.h), where x_ij = [s_i != s_j] is one XOR for 64 samples, and a field
// is a bond to a site that is always +1. A model is a sum of three kinds of terms, chosen at construction:
//   counts  bonds that share one value J: E = J (2 X - n), X counted by carry-save adders on the planes. One
//           rounding at most, exact for integers. Also (J/N) sum_mu xi_i xi_j from patterns, by their overlaps.
//   groups  eight bonds of any values: their eight x bits are a byte, looked up in a table of 256 sums.
//   blocks  4x4 sites of a dense matrix: two nibbles of spins are a byte, looked up in a table of 256 sums.
// There is one build for all instruction sets: logic on 128 bits already reads spins at 11 to 16 GB/s on one core, and
// AVX2 and AVX-512 builds of the same code were measured to be 0.8 to 1.2 times as fast beyond 16x16 sites.
// A sample's terms are summed in a fixed order, so its energy does not depend on batch, chunks or threads.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cpu/energy_kernels.h"

namespace vanfast::cpu {

class EnergyModel {
 public:
  // edges [count][2] of different sites in [0, num_sites), couplings [count], fields [num_sites]; all finite.
  EnergyModel(int num_sites, const int32_t* edges, const double* couplings, int64_t count, const double* fields);

  // J_ij = (coupling / num_sites) sum_mu xi_i^mu xi_j^mu for all pairs; patterns [count][num_sites] of +1 and -1.
  static EnergyModel from_patterns(int num_sites, const int8_t* patterns, int64_t count, double coupling,
                                   const double* fields);

  int num_sites() const { return num_sites_; }

  // Samples that evaluate treats together: a call with fewer costs more a sample.
  int64_t tile() const { return 64 * max_words_ * (block_rows_.empty() ? 1 : kTilesOfBlocks); }

  // Writes energy[count] of spins [count][num_sites]. One thread; any number of threads may call at once.
  // Throws std::invalid_argument on a spin that is not +1 or -1, counting rows from first_row.
  void evaluate(const int8_t* spins, int64_t count, double* energy, int64_t first_row = 0) const;

 private:
  // One bond and its value; fields are bonds to the zero plane.
  struct Item {
    Bond bond;
    double value;
  };
  // The 4x4 block of a dense matrix that an item falls in: nibble of its row, nibble of its column.
  static std::pair<int32_t, int32_t> block_of(const Item& item) { return {item.bond.a / 4, item.bond.b / 4}; }
  // Bonds first .. first + padded - 1 of count_bonds_, `count` real ones, all of one value.
  struct Count {
    double value;
    int64_t first, padded, count;
  };
  // The blocks first .. first + count - 1 of one row nibble.
  struct BlockRow {
    int32_t row;
    int64_t first, count;
  };
  struct Scratch;

  static constexpr int kTilesOfBlocks = 4;  // plane sets that share the building of block tables

  explicit EnergyModel(int num_sites);
  void add_items(std::vector<Item> items);
  void add_count(double value, std::vector<Bond> bonds, std::vector<Count>& counts);
  void add_blocks(const std::vector<Item>& items);
  void add_counts(Scratch& scratch, int words, int64_t offset) const;
  void add_groups(Scratch& scratch, int words, int64_t offset) const;
  void fill_nibbles(Scratch& scratch, int words, int64_t offset) const;
  void add_block_rows(Scratch& scratch, int64_t positions) const;
  void add_block_rows_directly(Scratch& scratch, int64_t lanes) const;
  [[noreturn]] void refuse(const int8_t* spins, int64_t count, int64_t first_row) const;

  int32_t zero_plane() const { return num_sites_; }     // beyond the sites stand a plane of 0 bits
  int32_t one_plane() const { return num_sites_ + 1; }  // and one of 1 bits

  int num_sites_;
  int max_words_;
  std::vector<Bond> count_bonds_;
  std::vector<Count> counts_;
  std::vector<Count> overlaps_;  // of patterns, bonds to a constant plane: the sites that differ
  double pattern_coupling_ = 0;
  std::vector<Bond> group_bonds_;  // eight a group
  std::vector<double> group_values_;
  std::vector<BlockRow> block_rows_;
  std::vector<int32_t> block_columns_;
  std::vector<double> block_values_;  // [block][4][4], first the site of the row nibble
};

}  // namespace vanfast::cpu
