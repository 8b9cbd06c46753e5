// The inner loops of energy.cpp: counting bits of bonds on planes, and sums of looked-up table entries.
// Positions are lanes in the order of bytes_of_words, 64 for every word of a plane.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/bitplanes.h"

namespace vanfast::cpu {

// Two planes, the x bits of a bond being their XOR.
struct Bond {
  int32_t a, b;
};

inline const Word4* word4(const uint64_t* planes, int64_t word) {
  return reinterpret_cast<const Word4*>(planes + word);
}

// Adds three bits of equal weight in every lane: the sum stays in `sum`, the carry has twice the weight.
inline void carry_save_add(Word4& sum, const Word4& b, const Word4& c, Word4& carry) {
  const Word4 half = sum ^ b;
  carry = (sum & b) | (half & c);
  sum = half ^ c;
}

constexpr int kMaxLevels = 32;

inline int binary_digits(int64_t number) {
  int digits = 0;
  for (; number >> digits; ++digits) {
  }
  return digits;
}

// level[k] = bit k of the number of bonds, of `count` (a multiple of 8), whose x bit is set. Returns the number of
// levels. A carry-save tree takes eight bonds; its carries of weight 8 and more wait until there are two of the same
// weight.
inline int count_bonds(const uint64_t* planes, int64_t words, const Bond* bonds, int64_t count, Word4* level) {
  const int levels = binary_digits(count);
  Word4 waiting[kMaxLevels];
  uint32_t occupied = 0;
  for (int k = 3; k < levels; ++k) level[k] = Word4{};
  Word4 ones = {}, twos = {}, fours = {};
  const auto plane = [&](int32_t index) { return word4(planes, index * words); };
  for (int64_t first = 0; first < count; first += 8) {
    const Bond* bond = bonds + first;
    Word4 two0, two1, four0, four1, carry;
    carry_save_add(ones, *plane(bond[0].a) ^ *plane(bond[0].b), *plane(bond[1].a) ^ *plane(bond[1].b), two0);
    carry_save_add(ones, *plane(bond[2].a) ^ *plane(bond[2].b), *plane(bond[3].a) ^ *plane(bond[3].b), two1);
    carry_save_add(twos, two0, two1, four0);
    carry_save_add(ones, *plane(bond[4].a) ^ *plane(bond[4].b), *plane(bond[5].a) ^ *plane(bond[5].b), two0);
    carry_save_add(ones, *plane(bond[6].a) ^ *plane(bond[6].b), *plane(bond[7].a) ^ *plane(bond[7].b), two1);
    carry_save_add(twos, two0, two1, four1);
    carry_save_add(fours, four0, four1, carry);
    int k = 3;
    for (; occupied >> k & 1; ++k) {
      Word4 next;
      carry_save_add(level[k], waiting[k], carry, next);
      carry = next;
      occupied ^= 1u << k;
    }
    waiting[k] = carry;
    occupied |= 1u << k;
  }
  for (int k = 3; k < levels; ++k) {
    if (!(occupied >> k & 1)) continue;
    Word4 carry = waiting[k];
    for (int i = k; i < levels; ++i) {
      const Word4 next = level[i] & carry;
      level[i] ^= carry;
      carry = next;
    }
  }
  level[0] = ones, level[1] = twos, level[2] = fours;
  return levels;
}

// counts[256]: the numbers whose binary digits `levels` planes hold, by position.
inline void numbers_of_levels(Word4* level, int levels, uint32_t* counts) {
  const int padded = (levels + 7) / 8 * 8;
  for (int k = levels; k < padded; ++k) level[k] = Word4{};
  for (int k = 0; k < padded; k += 8) {
    uint8_t bytes[256];
    bytes_of_words(level + k, bytes);
    for (int p = 0; p < 256; ++p) counts[p] = (k ? counts[p] : 0) + (static_cast<uint32_t>(bytes[p]) << k);
  }
}

constexpr int kEntries = 256;

// table[x] = -sum_k value[k] s_k over k < 8, with s_k = -1 where bit k of x is set; summed over four and four.
inline void group_table(const double* value, double* table) {
  double half[2][16] = {};
  for (int part = 0; part < 2; ++part)
    for (int k = 0; k < 4; ++k)
      for (int x = (1 << k) - 1; x >= 0; --x) {
        const double sum = half[part][x], v = value[4 * part + k];
        half[part][x] = sum - v;
        half[part][x + (1 << k)] = sum + v;
      }
  for (int high = 0; high < 16; ++high)
    for (int low = 0; low < 16; ++low) table[high << 4 | low] = half[0][low] + half[1][high];
}

inline double sign_of_bit(int bits, int k) { return 1 - 2 * (bits >> k & 1); }

// -sum_ab r_a J_ab c_b for the spins of two nibbles; J is [4][4]. The order of the sums is that of block_table.
inline double block_value(const double* J, int row, int column) {
  double sum[4];
  for (int a = 0; a < 4; ++a) {
    const double* j = J + 4 * a;
    const double field = j[0] * sign_of_bit(column, 0) + j[1] * sign_of_bit(column, 1);
    sum[a] = (field + j[2] * sign_of_bit(column, 2)) + j[3] * sign_of_bit(column, 3);
  }
  const double first = -sum[0] * sign_of_bit(row, 0) - sum[1] * sign_of_bit(row, 1);
  return (first - sum[2] * sign_of_bit(row, 2)) - sum[3] * sign_of_bit(row, 3);
}

// table[row << 4 | column] = block_value(J, row, column).
inline void block_table(const double* J, double* table) {
  double field[4][16];
  for (int a = 0; a < 4; ++a) {
    const double* j = J + 4 * a;
    for (int column = 0; column < 16; ++column) {
      const double pair = j[0] * sign_of_bit(column, 0) + j[1] * sign_of_bit(column, 1);
      field[a][column] = (pair + j[2] * sign_of_bit(column, 2)) + j[3] * sign_of_bit(column, 3);
    }
  }
  // Flipping the row nibble changes the sign, so half of the rows are enough.
  for (int row = 0; row < 8; ++row) {
    double* out = table + 16 * row;
    double* flipped = table + 16 * (15 - row);
    const double r0 = sign_of_bit(row, 0), r1 = sign_of_bit(row, 1), r2 = sign_of_bit(row, 2);
    for (int column = 0; column < 16; ++column) {
      const double first = -field[0][column] * r0 - field[1][column] * r1;
      const double sum = (first - field[2][column] * r2) - field[3][column];
      out[column] = sum;
      flipped[column] = -sum;
    }
  }
}

// Sum of kTables numbers as a balanced tree.
template <int kTables>
inline double tree_sum(const double* value) {
  if constexpr (kTables == 1) {
    return value[0];
  } else {
    return tree_sum<kTables / 2>(value) + tree_sum<kTables / 2>(value + kTables / 2);
  }
}

// energy[p] += sum over k of tables[k][index[k][p]] for p < count; index rows are `stride` apart.
template <int kTables>
inline void add_lookups(const double* tables, const uint8_t* index, int64_t stride, int64_t count, double* energy) {
  for (int64_t p = 0; p < count; ++p) {
    double value[kTables];
    for (int k = 0; k < kTables; ++k) value[k] = tables[kEntries * k + index[k * stride + p]];
    energy[p] += tree_sum<kTables>(value);
  }
}

inline void add_lookups(int tables, const double* table, const uint8_t* index, int64_t stride, int64_t count,
                        double* energy) {
  switch (tables) {
    case 8:
      return add_lookups<8>(table, index, stride, count, energy);
    case 4:
      return add_lookups<4>(table, index, stride, count, energy);
    case 2:
      return add_lookups<2>(table, index, stride, count, energy);
    default:
      return add_lookups<1>(table, index, stride, count, energy);
  }
}

// How many of `left` tables are looked up together: 8, 4, 2 or 1. The order of a sum follows from it.
inline int tables_together(int64_t left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

}  // namespace vanfast::cpu
