#include "cpu/mcmc_run.h"

#include <cstring>

#include "cpu/bitplanes.h"

namespace vanfast::cpu {
namespace {

// Eight spins of a byte of bits, bit set for -1.
struct SpinTable {
  uint64_t spins[256];
  SpinTable() {
    for (int bits = 0; bits < 256; ++bits) {
      int8_t eight[8];
      for (int k = 0; k < 8; ++k) eight[k] = bits >> k & 1 ? -1 : 1;
      std::memcpy(&spins[bits], eight, 8);
    }
  }
};

}  // namespace

void unpack_lanes(const uint32_t* down, int num_sites, int stride, int first, int last, int8_t* rows,
                  int64_t row_stride) {
  static const SpinTable table;
  for (int site = 0; site < num_sites; site += 8) {
    const int count = num_sites - site < 8 ? num_sites - site : 8;
    uint64_t words[8] = {};
    for (int k = 0; k < count; ++k) words[k] = down[static_cast<int64_t>(site + k) * stride];
    uint8_t bytes[64];
    bytes_of_words(words, bytes);
    for (int lane = first; lane < last; ++lane) {
      const uint64_t eight = table.spins[bytes[lane_of_position(lane)]];
      std::memcpy(rows + (lane - first) * row_stride + site, &eight, count);
    }
  }
}

void start_bits(const Schedule& schedule, uint64_t walker, const int8_t* given, int num_sites,
                std::vector<uint32_t>& bits) {
  bits.assign((num_sites + 31) / 32, 0);
  if (given)
    for (int i = 0; i < num_sites; ++i) bits[i / 32] |= static_cast<uint32_t>(given[i] < 0) << (i % 32);
  else
    for (size_t w = 0; w < bits.size(); ++w) bits[w] = start_word(schedule.seed, walker, static_cast<int>(w));
}

std::vector<int8_t> start_values(const Schedule& schedule, uint64_t walker, const int8_t* given, int num_sites,
                                 int states) {
  if (given) return {given, given + num_sites};
  std::vector<int8_t> values(num_sites);
  std::vector<uint32_t> bits;
  if (!states) start_bits(schedule, walker, nullptr, num_sites, bits);
  PhiloxWords words{};
  for (int i = 0; i < num_sites; ++i) {
    if (states && i % 4 == 0) words = walker_words(schedule.seed, walker, kStartWords, i / 4);
    values[i] = static_cast<int8_t>(states                         ? any_state(words.word[i % 4], states)
                                    : bits[i / 32] >> (i % 32) & 1 ? -1
                                                                   : 1);
  }
  return values;
}

}  // namespace vanfast::cpu
