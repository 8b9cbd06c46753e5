#include "cpu/enumerate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "cpu/parallel.h"

namespace vanfast::cpu {
namespace {

constexpr int kLowSites = 10;  // a chunk's energies and the table they start from stay in the L1 cache
constexpr int64_t kTasks = 64;

class System {
 public:
  System(int num_sites, const int32_t* edges, const double* couplings, int64_t count, const double* fields)
      : sites(num_sites),
        low(std::min(num_sites, kLowSites)),
        fields_(fields, fields + num_sites),
        coupling_(static_cast<size_t>(num_sites) * num_sites, 0.0),
        table_(size_t{1} << low, 0.0) {
    for (int64_t e = 0; e < count; ++e) {
      const int i = edges[2 * e], j = edges[2 * e + 1];
      coupling_[i * sites + j] += couplings[e];
      coupling_[j * sites + i] += couplings[e];
    }
    for (size_t state = 0; state < table_.size(); ++state) {
      for (int i = 0; i < low; ++i) {
        for (int j = 0; j < i; ++j) table_[state] -= coupling_[i * sites + j] * spin(state, i) * spin(state, j);
      }
    }
  }

  int64_t chunks() const { return int64_t{1} << (sites - low); }
  int64_t chunk_size() const { return int64_t{1} << low; }
  static double spin(uint64_t state, int bit) { return state >> bit & 1 ? 1.0 : -1.0; }

  // Energies of all low states with the high sites as in `chunk`.
  void energies(int64_t chunk, double* energy) const {
    double base = 0;
    for (int i = low; i < sites; ++i) {
      double field = fields_[i];
      for (int j = low; j < i; ++j) field += coupling_[i * sites + j] * spin(chunk, j - low);
      base -= field * spin(chunk, i - low);
    }
    double slope[kLowSites];
    for (int i = 0; i < low; ++i) {
      slope[i] = -fields_[i];
      for (int j = low; j < sites; ++j) slope[i] -= coupling_[i * sites + j] * spin(chunk, j - low);
      base -= slope[i];
    }
    energy[0] = base;
    for (int i = 0; i < low; ++i) {
      const int64_t half = int64_t{1} << i;
      for (int64_t k = 0; k < half; ++k) energy[half + k] = energy[k] + 2 * slope[i];
    }
    for (size_t k = 0; k < table_.size(); ++k) energy[k] += table_[k];
  }

  const int sites, low;

 private:
  std::vector<double> fields_, coupling_, table_;
};

// Replaces weight [2^low] by garbage; writes sum_k weight_k s_i(k) to signed_sum and returns the plain sum.
double fold(double* weight, int low, double* signed_sum) {
  for (int i = low - 1; i >= 0; --i) {
    const int64_t half = int64_t{1} << i;
    double difference = 0;
    for (int64_t k = 0; k < half; ++k) {
      difference += weight[half + k] - weight[k];
      weight[k] += weight[half + k];
    }
    signed_sum[i] = difference;
  }
  return weight[0];
}

struct Sums {
  explicit Sums(const System& system)
      : magnetization(system.sites, 0.0),
        correlation(system.sites * system.sites, 0.0),
        low_weight(system.chunk_size(), 0.0) {}

  double weight = 0, first = 0, second = 0;
  std::vector<double> magnetization, correlation, low_weight;  // correlation: pairs with at least one high site

  void add(const System& system, int64_t chunk, double* weights, const double* excess) {
    double w1 = 0, w2 = 0;
    for (int64_t k = 0; k < system.chunk_size(); ++k) {
      low_weight[k] += weights[k];
      w1 += weights[k] * excess[k];
      w2 += weights[k] * excess[k] * excess[k];
    }
    first += w1;
    second += w2;
    double signed_sum[kMaxEnumeratedSites];
    const double total = fold(weights, system.low, signed_sum);
    weight += total;
    for (int i = system.low; i < system.sites; ++i) signed_sum[i] = total * System::spin(chunk, i - system.low);
    for (int i = 0; i < system.sites; ++i) magnetization[i] += signed_sum[i];
    for (int i = system.low; i < system.sites; ++i) {
      const double sign = System::spin(chunk, i - system.low);
      for (int j = 0; j < i; ++j) correlation[i * system.sites + j] += sign * signed_sum[j];
    }
  }

