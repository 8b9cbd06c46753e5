// ln q_theta of a masked linear stack under changes of single sites, kLanes configurations at a time: a spin that
// turns, or a site that goes over to another of its q states.
//
// A change at site p adds columns of the first matrix to the pre-activations of the units of degree > p, the last ones
// of the first layer: for a spin its column times -2 s; for a state the column of the new one less that of the old one,
// another pair in every lane, and this is the product of the site's q columns with the change of its inputs. In every
// later layer units change from some place on; their pre-activations change by the product of a lower triangle of the
// matrix with the changes of the activations before it, and the conditionals of later sites are all that is left to
// score: with u = p / N it is (1 - u)^2 / 2 of each later matrix, 1/6 on average. Pre-activations are kept, not scores:
// sites are tried one after the other, so that the sum over later sites of the present configuration is at hand, and
// loses one term with every site.
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
    Buffer<float> values;          // [N][kLanes], in drawing order: spins, or states 0 .. q - 1
    std::vector<Buffer<float>> z;  // of each layer [units][kLanes]
    Sums later;                    // ln q of the sites after the one visited last
  };
  struct Proposal {
    Buffer<float> input;                          // [width][kLanes], inputs of the site less those of State
    std::vector<Buffer<float>> next, difference;  // z and activations less those of State, as State::z
    Sums later;
  };

  int num_sites() const { return sites_; }
  int states() const { return states_; }  // q, or 0 for spins
  State make_state() const;
  Proposal make_proposal() const;
  // All of `state` from its values; `later` is then ln q_theta of all sites.
  void refresh(State& state, Proposal& scratch) const;
  // To be called for p = 0, 1, ... N - 1 after `refresh`, before changes at p are proposed.
  void visit(State& state, int p) const;
  // change = ln q_theta with to [kLanes] at site p, for spins the other one, less ln q_theta.
  void propose(const State& state, Proposal& proposal, int p, const float* to, Sums& change) const;
  // Site p takes on the values proposed last in the lanes whose bit is set.
  void take(State& state, const Proposal& proposal, int p, const float* to, uint32_t mask) const;

 private:
  struct Layer {
    int units = 0;
    bool skip = false;
    PackedMatrix weights;
    std::vector<float> bias, slope;  // slope: of its own output, as the next layer takes it; empty: identity
    std::vector<int> changed;        // [site]: the first unit that its change changes
    std::vector<int> low, high;      // [panel]: columns that are not zero lie in low .. high - 1
  };

  // next = z + weights input of the panel at `row`, columns `column` .. end - 1, whose first has input[0]. Returns its
  // number of rows.
  int add_panel(const Layer& layer, int row, int column, int end, const float* input, const float* z,
                float* next) const;
  // What a change at p makes of layer l.
  void change_layer(const State& state, Proposal& proposal, int p, int l) const;
  // sums += ln q of `count` sites.
  void score(const float* logits, const float* values, int count, Sums& sums) const {
    if (states_)
      kernels_.flips.sum_state_scores(logits, states_, values, count, sums.data());
    else
      kernels_.flips.sum_scores(logits, values, count, sums.data());
  }
  int last() const { return static_cast<int>(layers_.size()) - 1; }

  const Kernels& kernels_;
  int sites_, states_, width_;  // width: inputs, and logits, of a site
  std::vector<Layer> layers_;
  std::vector<float> columns_;  // of spins: [site][unit of the first layer]
};

}  // namespace vanfast::cpu
