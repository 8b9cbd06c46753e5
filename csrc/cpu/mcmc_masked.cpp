// Chains of a masked stack's -T0 ln q.
//
// A group goes through a sweep with its pre-activations and all weights in the second-level cache. Every sweep begins
// with an exact evaluation (one sixtieth of the work of MADE 256-180-120-256), so that roundings of the updates do not
// pile up, and what follows a sweep depends on the values of the sites alone.
#include <cmath>

#include "cpu/parallel.h"
#include "cpu/walkers.h"

namespace vanfast::cpu {
namespace {

using Sums = MaskedFlips::Sums;

// kLanes configurations with the ln q of their images under the alphabet's group.
class Images {
 public:
  Images(const MaskedFlips& flips, const std::vector<int64_t>& order, const Alphabet& alphabet)
      : flips_(flips), order_(order), alphabet_(alphabet) {
    for (int g = 0; g < alphabet.order(); ++g) {
      states_.push_back(flips.make_state());
      proposals_.push_back(flips.make_proposal());
    }
    if (alphabet.order() > 1) logs_.resize(alphabet.order()), next_logs_.resize(alphabet.order());
  }

  int64_t raster(int p) const { return order_.empty() ? p : order_[p]; }
  float* values(int p) { return states_[0].values.data() + size_t(p) * kLanes; }
  const float* values(int p) const { return states_[0].values.data() + size_t(p) * kLanes; }
  void start(int lane, const int8_t* given) {
    for (int p = 0; p < flips_.num_sites(); ++p) values(p)[lane] = given[raster(p)];
  }

  // Exact ln q of the present values.
  void refresh() {
    if (is_fresh_) return;
    for (int g = 0; g < alphabet_.order(); ++g) {
      for (size_t i = 0; g && i < states_[0].values.size(); ++i)
        states_[g].values[i] = alphabet_.image(g, states_[0].values[i]);
      flips_.refresh(states_[g], proposals_[g]);
      if (!logs_.empty()) logs_[g] = states_[g].later;
    }
    if (!logs_.empty()) join(logs_, joined_);
    log_q_ = logs_.empty() ? states_[0].later : joined_;
    is_fresh_ = true;
  }
  double log_q(int lane) const { return log_q_[lane]; }  // as of `refresh`

  // To be called for p = 0, 1, ... N - 1 after `refresh`; changes at p follow.
  void visit(int p) {
    is_fresh_ = false;
    for (auto& state : states_) flips_.visit(state, p);
  }

  // What to [kLanes] at site p adds to ln q.
  const Sums& propose(int p, const float* to) {
    flips_.propose(states_[0], proposals_[0], p, to, change_);
    if (logs_.empty()) return change_;
    alignas(64) float image[kLanes];
    for (int g = 0; g < alphabet_.order(); ++g) {
      if (g) {
        for (int i = 0; i < kLanes; ++i) image[i] = alphabet_.image(g, to[i]);
        flips_.propose(states_[g], proposals_[g], p, image, change_);
      }
      for (int i = 0; i < kLanes; ++i) next_logs_[g][i] = logs_[g][i] + change_[i];
    }
    join(next_logs_, next_joined_);
    for (int i = 0; i < kLanes; ++i) change_[i] = next_joined_[i] - joined_[i];
    return change_;
  }

  // Site p takes on what was proposed last, in the lanes of `mask`.
  void take(int p, const float* to, uint32_t mask) {
    alignas(64) float image[kLanes];
    flips_.take(states_[0], proposals_[0], p, to, mask);
    for (int g = 1; g < alphabet_.order(); ++g) {
      for (int i = 0; i < kLanes; ++i) image[i] = alphabet_.image(g, to[i]);
      flips_.take(states_[g], proposals_[g], p, image, mask);
    }
    for (size_t g = 0; g < logs_.size(); ++g) copy_lanes(next_logs_[g], mask, logs_[g]);
    if (!logs_.empty()) copy_lanes(next_joined_, mask, joined_);
  }

 private:
  static void copy_lanes(const Sums& from, uint32_t mask, Sums& to) {
    for (int i = 0; i < kLanes; ++i)
      if (mask >> i & 1) to[i] = from[i];
  }
  // ln of the mean of exp(logs) over the group
  static void join(const std::vector<Sums>& logs, Sums& joined) {
    const double count = std::log(static_cast<double>(logs.size()));
    for (int i = 0; i < kLanes; ++i) {
      size_t top = 0;
      for (size_t g = 1; g < logs.size(); ++g)
        if (logs[g][i] > logs[top][i]) top = g;
      double others = 0.0;
      for (size_t g = 0; g < logs.size(); ++g)
        if (g != top) others += std::exp(logs[g][i] - logs[top][i]);
      joined[i] = logs[top][i] + std::log1p(others) - count;
    }
  }

  const MaskedFlips& flips_;
  const std::vector<int64_t>& order_;
  const Alphabet& alphabet_;
  std::vector<MaskedFlips::State> states_;  // of every image
  std::vector<MaskedFlips::Proposal> proposals_;
  bool is_fresh_ = false;
  std::vector<Sums> logs_, next_logs_;  // ln q_theta of every image, where there are several
  Sums change_, joined_, next_joined_, log_q_;
};

class MaskedGroup {
 public:
  MaskedGroup(Images images, const MaskedFlips& flips, double T0, uint64_t seed, bool heat_bath, const Kernels& kernels)
      : images_(std::move(images)),
        sites_(flips.num_sites()),
        states_(flips.states()),
        T0_(T0),
        seed_(seed),
        heat_bath_(heat_bath),
        kernels_(kernels),
        logits_(size_t(states_) * kLanes) {}

