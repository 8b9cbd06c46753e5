#include "cpu/energy.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace vanfast::cpu {

namespace {

constexpr size_t kMinCount = 64;             // bonds of one value that are worth counters of their own
constexpr int64_t kPlaneBytes = 512 * 1024;  // planes should stay in the second-level cache
constexpr size_t kBondsPerBlock = 4;         // bonds in a 4x4 block above which it beats groups of eight bonds
constexpr int64_t kDirectSamples = 24;       // samples below which block tables are not worth their building
constexpr int64_t kTogether = 8;             // tables looked up together
constexpr int64_t kLookupChunk = 512;        // positions whose indices are made before they are looked up

}  // namespace

struct EnergyModel::Scratch {
  std::vector<uint64_t> planes;  // [num_sites + 2][words]
  std::vector<double> energy;    // [positions]
  std::vector<uint8_t> nibbles;  // [nibble][tile()]
  std::vector<uint8_t> index;    // [kTogether][kLookupChunk]
  std::vector<double> tables;    // [kTogether][kEntries]
};

EnergyModel::EnergyModel(int num_sites) : num_sites_(num_sites), max_words_(kMaxWords) {
  while (max_words_ > 4 && int64_t{8} * max_words_ * num_sites > kPlaneBytes) max_words_ /= 2;
}

EnergyModel::EnergyModel(int num_sites, const int32_t* edges, const double* couplings, int64_t count,
                         const double* fields)
    : EnergyModel(num_sites) {
  std::vector<Item> items;
  items.reserve(count);
  for (int64_t e = 0; e < count; ++e) {
    const auto [low, high] = std::minmax(edges[2 * e], edges[2 * e + 1]);
    if (couplings[e] != 0) items.push_back({{low, high}, couplings[e]});
  }
  for (int i = 0; i < num_sites; ++i)
    if (fields[i] != 0) items.push_back({{i, zero_plane()}, fields[i]});
  add_items(std::move(items));
}

EnergyModel EnergyModel::from_patterns(int num_sites, const int8_t* patterns, int64_t count, double coupling,
                                       const double* fields) {
  EnergyModel model(num_sites, nullptr, nullptr, 0, fields);
  model.pattern_coupling_ = coupling;
  for (int64_t mu = 0; mu < count; ++mu) {
    std::vector<Bond> bonds;
    for (int i = 0; i < num_sites; ++i)
      bonds.push_back({i, patterns[mu * num_sites + i] > 0 ? model.zero_plane() : model.one_plane()});
    model.add_count(0, std::move(bonds), model.overlaps_);
  }
  return model;
}

// Shares out the bonds among counts, groups and blocks; the order of the sums follows from the bonds alone.
void EnergyModel::add_items(std::vector<Item> items) {
  std::vector<double> values;
  values.reserve(items.size());
  for (const Item& item : items) values.push_back(item.value);
  std::sort(values.begin(), values.end());
  std::map<double, std::vector<Bond>> common;
  for (size_t first = 0, last = 0; first < values.size(); first = last) {
    while (last < values.size() && values[last] == values[first]) ++last;
    if (last - first >= kMinCount) common[values[first]].reserve(last - first + 8);
  }
  std::vector<Item> others;
  for (const Item& item : items) {
    const auto found = common.empty() ? common.end() : common.find(item.value);
    if (found != common.end())
      found->second.push_back(item.bond);
    else
      others.push_back(item);
  }
  for (auto& [value, bonds] : common) add_count(value, std::move(bonds), counts_);

  std::stable_sort(others.begin(), others.end(),
                   [](const Item& l, const Item& r) { return block_of(l) < block_of(r); });
  size_t blocks = 0;
  for (size_t k = 0; k < others.size(); ++k) blocks += k == 0 || block_of(others[k]) != block_of(others[k - 1]);
  if (!others.empty() && others.size() >= kBondsPerBlock * blocks) {
    add_blocks(others);
    return;
  }
  others.resize((others.size() + 7) / 8 * 8, {{zero_plane(), zero_plane()}, 0.0});
  for (const Item& item : others) {
    group_bonds_.push_back(item.bond);
    group_values_.push_back(item.value);
  }
}

void EnergyModel::add_count(double value, std::vector<Bond> bonds, std::vector<Count>& counts) {
  const int64_t count = static_cast<int64_t>(bonds.size()), padded = (count + 7) / 8 * 8;
  bonds.resize(padded, {zero_plane(), zero_plane()});
  counts.push_back({value, static_cast<int64_t>(count_bonds_.size()), padded, count});
  count_bonds_.insert(count_bonds_.end(), bonds.begin(), bonds.end());
}