  void add(const Sums& other) {
    weight += other.weight;
    first += other.first;
    second += other.second;
    for (size_t i = 0; i < magnetization.size(); ++i) magnetization[i] += other.magnetization[i];
    for (size_t i = 0; i < correlation.size(); ++i) correlation[i] += other.correlation[i];
    for (size_t i = 0; i < low_weight.size(); ++i) low_weight[i] += other.low_weight[i];
  }
};

Enumeration averages(const System& system, const Sums& sums, double min_energy) {
  const int sites = system.sites;
  Enumeration result;
  result.min_energy = min_energy;
  result.log_sum = std::log(sums.weight);
  result.mean_excess = sums.first / sums.weight;
  result.variance = std::max(sums.second / sums.weight - result.mean_excess * result.mean_excess, 0.0);
  result.magnetization = sums.magnetization;
  result.correlation = sums.correlation;
  for (size_t state = 0; state < sums.low_weight.size(); ++state) {
    for (int i = 0; i < system.low; ++i) {
      const double weight = sums.low_weight[state] * System::spin(state, i);
      for (int j = 0; j < i; ++j) result.correlation[i * sites + j] += weight * System::spin(state, j);
    }
  }
  for (double& m : result.magnetization) m /= sums.weight;
  for (int i = 0; i < sites; ++i) {
    result.correlation[i * sites + i] = 1;
    for (int j = 0; j < i; ++j) {
      result.correlation[i * sites + j] /= sums.weight;
      result.correlation[j * sites + i] = result.correlation[i * sites + j];
    }
  }
  return result;
}

}  // namespace

Enumeration enumerate(int num_sites, const int32_t* edges, const double* couplings, int64_t count, const double* fields,
                      double beta, int threads, double* log_prob) {
  if (num_sites < 1 || num_sites > kMaxEnumeratedSites) {
    throw std::invalid_argument("num_sites must be in [1, " + std::to_string(kMaxEnumeratedSites) + "], not " +
                                std::to_string(num_sites));
  }
  const System system(num_sites, edges, couplings, count, fields);
  const int64_t tasks = std::min(kTasks, system.chunks()), chunks = system.chunks() / tasks;
  const int64_t size = system.chunk_size();

  // The ground state first: relative to it every weight is at most 1 and the energies' moments keep their digits.
  std::vector<double> minima(tasks, std::numeric_limits<double>::infinity());
  parallel_for(tasks, threads, [&](int64_t task, int) {
    std::vector<double> energy(size);
    for (int64_t chunk = task * chunks; chunk < (task + 1) * chunks; ++chunk) {
      system.energies(chunk, energy.data());
      for (double e : energy) minima[task] = std::min(minima[task], e);
    }
  });
  const double ground = *std::min_element(minima.begin(), minima.end());

  std::vector<Sums> sums(tasks, Sums(system));
  parallel_for(tasks, threads, [&](int64_t task, int) {
    std::vector<double> excess(size), weights(size);
    for (int64_t chunk = task * chunks; chunk < (task + 1) * chunks; ++chunk) {
      system.energies(chunk, excess.data());
      for (int64_t k = 0; k < size; ++k) {
        excess[k] -= ground;
        weights[k] = std::exp(-beta * excess[k]);
      }
      if (log_prob) {
        for (int64_t k = 0; k < size; ++k) log_prob[chunk * size + k] = -beta * excess[k];
      }
      sums[task].add(system, chunk, weights.data(), excess.data());
    }
  });
  for (int64_t task = 1; task < tasks; ++task) sums[0].add(sums[task]);
  const Enumeration result = averages(system, sums[0], ground);
  if (log_prob) {
    parallel_for(tasks, threads, [&](int64_t task, int) {
      for (int64_t k = task * chunks * size; k < (task + 1) * chunks * size; ++k) log_prob[k] -= result.log_sum;
    });
  }
  return result;
}

}  // namespace vanfast::cpu
