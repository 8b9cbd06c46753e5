// Energies of lattices with one coupling J_d a direction, up to signs, and of couplings made of patterns.
//   lattice:  E = sum_d J_d (2 x_d - n_d) - sum_i h_i s_i,  x_d = how many of the n_d bonds join opposite spins
//   patterns: E = -(J / N) sum_mu (M_mu^2 - N) / 2 - h M,   M_mu = sum_i xi_i s_i
//
// A warp owns 1 to 32 whole samples, a group of its lanes one of them. The warp reads its spins once, as one stream of
// bytes with 16-byte loads wherever samples begin, and packs them to bits in its own part of shared memory. x_d is then
// the number of set bits of a row, 32 sites at a time, XOR its neighbour: another row, moved by one bit where the bond
// steps to the next column. Counts are integers, so that E is exact where J is; fields are added in float64 in an order
// that depends on the lattice alone. Warps share nothing, so one __syncwarp is all. No random words.
//
// Floor on H200: N bytes a sample at 4.3 TB/s; L = 128, batch 131,072: 2.15 GB, 0.50 ms. Instructions of a warp and
// sample of 16 KB: 32 x 26 for packing, 32 x 46 for counting, 2400 of the 3500 issue slots that its bytes take at that
// rate; so memory decides. Prediction: 0.58 ms, 85 % (48 warps a multiprocessor, each with up to 2 KB in flight). Where
// rows are not whole words (L = 16) counting takes 72 instructions for fewer sites, and decides: 50 %.
#include <stdexcept>

#include "cuda/energy.cuh"
#include "cuda/pack_bits.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kMaxThreads = 8 * kWarp;
constexpr int64_t kMostSites = 1'300'000;  // of a warp, as bits in the 163 KB that a block can have on sm_80

// The samples of a warp and where a lane's own stands in the stream of bits.
struct Group {
  int64_t sample;
  int position, lane, lanes;
  uint32_t* words;
};

__device__ inline Group pack_group(const int8_t* spins, int64_t count, int num_sites, int samples, int warp_words,
                                   unsigned char* shared) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, lanes = kWarp / samples;
  const int64_t first = (int64_t(blockIdx.x) * (blockDim.x / kWarp) + warp) * samples;
  const int64_t left = first < count ? count - first : 0, filled = left < samples ? left : samples;
  auto* words = reinterpret_cast<uint32_t*>(shared) + warp * warp_words;
  const int start = pack_stream(spins, count * num_sites, first * num_sites, filled * num_sites, words, lane);
  __syncwarp();
  const int own = lane / lanes;
  return {first + own, start + own * num_sites, lane % lanes, lanes, words};
}

template <class T>
__device__ T sum_over_lanes(T value, int lanes) {
  for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(kFull, value, step);
  return value;
}

__device__ inline int count_minus(const Group& own, int num_sites) {
  int minus = 0;
  for (int first = kWarp * own.lane; first < num_sites; first += kWarp * own.lanes)
    minus += __popc(bits_at(own.words, own.position + first) & low_bits(num_sites - first));
  return sum_over_lanes(minus, own.lanes);
}

// Words of one sample's rows. kWhole: rows are whole words and begin at one.
template <bool kWhole>
struct Rows {
  const uint32_t* words;
  unsigned position, width;

  __device__ Rows(const Group& own, unsigned width)
      : words(own.words + (kWhole ? unsigned(own.position) >> 5 : 0u)), position(own.position), width(width) {}
  __device__ uint32_t word(unsigned row, unsigned index) const {
    return kWhole ? words[row * (width >> 5) + index] : bits_at(words, position + row * width + 32 * index);
  }
  // The word moved by one column; the last of the row's columns, bit `last`, takes the first one's place.
  __device__ uint32_t next_column(unsigned row, unsigned index, bool is_last, unsigned last) const {
    if constexpr (kWhole) {
      const uint32_t* own = words + row * (width >> 5);
      return __funnelshift_r(own[index], own[is_last ? 0 : index + 1], 1);
    }
    const unsigned begin = position + row * width;
    const uint32_t bits = bits_at(words, begin + 32 * index + 1);
    return is_last ? (bits & ~(1u << last)) | (words[begin >> 5] >> (begin & 31) & 1u) << last : bits;
  }
};

// Bonds of direction d between opposite spins, or equal ones where their coupling is negative.
template <bool kWhole>
__device__ int count_opposite(const Group& own, const LatticeArrays& lattice, int d) {
  const unsigned rows = lattice.rows, width = lattice.width, row_words = (width + 31) / 32;
  const int step = __ldg(lattice.step + d);
  const unsigned last = (width - 1) % 32;
  const uint32_t last_mask = low_bits(last + 1) & (step == 1 ? ~(1u << last) : kFull);
  const int32_t* neighbour = lattice.neighbour + d * rows;
  const uint32_t* signs = lattice.signs ? lattice.signs + size_t(d) * rows * row_words : nullptr;
  const Rows<kWhole> bits(own, width);
  const unsigned lanes = own.lanes, row_hop = lanes / row_words, word_hop = lanes % row_words;
  unsigned row = own.lane / row_words, word = own.lane % row_words;
  int opposite = 0;
  for (unsigned k = own.lane; k < rows * row_words; k += lanes) {
    const int other = __ldg(neighbour + row);
    if (other >= 0) {
      const bool is_last = word == row_words - 1;
      uint32_t x = bits.word(row, word);
      x ^= step ? bits.next_column(other, word, is_last, last) : bits.word(other, word);
      if (signs) x ^= __ldg(signs + k);
      opposite += __popc(is_last ? x & last_mask : x);
    }
    row += row_hop, word += word_hop;
    if (word >= row_words) word -= row_words, ++row;
  }
  return sum_over_lanes(opposite, own.lanes);
}