void EnergyModel::add_blocks(const std::vector<Item>& items) {
  for (const Item& item : items) {
    const auto [row, column] = block_of(item);
    if (block_rows_.empty() || block_rows_.back().row != row)
      block_rows_.push_back({row, static_cast<int64_t>(block_columns_.size()), 0});
    if (block_rows_.back().count == 0 || block_columns_.back() != column) {
      ++block_rows_.back().count;
      block_columns_.push_back(column);
      block_values_.resize(block_values_.size() + 16, 0.0);
    }
    block_values_[block_values_.size() - 16 + 4 * (item.bond.a % 4) + item.bond.b % 4] += item.value;
  }
}

void EnergyModel::evaluate(const int8_t* spins, int64_t count, double* energy, int64_t first_row) const {
  if (count <= 0) return;
  Scratch scratch;
  const int64_t batch = std::min(tile(), (count + 255) / 256 * 256);
  scratch.planes.resize(static_cast<size_t>(num_sites_ + 2) * max_words_);
  scratch.energy.resize(batch);
  scratch.index.resize(kTogether * std::max<int64_t>(kLookupChunk, 64 * max_words_));
  scratch.tables.resize(kTogether * kEntries);
  if (!block_rows_.empty()) scratch.nibbles.resize(static_cast<size_t>(num_sites_ / 8 + 1) * 2 * tile());

  for (int64_t first = 0; first < count; first += tile()) {
    const int64_t lanes = std::min(tile(), count - first);
    std::fill(scratch.energy.begin(), scratch.energy.end(), 0.0);
    int64_t positions = 0;
    while (positions < lanes) {
      const int64_t left = lanes - positions, row = first + positions;
      const int words = left > 256 ? max_words_ : 4;
      const int64_t rows = std::min<int64_t>(left, 64 * words);
      uint64_t* planes = scratch.planes.data();
      if (!pack_planes(spins + row * num_sites_, num_sites_, rows, words, planes))
        refuse(spins + row * num_sites_, rows, first_row + row);
      std::fill_n(planes + int64_t{zero_plane()} * words, words, uint64_t{0});
      std::fill_n(planes + int64_t{one_plane()} * words, words, ~uint64_t{0});
      add_counts(scratch, words, positions);
      add_groups(scratch, words, positions);
      if (!block_rows_.empty()) fill_nibbles(scratch, words, positions);
      positions += 64 * words;
    }
    if (lanes < kDirectSamples)
      add_block_rows_directly(scratch, lanes);
    else
      add_block_rows(scratch, positions);
    for (int64_t lane = 0; lane < lanes; ++lane)
      energy[first + lane] = scratch.energy[lane / 64 * 64 + lane_of_position(lane % 64)];
  }
}

void EnergyModel::add_counts(Scratch& scratch, int words, int64_t offset) const {
  Word4 level[kMaxLevels + 8];
  uint32_t number[256];
  for (int word = 0; word < words; word += 4) {
    double* energy = scratch.energy.data() + offset + 64 * word;
    const uint64_t* planes = scratch.planes.data() + word;
    if (!overlaps_.empty()) {
      double pairs[256] = {};  // sum over patterns of (M^2 - N) / 2, with M = N - 2 X
      for (const Count& overlap : overlaps_) {
        const int used = count_bonds(planes, words, count_bonds_.data() + overlap.first, overlap.padded, level);
        numbers_of_levels(level, used, number);
        for (int p = 0; p < 256; ++p) {
          const double m = num_sites_ - 2.0 * static_cast<int32_t>(number[p]);
          pairs[p] += 0.5 * (m * m - num_sites_);
        }
      }
      for (int p = 0; p < 256; ++p) energy[p] -= pattern_coupling_ * pairs[p] / num_sites_;
    }
    for (const Count& term : counts_) {
      const int used = count_bonds(planes, words, count_bonds_.data() + term.first, term.padded, level);
      numbers_of_levels(level, used, number);
      const double count = static_cast<double>(term.count);
      for (int p = 0; p < 256; ++p) energy[p] += term.value * (2.0 * static_cast<int32_t>(number[p]) - count);
    }
  }
}

