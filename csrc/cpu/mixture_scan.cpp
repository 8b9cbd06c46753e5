// The conditional of a site given the ones before it:
//   logit_i = LSE_k(w_k + ln sigma(x_ki)) - LSE_k(w_k + ln sigma(-x_ki)),   w_k += ln sigma(s_i x_ki) after the draw.
#include "cpu/mixture_scan.h"

#include <algorithm>

#include "common/philox.h"
#include "cpu/packing.h"

namespace vanfast::cpu {

namespace {

class MixtureScan final : public Scan {
 public:
  MixtureScan(const MixtureSpec& spec, const Kernels& kernels)
      : kernels_(kernels),
        sites_(spec.num_sites),
        components_(spec.components),
        log_weights_(spec.log_weights, spec.log_weights + spec.components),
        logits_(size_t(spec.num_sites) * spec.components) {
    for (int k = 0; k < components_; ++k)
      for (int i = 0; i < sites_; ++i) logits_[size_t(i) * components_ + k] = spec.logits[size_t(k) * sites_ + i];
  }

  int num_sites() const override { return sites_; }
  int num_kept() const override { return 0; }
  int64_t kept_units(int) const override { return 0; }
  int64_t workspace_bytes() const override { return int64_t(components_ + 5) * kLanes * 4; }
  std::unique_ptr<Workspace> make_workspace() const override { return std::make_unique<Weights>(components_); }

  void run(const Tile& tile, Workspace& workspace) const override {
    Weights& w = static_cast<Weights&>(workspace);
    for (int g = 0; g < tile.groups; ++g) {
      for (int k = 0; k < components_; ++k) std::fill_n(w.log_weight.data() + k * kLanes, kLanes, log_weights_[k]);
      for (int p = 0; p < sites_; ++p) {
        const float* x = logits_.data() + size_t(p) * components_;
        float* spin = tile.spins + (int64_t(g) * sites_ + p) * kLanes;
        kernels_.mixture_logit(w.log_weight.data(), x, components_, w.logit);
        if (tile.given) {
          kernels_.score(w.logit, spin, tile.log_q + g * kLanes);
        } else {
          if (p % 4 == 0)
            kernels_.words(tile.seed, tile.first_sample + uint64_t(g) * kLanes, static_cast<uint32_t>(p / 4),
                           kSpinStream, w.words);
          kernels_.draw(w.logit, w.words + p % 4 * kLanes, spin, tile.log_q + g * kLanes);
        }
        kernels_.mixture_update(w.log_weight.data(), x, components_, spin);
      }
    }
  }

 private:
  struct Weights final : Workspace {
    explicit Weights(int components) : log_weight(size_t(components) * kLanes) {}
    Buffer<float> log_weight;  // [component][kLanes]
    alignas(64) float logit[kLanes];
    alignas(64) uint32_t words[4 * kLanes];
  };

  const Kernels& kernels_;
  int sites_, components_;
  std::vector<float> log_weights_, logits_;  // logits_: [site][component]
};

}  // namespace

std::unique_ptr<Scan> make_mixture_scan(const MixtureSpec& spec, const Kernels& kernels) {
  return std::make_unique<MixtureScan>(spec, kernels);
}

}  // namespace vanfast::cpu
