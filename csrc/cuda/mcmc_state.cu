// Spins of Markov chains between bits and rows: what walkers start with, and configurations that are drawn.
//
// start: a warp owns 128 sites of a word; lane l is walker l, whose four random words (stream 2, use kStartWords, block
// of 128 sites) are the bits of these sites; 128 votes turn 32 walkers x 128 sites into 128 words. Given spins take the
// same way, once in a run.
// draw: a thread owns a site of a word and writes its bit of every walker that is wanted: 32 bytes of a warp side by
// side. Floor: the int8 that leave; they go on to the host over PCIe at a hundredth of the memory's rate.
#include "cuda/mcmc_device.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kThreads = 128, kBlockSites = 128;

__global__ void __launch_bounds__(kThreads)
    mcmc_start_kernel(Walkers walkers, int replicas, const int8_t* __restrict__ given,
                      const int32_t* __restrict__ site) {
  const int lane = threadIdx.x % 32, word = blockIdx.x;
  const int first = (blockIdx.y * (kThreads / 32) + threadIdx.x / 32) * kBlockSites;
  if (first >= walkers.sites) return;
  const int64_t walker = walker_of(walkers, word, lane);
  const bool wanted = is_wanted(walkers, walker);
  const int8_t* row = given ? given + (wanted ? walker / replicas : 0) * walkers.sites : nullptr;
  const uint64_t index = walkers.base + static_cast<uint64_t>(32 * int64_t{word} + lane);
  const PhiloxWords random = walker_words(walkers.seed, index, kStartWords, first / kBlockSites);
  uint32_t* out = walkers.state + int64_t(word) * walkers.sites + first;
  for (int part = 0; part < 4; ++part) {
    const uint32_t bits = word_of(random, part);
    uint32_t own = 0;
    for (int k = 0; k < 32; ++k) {
      const int at = 32 * part + k, p = min(first + at, walkers.sites - 1);
      const bool down = row ? row[site ? site[p] : p] < 0 : bits >> k & 1u;
      const uint32_t all = __ballot_sync(0xFFFFFFFFu, wanted && down);
      if (lane == k) own = all;
    }
    if (first + 32 * part + lane < walkers.sites) out[32 * part + lane] = own;
  }
}

__global__ void __launch_bounds__(kThreads)
    mcmc_draw_kernel(Walkers walkers, int replicas, const int32_t* __restrict__ slot, int target,
                     const int32_t* __restrict__ position, int8_t* __restrict__ spins, int64_t draws, int64_t draw) {
  const int site = blockIdx.y * kThreads + threadIdx.x, word = blockIdx.x;
  if (site >= walkers.sites) return;
  const uint32_t bits = walkers.state[int64_t(word) * walkers.sites + (position ? position[site] : site)];
  for (int lane = 0; lane < 32; ++lane) {
    const int64_t walker = walker_of(walkers, word, lane);
    if (!is_wanted(walkers, walker) || (slot && __ldg(slot + walker) != target)) continue;
    spins[(walker / replicas * draws + draw) * walkers.sites + site] = bits >> lane & 1u ? -1 : 1;
  }
}

unsigned parts_of(int sites, int each) {
  const int parts = (sites + each - 1) / each;
  if (parts > 65535) throw std::invalid_argument("sites = " + std::to_string(sites) + " are too many");
  return static_cast<unsigned>(parts);
}

}  // namespace

void launch_mcmc_start(const Walkers& walkers, int replicas, const int8_t* given, const int32_t* site,
                       StreamHandle stream) {
  check(walkers);
  const dim3 grid(static_cast<unsigned>(walkers.words), parts_of(walkers.sites, kBlockSites * (kThreads / 32)));
  VANFAST_LAUNCH(mcmc_start_kernel, grid, kThreads, 0, stream, walkers, replicas, given, site);
}

void launch_mcmc_draw(const Walkers& walkers, int replicas, const int32_t* slot, int target, const Piece& piece,
                      int64_t draw, StreamHandle stream) {
  const dim3 grid(static_cast<unsigned>(walkers.words), parts_of(walkers.sites, kThreads));
  VANFAST_LAUNCH(mcmc_draw_kernel, grid, kThreads, 0, stream, walkers, replicas, slot, target, piece.position,
                 piece.spins, piece.draws, draw);
}

}  // namespace vanfast::cuda
