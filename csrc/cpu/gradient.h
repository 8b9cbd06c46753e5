// Gradients of sum_n w_n ln q(s_n) from the pre-activations that the sampling pass kept: only backward is computed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace vanfast::cpu {

// One group's share of the inputs; lanes outside the batch have weight 0.
struct GradientGroup {
  const float* const* kept;  // per kept layer: [units][kLanes]
  const float* spins;        // [sites][kLanes], spins or states, as they were scored, in drawing order
  const float* weight;       // [kLanes]
};

class Gradient {
 public:
  // Partial sums of one task, in the gradient's own layout; and the memory that one thread works in.
  class Sums {
   public:
    virtual ~Sums() = default;
    virtual void add(const Sums& other) = 0;
  };
  class Workspace {
   public:
    virtual ~Workspace() = default;
  };

  virtual ~Gradient() = default;
  virtual std::unique_ptr<Sums> make_sums() const = 0;
  virtual int64_t num_sums() const = 0;  // floats in one Sums, about
  virtual std::unique_ptr<Workspace> make_workspace() const = 0;
  // Groups that are worth handing to one `run`, so that a weight's sum is visited once for all of them.
  virtual int groups_per_run() const { return 1; }
  virtual void run(const std::vector<GradientGroup>& groups, Sums& sums, Workspace& workspace) const = 0;
  // The plan's tensors, layer by layer: weight, bias, slope, pointwise, pointwise_bias as the network has them; or a
  // table's logits; or a nest's bias, direct, weight, shift, couplings.
  virtual std::vector<std::vector<float>> unpack(const Sums& sums) const = 0;
};

}  // namespace vanfast::cpu