  void start(int lane, const Schedule& schedule, uint64_t walker, const int8_t* given) {
    images_.start(lane, start_values(schedule, walker, given, sites_, states_).data());
  }
  void begin() {}
  // at most so large that a product with a change of ln q stays finite: then every move is decided anyway
  void set_beta(int lane, double beta) { scale_[lane] = static_cast<float>(std::min(beta * T0_, 1e28)); }
  void measure() { images_.refresh(); }
  double energy(int lane) const { return -T0_ * images_.log_q(lane); }
  void write(int first, int end, int8_t* rows, int64_t stride) const {
    for (int p = 0; p < sites_; ++p)
      for (int lane = first; lane < end; ++lane)
        rows[(lane - first) * stride + images_.raster(p)] = static_cast<int8_t>(images_.values(p)[lane]);
  }

  template <class Pause>
  void sweep(int64_t number, Pause pause) {
    images_.refresh();
    for (int p = 0; p < sites_; ++p) {
      if (p % 4 == 0) {
        const uint64_t at = sweep_block(number, sites_) + static_cast<uint64_t>(p) / 4;
        kernels_.flips.walker_words(seed_, low, high, at, walker_stream(kSiteWords, at), words_);
      }
      images_.visit(p);
      const uint32_t* words = words_ + p % 4 * kLanes;
      const uint32_t mask = states_ && heat_bath_ ? draw(p, words) : attempt(p, words);
      if (mask) images_.take(p, to_, mask);
      if (p % 64 == 63) pause();
    }
  }

  alignas(64) uint32_t low[kLanes], high[kLanes];
  alignas(64) int32_t turned[kLanes];

 private:
  // One proposal, `to_`; which lanes take it.
  uint32_t attempt(int p, const uint32_t* words) {
    const float* values = images_.values(p);
    if (states_) {
      kernels_.flips.other_states(values, states_, words, to_, rest_);
      words = rest_;
    } else {
      for (int i = 0; i < kLanes; ++i) to_[i] = -values[i];
    }
    const Sums& by = images_.propose(p, to_);
    for (int i = 0; i < kLanes; ++i) gain_[i] = static_cast<float>(by[i]) * scale_[i];
    return kernels_.flips.decide(gain_, values, words, heat_bath_, turned);
  }

  // Heat bath over states: all others in turn, and the one drawn once more.
  uint32_t draw(int p, const uint32_t* words) {
    const float* values = images_.values(p);
    std::fill(logits_.begin(), logits_.end(), 0.0f);
    for (int step = 1; step < states_; ++step) {
      for (int i = 0; i < kLanes; ++i) to_[i] = static_cast<float>((static_cast<int>(values[i]) + step) % states_);
      const Sums& by = images_.propose(p, to_);
      for (int i = 0; i < kLanes; ++i)
        logits_[static_cast<int>(to_[i]) * kLanes + i] = static_cast<float>(by[i]) * scale_[i];
    }
    double log_q[kLanes] = {};  // of the draw, which nobody asks for
    kernels_.draw_states(logits_.data(), states_, words, to_, log_q);
    uint32_t mask = 0;
    for (int i = 0; i < kLanes; ++i) {
      mask |= static_cast<uint32_t>(to_[i] != values[i]) << i;
      turned[i] += to_[i] != values[i];
    }
    if (mask) images_.propose(p, to_);
    return mask;
  }

  Images images_;
  int sites_, states_;
  double T0_;
  uint64_t seed_;
  bool heat_bath_;
  const Kernels& kernels_;
  Buffer<float> logits_;                  // [q][kLanes]
  alignas(64) float scale_[kLanes] = {};  // beta T0
  alignas(64) uint32_t words_[4 * kLanes], rest_[kLanes];
  alignas(64) float to_[kLanes], gain_[kLanes];
};

}  // namespace

Turned run_masked(const MaskedFlips& flips, const std::vector<int64_t>& order, const Alphabet& alphabet, double T0,
                  const std::vector<double>& betas, int target, bool heat_bath, const Schedule& schedule,
                  const Kernels& kernels) {
  return run_walkers(betas, target, schedule, flips.num_sites(), [&] {
    return MaskedGroup(Images(flips, order, alphabet), flips, T0, schedule.seed, heat_bath, kernels);
  });
}

void flip_changes(const MaskedFlips& flips, const std::vector<int64_t>& order, const Alphabet& alphabet,
                  const int8_t* values, int64_t count, int threads, double* changes,
                  const std::function<void()>& poll) {
  const int n = flips.num_sites(), q = flips.states(), width = q ? q : 1;
  parallel_for((count + kLanes - 1) / kLanes, threads,
               [&](int64_t task, int) {
                 Images images(flips, order, alphabet);
                 alignas(64) float to[kLanes];
                 const int64_t first = task * kLanes;
                 const int lanes = static_cast<int>(std::min<int64_t>(kLanes, count - first));
                 for (int lane = 0; lane < lanes; ++lane) images.start(lane, values + (first + lane) * n);
                 images.refresh();
                 for (int p = 0; p < n; ++p) {
                   images.visit(p);
                   const float* from = images.values(p);
                   for (int k = 0; k < width; ++k) {
                     for (int i = 0; i < kLanes; ++i) to[i] = q ? static_cast<float>(k) : -from[i];
                     const Sums& by = images.propose(p, to);
                     for (int i = 0; i < lanes; ++i)
                       changes[((first + i) * n + images.raster(p)) * width + k] = to[i] == from[i] ? 0.0 : by[i];
                   }
                 }
               },
               poll);
}

}  // namespace vanfast::cpu
