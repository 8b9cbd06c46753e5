#include "cpu/bitplanes.h"

#include <algorithm>
#include <cstring>

namespace vanfast::cpu {
namespace {

constexpr int kSites = 64;  // sites packed at a time: one cache line of each row

// Bit k of out[i] is the spin of row k at site i. Returns the OR of what distinguishes bad spins from +1 and -1.
template <int kRows>
uint8_t pack_rows(const uint8_t* rows, int64_t stride, int count, int sites, uint8_t* out) {
  const int filled = kRows ? kRows : count;
  uint8_t bad[kSites] = {};
  for (int i = 0; i < sites; ++i) out[i] = 0;
  for (int k = 0; k < filled; ++k) {
    const uint8_t* row = rows + k * stride;
    for (int i = 0; i < sites; ++i) {
      const uint8_t s = row[i];
      bad[i] |= static_cast<uint8_t>(s + 1) & 0xfd;                     // s + 1 is 2 or 0
      out[i] |= static_cast<uint8_t>(k ? s & (1 << k) : (s & 2) >> 1);  // all bits above the lowest are the sign
    }
  }
  uint8_t any = 0;
  for (int i = 0; i < sites; ++i) any |= bad[i];
  return any;
}

uint8_t pack_rows(const uint8_t* rows, int64_t stride, int count, int sites, uint8_t* out) {
  if (count == 8 && sites == kSites) return pack_rows<8>(rows, stride, 8, kSites, out);
  return pack_rows<0>(rows, stride, count, sites, out);
}

}  // namespace

bool pack_planes(const int8_t* spins, int64_t num_sites, int64_t count, int words, uint64_t* planes) {
  const auto* rows = reinterpret_cast<const uint8_t*>(spins);
  uint8_t bad = 0;
  for (int word = 0; word < words; ++word) {
    for (int64_t first = 0; first < num_sites; first += kSites) {
      const int sites = static_cast<int>(std::min<int64_t>(kSites, num_sites - first));
      uint8_t bytes[8][kSites] = {};  // [eight rows][site]
      for (int group = 0; group < 8; ++group) {
        const int64_t row = 64 * word + 8 * group;
        const int filled = static_cast<int>(std::clamp<int64_t>(count - row, 0, 8));
        if (filled) bad |= pack_rows(rows + row * num_sites + first, num_sites, filled, sites, bytes[group]);
      }
      uint64_t* out = planes + first * words + word;
      for (int i = 0; i < sites; ++i) {
        uint64_t plane = 0;
        for (int group = 0; group < 8; ++group) plane |= static_cast<uint64_t>(bytes[group][i]) << (8 * group);
        out[static_cast<int64_t>(i) * words] = plane;
      }
    }
  }
  return bad == 0;
}

}  // namespace vanfast::cpu
