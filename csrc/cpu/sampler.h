// The whole call: tiles over threads, symmetrisation, raster order, energies.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "cpu/alphabet.h"
#include "cpu/energy.h"
#include "cpu/gradient.h"
#include "cpu/kernels.h"
#include "cpu/scan.h"

namespace vanfast::cpu {

// Called now and then on the calling thread during long work; may throw to end it.
using Poll = std::function<void()>;

class Sampler {
 public:
  // order[p] is the raster index of the p-th drawn site; empty means raster order.
  // `gradient` may be null: then there is no backward pass here.
  Sampler(std::unique_ptr<Scan> scan, std::unique_ptr<Gradient> gradient, const Kernels& kernels,
          std::vector<int64_t> order, Alphabet alphabet);

  const Scan& scan() const { return *scan_; }
  // What a thread holds while it samples: the scan's workspace and the tile's spins.
  int64_t bytes_per_thread() const {
    return scan_->workspace_bytes() + int64_t(scan_->groups_per_tile()) * scan_->num_sites() * kLanes * 4;
  }
  const Kernels& kernels() const { return kernels_; }
  const Alphabet& alphabet() const { return alphabet_; }
  int num_kept() const { return scan_->num_kept() * alphabet_.order(); }  // layers, of all passes

  // Samples first .. first + count - 1 of the seed. spins [count, N] raster, log_q [count]; energy [count] when a
  // model is given. keep: none, or a pointer for each of the scan's kept layers (see Tile; groups counted from
  // first / kLanes), followed by as many for the pass over each further image under the symmetry. Kept values belong
  // to the spins before the symmetry, which `drawn` [count, N] (or null) takes.
  void sample(uint64_t seed, uint64_t first, int64_t count, int threads, int8_t* spins, double* log_q,
              const EnergyModel* model, double* energy, const std::vector<float*>& keep, int8_t* drawn,
              const Poll& poll) const;

  // The plan's gradient of sum_n weight[n] ln q(s_n), from what `sample` kept: spins [count, N] as drawn, before the
  // symmetry; keep and first as in `sample`. The sum's order, and so its bytes, is the same for any `threads`.
  bool has_gradient() const { return gradient_ != nullptr; }
  std::vector<std::vector<float>> gradient(const int8_t* spins, const double* weight, uint64_t first, int64_t count,
                                           int threads, const std::vector<const float*>& keep, const Poll& poll) const;

  // log_q [count] of given spins [count, N] raster, the same bytes as the sampling pass would give. keep: as in
  // `sample` with first = 0, for `gradient`; nothing is mapped, and lanes past the end repeat the last sample.
  void log_prob(const int8_t* spins, int64_t count, int threads, double* log_q, const std::vector<float*>& keep,
                const Poll& poll) const;

 private:
  struct Task;
  struct Backward;
  void prepare_backward(const int8_t* spins, const double* weight, int64_t row0, int64_t count,
                        const float* const* kept, Backward& to) const;
  std::vector<float*> kept_from(const std::vector<float*>& keep, int64_t group) const;
  template <class Body>
  void for_tiles(uint64_t first_group, int64_t groups, int threads, const Poll& poll, Body&& body) const;
  void add_images(const Tile& tile, const std::vector<float*>& keep, Scan::Workspace& workspace) const;
  void write_rows(Task& task, const float* values, const int* element, int low, int high, int8_t* out) const;

  std::unique_ptr<Scan> scan_;
  std::unique_ptr<Gradient> gradient_;
  const Kernels& kernels_;
  std::vector<int64_t> order_;
  Alphabet alphabet_;
};

}  // namespace vanfast::cpu
