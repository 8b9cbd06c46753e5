// ln q_theta of a masked linear stack under flips of single spins, kLanes configurations at a time.
//
// A flip of site p adds a column of the first matrix to the pre-activations of the units of degree > p, the last ones
// of the first layer. In every later layer it changes units from some place on; their pre-activations change by the
// product of a lower triangle of the matrix with the changes of the activations before it, and the conditionals of
// later sites are all that is left to score: with u = p / N it is (1 - u)^2 / 2 of each later matrix, 1/6 on average.
// Pre-activations are kept, not scores: sites are tried one after the other, so that the sum over later sites of the
// present configuration is at hand, and loses one term with every site.
#pragma once

#include <array>
#include <vector>

#include "cpu/masked_scan.h"
#include "cpu/packing.h"

namespace vanfast::cpu {

class MaskedFlips {
 public:
  // Float32; the prior of the stack is not supported and not read.
  MaskedFlips(const MaskedSpec& spec, const Kernels& kernels);

  using Sums = std::array<double, kLanes>;
  struct State {
    Buffer<float> spins;           // [N][kLanes], in drawing order
    std::vector<Buffer<float>> z;  // of each layer [units][kLanes]
    Sums later;                    // ln q of the sites after the one tried last
  };
  struct Proposal {
    std::vector<Buffer<float>> next, difference;  // z and activations less those of State, as State::z
    Sums later;
  };

  int num_sites() const { return sites_; }
  State make_state() const;
  Proposal make_proposal() const;
  // All of `state` from its spins; `later` is then ln q_theta of all sites.
  void refresh(State& state, Proposal& scratch) const;
  // change = ln q_theta with spin p turned less ln q_theta. To be called for p = 0, 1, ... N - 1 after `refresh`.
  void propose(State& state, Proposal& proposal, int p, Sums& change) const;
  // Turns spin p in the lanes whose bit is set.
  void take(State& state, const Proposal& proposal, int p, uint32_t mask) const;

 private:
  struct Layer {
    int units = 0;
    bool skip = false;
    PackedMatrix weights;
    std::vector<float> bias, slope;  // slope: of its own output, as the next layer takes it; empty: identity
    std::vector<int> changed;        // [site]: the first unit that its flip changes
    std::vector<int> low, high;      // [panel]: columns that are not zero lie in low .. high - 1
  };

  // next = z + weights input of the panel at `row`, from column `column` on. Returns its number of rows.
  int add_panel(const Layer& layer, int row, int column, const float* input, const float* z, float* next) const;
  int last() const { return static_cast<int>(layers_.size()) - 1; }

  const Kernels& kernels_;
  int sites_;
  std::vector<Layer> layers_;
  std::vector<float> columns_;  // [site][unit of the first layer]
};

}  // namespace vanfast::cpu