__device__ inline double site_fields(const Group& own, const double* fields, int num_sites) {
  double sum = 0;  // of -h_i s_i
  for (int i = own.lane; i < num_sites; i += own.lanes) {
    const int at = own.position + i;
    sum = fma(__ldg(fields + i), (own.words[at >> 5] >> (at & 31) & 1u) ? 1.0 : -1.0, sum);
  }
  return sum_over_lanes(sum, own.lanes);
}

template <bool kWhole>
__global__ void __launch_bounds__(kMaxThreads)
    lattice_energy_kernel(const int8_t* __restrict__ spins, int64_t count, LatticeArrays lattice, int samples,
                          int warp_words, double* __restrict__ energy) {
  VANFAST_SHARED(shared);
  const int num_sites = lattice.rows * lattice.width;
  const Group own = pack_group(spins, count, num_sites, samples, warp_words, shared);
  double result = 0;
  int64_t unsatisfied = 0;
  for (int d = 0; d < lattice.directions; ++d) {
    unsatisfied += 2 * int64_t(count_opposite<kWhole>(own, lattice, d)) - __ldg(lattice.bonds + d);
    const double value = __ldg(lattice.values + d);
    // Directions of equal coupling are added as integers, so that a uniform coupling rounds once.
    if (d + 1 < lattice.directions && __ldg(lattice.values + d + 1) == value) continue;
    result += value * static_cast<double>(unsatisfied);
    unsatisfied = 0;
  }
  const double field = __ldg(lattice.values + lattice.directions);
  if (field != 0) result += field * (2.0 * count_minus(own, num_sites) - num_sites);
  if (lattice.fields) result += site_fields(own, lattice.fields, num_sites);
  if (own.lane == 0 && own.sample < count) energy[own.sample] = result;
}

__global__ void __launch_bounds__(kMaxThreads)
    pattern_energy_kernel(const int8_t* __restrict__ spins, int64_t count, int num_sites, int patterns,
                          const uint32_t* __restrict__ bits, const double* __restrict__ values, int samples,
                          int warp_words, double* __restrict__ energy) {
  VANFAST_SHARED(shared);
  const Group own = pack_group(spins, count, num_sites, samples, warp_words, shared);
  const int words = (num_sites + 31) / 32;
  double pairs = 0;
  for (int mu = 0; mu < patterns; ++mu) {
    int opposite = 0;
    for (int word = own.lane; word < words; word += own.lanes) {
      const uint32_t x = bits_at(own.words, own.position + 32 * word) ^ __ldg(bits + int64_t(mu) * words + word);
      opposite += __popc(x & low_bits(num_sites - 32 * word));
    }
    const double overlap = num_sites - 2.0 * sum_over_lanes(opposite, own.lanes);
    pairs += 0.5 * (overlap * overlap - num_sites);
  }
  double result = -__ldg(values) * pairs;
  const double field = __ldg(values + 1);
  if (field != 0) result += field * (2.0 * count_minus(own, num_sites) - num_sites);
  if (own.lane == 0 && own.sample < count) energy[own.sample] = result;
}

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace

void launch_lattice_energy(const int8_t* spins, int64_t count, const LatticeArrays& lattice, double* energy,
                           StreamHandle stream) {
  require(lattice.rows >= 1 && lattice.width >= 1 && lattice.directions >= 1,
          "rows, width and directions must be at least 1");
  const int64_t num_sites = int64_t{lattice.rows} * lattice.width;
  require(num_sites <= kMostSites, "a lattice of more than 1,300,000 sites does not fit shared memory");
  require(count >= 0, "count must not be negative");
  if (count == 0) return;
  const WarpShare share = share_warps(num_sites);
  const bool whole = lattice.width % 32 == 0 && reinterpret_cast<uintptr_t>(spins) % 16 == 0;
  auto* kernel = whole ? lattice_energy_kernel<true> : lattice_energy_kernel<false>;
  VANFAST_LAUNCH(kernel, blocks_of(share, count), share.warps * kWarp, share.shared_bytes, stream, spins, count,
                 lattice, share.samples, share.words, energy);
}

void launch_pattern_energy(const int8_t* spins, int64_t count, int num_sites, int patterns, const uint32_t* bits,
                           const double* values, double* energy, StreamHandle stream) {
  require(num_sites >= 1 && patterns >= 1 && count >= 0, "num_sites and patterns must be at least 1, count 0");
  require(num_sites <= kMostSites, "patterns of more than 1,300,000 sites do not fit shared memory");
  if (count == 0) return;
  const WarpShare share = share_warps(num_sites);
  VANFAST_LAUNCH(pattern_energy_kernel, blocks_of(share, count), share.warps * kWarp, share.shared_bytes, stream, spins,
                 count, num_sites, patterns, bits, values, share.samples, share.words, energy);
}

}  // namespace vanfast::cuda
