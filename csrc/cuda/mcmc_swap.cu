// Parallel tempering: replicas of a chain at neighbouring temperatures exchange them.
//
//   temperatures k, k + 1 of all k of the sweep's parity with probability min(1, exp((beta_k - beta_{k+1}) (E_k -
//   E_{k+1})))
//
// A thread owns a pair of a chain: pairs of one parity share no temperature, so nobody waits. Energies are integers in
// units of quantum / 2, which the sweeps keep up to date. Random words: stream 2, use kSwapWords, of the chain's index,
// word k of the sweep, as in csrc/cpu/replicas.h; products alone, nothing to contract. The exponential is the device's
// float64 one: it decides otherwise than the CPU's where the two differ in the last digit and a word falls between
// them, less than once in 2^50 exchanges.
#include "cuda/mcmc_device.cuh"
#include "cuda/mcmc_launch.cuh"

namespace vanfast::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    mcmc_swap_kernel(const Temperatures temperatures, const Ladder ladder, int64_t chains, uint64_t seed,
                     uint64_t first, int64_t number, int pairs, bool counted) {
  const int64_t thread = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t chain = thread / pairs;
  if (chain >= chains) return;
  const int R = temperatures.replicas, k = static_cast<int>(number % 2 + 2 * (thread % pairs));
  int32_t* const at = ladder.walker_at + chain * R + k;
  const int32_t a = at[0], b = at[1];
  const double difference = 0.5 * ladder.quantum * static_cast<double>(temperatures.energy[a] - temperatures.energy[b]);
  const double log_ratio = (ladder.betas[k] - ladder.betas[k + 1]) * difference;
  const uint64_t block = static_cast<uint64_t>(number) * ((static_cast<uint64_t>(R) + 3) / 4) + k / 4;
  const PhiloxWords random = walker_words(seed, first + static_cast<uint64_t>(chain), kSwapWords, block);
  const double u = (word_of(random, k % 4) + 0.5) / 4294967296.0;
  if (log_ratio < 0 && u >= exp(log_ratio)) return;
  at[0] = b, at[1] = a;
  temperatures.slot[a] = k + 1;
  temperatures.slot[b] = k;
  if (counted) add_to(ladder.accepted + k, 1);
}

}  // namespace

void launch_mcmc_swap(const Walkers& walkers, const Temperatures& temperatures, const Ladder& ladder, uint64_t first,
                      int64_t number, bool counted, StreamHandle stream) {
  const int R = temperatures.replicas;
  if (R < 2 || walkers.count % R || walkers.count > INT32_MAX)
    throw std::invalid_argument("walkers must be chains of at least two replicas, below 2^31 in all");
  const int pairs = (R - static_cast<int>(number % 2)) / 2;
  if (pairs == 0) return;  // two temperatures, and it is the turn of the second
  const int64_t chains = walkers.count / R, threads = chains * pairs;
  VANFAST_LAUNCH(mcmc_swap_kernel, static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0, stream,
                 temperatures, ladder, chains, walkers.seed, first, number, pairs, counted);
}

}  // namespace vanfast::cuda