void EnergyModel::add_groups(Scratch& scratch, int words, int64_t offset) const {
  const int64_t groups = static_cast<int64_t>(group_values_.size()) / 8, positions = 64 * words;
  int together = 0;
  for (int64_t group = 0; group < groups; group += together) {
    together = tables_together(groups - group);
    for (int k = 0; k < together; ++k) {
      const Bond* bonds = group_bonds_.data() + 8 * (group + k);
      group_table(group_values_.data() + 8 * (group + k), scratch.tables.data() + kEntries * k);
      for (int word = 0; word < words; word += 4) {
        const auto plane = [&](int32_t site) { return word4(scratch.planes.data(), int64_t{site} * words + word); };
        Word4 x[8];
        for (int i = 0; i < 8; ++i) x[i] = *plane(bonds[i].a) ^ *plane(bonds[i].b);
        bytes_of_words(x, scratch.index.data() + k * positions + 64 * word);
      }
    }
    add_lookups(together, scratch.tables.data(), scratch.index.data(), positions, positions,
                scratch.energy.data() + offset);
  }
}

void EnergyModel::fill_nibbles(Scratch& scratch, int words, int64_t offset) const {
  for (int64_t first = 0; first <= num_sites_; first += 8) {
    uint8_t* low = scratch.nibbles.data() + first / 4 * tile() + offset;
    for (int word = 0; word < words; word += 4) {
      Word4 x[8];
      for (int i = 0; i < 8; ++i)
        x[i] = *word4(scratch.planes.data(), std::min<int64_t>(first + i, zero_plane()) * words + word);
      uint8_t bytes[256];
      bytes_of_words(x, bytes);
      for (int p = 0; p < 256; ++p) {
        low[64 * word + p] = bytes[p] & 15;
        low[tile() + 64 * word + p] = bytes[p] >> 4;
      }
    }
  }
}

void EnergyModel::add_block_rows(Scratch& scratch, int64_t positions) const {
  for (const BlockRow& row : block_rows_) {
    const uint8_t* high = scratch.nibbles.data() + row.row * tile();
    int together = 0;
    for (int64_t block = row.first; block < row.first + row.count; block += together) {
      together = tables_together(row.first + row.count - block);
      for (int k = 0; k < together; ++k)
        block_table(block_values_.data() + 16 * (block + k), scratch.tables.data() + kEntries * k);
      for (int64_t first = 0; first < positions; first += kLookupChunk) {
        const int64_t chunk = std::min(kLookupChunk, positions - first);
        for (int k = 0; k < together; ++k) {
          const uint8_t* low = scratch.nibbles.data() + block_columns_[block + k] * tile() + first;
          uint8_t* index = scratch.index.data() + k * kLookupChunk;
          for (int64_t p = 0; p < chunk; ++p) index[p] = static_cast<uint8_t>(high[first + p] << 4 | low[p]);
        }
        add_lookups(together, scratch.tables.data(), scratch.index.data(), kLookupChunk, chunk,
                    scratch.energy.data() + first);
      }
    }
  }
}

void EnergyModel::add_block_rows_directly(Scratch& scratch, int64_t lanes) const {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const int64_t position = lane_of_position(static_cast<int>(lane));
    const uint8_t* nibbles = scratch.nibbles.data() + position;
    double sum = scratch.energy[position];
    for (const BlockRow& row : block_rows_) {
      const int high = nibbles[row.row * tile()];
      int together = 0;
      for (int64_t block = row.first; block < row.first + row.count; block += together) {
        together = tables_together(row.first + row.count - block);
        double value[kTogether];
        for (int k = 0; k < together; ++k)
          value[k] =
              block_value(block_values_.data() + 16 * (block + k), high, nibbles[block_columns_[block + k] * tile()]);
        sum += together == 8   ? tree_sum<8>(value)
               : together == 4 ? tree_sum<4>(value)
               : together == 2 ? tree_sum<2>(value)
                               : value[0];
      }
    }
    scratch.energy[position] = sum;
  }
}

void EnergyModel::refuse(const int8_t* spins, int64_t count, int64_t first_row) const {
  const int8_t* bad = std::find_if(spins, spins + count * num_sites_, [](int8_t s) { return s != 1 && s != -1; });
  throw std::invalid_argument("spins must hold only +1 and -1, found " + std::to_string(*bad) + " at configuration " +
                              std::to_string(first_row + (bad - spins) / num_sites_) + ", site " +
                              std::to_string((bad - spins) % num_sites_));
}

}  // namespace vanfast::cpu
