// Spins as bit planes: one bit a spin (1 for -1), and for every site the bits of 64 samples in one word.
//
// A sample is one bit position ("lane") in every word, so a logical operation on two words treats 64 samples at
// once on any CPU. A plane set holds `words` words a site, at planes[site * words + w]: samples 64w .. 64w + 63.
#pragma once

#include <cstdint>
#include <cstring>

namespace vanfast::cpu {

// Samples of one plane set are at most 64 * kMaxWords.
constexpr int kMaxWords = 8;

// Words treated together: the compiler splits them into what the CPU has.
using Word4 = uint64_t __attribute__((vector_size(32), aligned(8), may_alias));

// Exchanges the bits of `low` under mask << shift with those of `high` under mask.
template <class Word>
inline void swap_bits(Word& low, Word& high, int shift, uint64_t mask) {
  const Word moved = ((low >> shift) ^ high) & mask;
  high ^= moved;
  low ^= moved << shift;
}

// Packs spins [count][num_sites], count <= 64 * words, into planes [num_sites][words]; absent samples become 0 bits.
// Returns whether all spins were +1 or -1.
bool pack_planes(const int8_t* spins, int64_t num_sites, int64_t count, int words, uint64_t* planes);

// Gathers the bits that eight words hold of each lane into one byte a lane: bit k of the byte is from word k. Done for
// several groups of eight words at once where Word is a vector of words; element e goes to bytes[64 e .. 64 e + 63].
// Lane 8b + j comes out at position 8j + b, see lane_of_position.
template <class Word>
inline void bytes_of_words(Word x[8], uint8_t* bytes) {
  // In every byte column an 8x8 bit matrix (row: word, column: lane % 8) is transposed.
  for (int k = 0; k < 8; k += 2) swap_bits(x[k], x[k + 1], 1, 0x5555555555555555u);
  for (int k = 0; k < 8; k += 4)
    for (int i = k; i < k + 2; ++i) swap_bits(x[i], x[i + 2], 2, 0x3333333333333333u);
  for (int i = 0; i < 4; ++i) swap_bits(x[i], x[i + 4], 4, 0x0f0f0f0f0f0f0f0fu);
  for (size_t e = 0; e < sizeof(Word) / 8; ++e)
    for (int j = 0; j < 8; ++j) {
      uint64_t eight;
      std::memcpy(&eight, reinterpret_cast<const char*>(&x[j]) + 8 * e, 8);
      for (int b = 0; b < 8; ++b) bytes[64 * e + 8 * j + b] = static_cast<uint8_t>(eight >> (8 * b));
    }
}

// The lane whose byte stands at a position of bytes_of_words' output, and the other way round.
inline int lane_of_position(int position) { return 8 * (position % 8) + position / 8; }

}  // namespace vanfast::cpu
