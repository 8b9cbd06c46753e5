// Backward pass of nest networks: nothing but the logits is kept, and nests are evaluated again.
//
// What the chain rule needs of a pair is its Y and slopes, N^2 (k + 1) 8 bytes a sample: 320 KB at N = 200, k = 1,
// written and read once at some 10 bytes a cycle for 64 KB that make 20,000 evaluations of 13 cycles for 16 lanes.
// Slopes come with the evaluation for five more operations of 24, so it is cheaper to evaluate than to fetch.
//
// Sites run backwards. Fields start as each site met its own, u_ll, and lose the spin of site i - 1 after site i. The
// gradient of a coupling (s, l) is sum over i > s of x_s d/du_il: a running sum over i for each l.
// Of the first sites only the gradients of the logits are summed, one sum for each prefix; `unpack` continues from
// these, as from one sample for each prefix. So it does, for each site, with the pairs whose field is always 0: most of
// them where few sites are coupled.
#include "cpu/nest_gradient.h"

#include <algorithm>

#include "cpu/lanes.h"

namespace vanfast::cpu {

namespace {

constexpr int kRun = 8;     // groups of one run
constexpr int kBlock = 32;  // sites of one product

class NestGradient final : public Gradient {
 public:
  NestGradient(const NestSpec& spec, const Kernels& kernels, bool couplings);

  std::unique_ptr<Gradient::Sums> make_sums() const override { return std::make_unique<Sums>(*this); }
  std::unique_ptr<Gradient::Workspace> make_workspace() const override { return std::make_unique<Fields>(*this); }
  int groups_per_run() const override { return kRun; }
  int64_t num_sums() const override { return static_cast<int64_t>(at_.back()); }
  void run(const std::vector<GradientGroup>& groups, Gradient::Sums& sums,
           Gradient::Workspace& workspace) const override;
  std::vector<std::vector<float>> unpack(const Gradient::Sums& sums) const override;

 private:
  struct Sums final : Gradient::Sums {
    explicit Sums(const NestGradient& gradient)
        : rows(gradient.at_.back(), 0.0f),
          couplings(gradient.learns_ ? size_t(gradient.tabled_) * gradient.sites_ : 0, 0.0f),
          prefixes(nest_first(gradient.tabled_), 0.0) {}
    void add(const Gradient::Sums& other) override {
      const Sums& from = static_cast<const Sums&>(other);
      add_to(rows, from.rows);
      add_to(couplings, from.couplings);
      for (size_t p = 0; p < prefixes.size(); ++p) prefixes[p] += from.prefixes[p];
    }
    Buffer<float> rows;            // per site: bias, direct, coupling, [pair][nest_stride]
    Buffer<float> couplings;       // [site of the table][site]
    std::vector<double> prefixes;  // of the logits of the first sites
  };
  struct Fields final : Gradient::Workspace {
    explicit Fields(const NestGradient& g)
        : u(size_t(kRun) * g.sites_ * kLanes), logits(u.size()), fields(g.learns_ ? u.size() : 0) {}
    Buffer<float> u;       // [group][site][kLanes]
    Buffer<float> logits;  // gradients of the logits
    Buffer<float> fields;  // gradients of the fields, summed over the sites done
  };

  void own_fields(const float* spins, float* u) const;
  void add_prefixes(const float* spins, const float* gradient, std::vector<double>& prefixes) const;
  void finish_prefixes(Sums& sums) const;
  struct Tensors {  // as the plan has them
    std::vector<float> bias, direct, weight, shift, couplings;
  };
  void copy_pairs(const NestRow& row, const float* sums, Tensors& to) const;
  void add_still(int site, float gradient, Tensors& to) const;

  const Kernels& kernels_;
  int sites_, levels_, tabled_;
  bool learns_;
  NestRows rows_, still_;
  std::vector<size_t> at_;            // [sites + 1]: where a site's sums begin
  PackedMatrix first_;                // all fields from the first sites' spins
  std::vector<PackedMatrix> blocks_;  // fields of kBlock sites from the spins before each of them
};

NestGradient::NestGradient(const NestSpec& spec, const Kernels& kernels, bool couplings)
    : kernels_(kernels),
      sites_(spec.sites),
      levels_(spec.levels),
      tabled_(nest_tabled(spec.sites)),
      learns_(couplings),
      // the couplings that would move a field have gradients too
      rows_(spec, couplings ? NestPairs::kAll : NestPairs::kMoving),
      still_(spec, NestPairs::kStill),
      at_(1, 0),
      first_(nest_couplings(spec, kernels, tabled_)) {
  for (int i = 0; i < sites_; ++i) at_.push_back(at_.back() + 3 + size_t(rows_[i].pairs) * nest_stride(levels_));
  for (int b0 = 0; b0 < sites_; b0 += kBlock) {
    const int b1 = std::min(sites_, b0 + kBlock);
    Matrix m(b1 - b0, b1);
    for (int l = b0; l < b1; ++l)
      for (int s = 0; s < l; ++s) m.at(l - b0, s) = spec.couplings[size_t(s) * sites_ + l];
    blocks_.emplace_back(kernels.fp32, m);
  }
}

// u_ll of every site
void NestGradient::own_fields(const float* spins, float* u) const {
  std::fill_n(u, size_t(sites_) * kLanes, 0.0f);
  for (size_t b = 0; b < blocks_.size(); ++b)
    blocks_[b].multiply(0, blocks_[b].rows(), blocks_[b].columns(), reinterpret_cast<const Word*>(spins),
                        u + b * kBlock * kLanes);
}

void NestGradient::add_prefixes(const float* spins, const float* gradient, std::vector<double>& prefixes) const {
  uint32_t prefix[kLanes] = {};
  for (int i = 0; i < tabled_; ++i)
    for (int lane = 0; lane < kLanes; ++lane) {
      prefixes[nest_first(i) + prefix[lane]] += gradient[i * kLanes + lane];
      prefix[lane] += (spins[i * kLanes + lane] > 0.0f ? 1u : 0u) << i;
    }
}

void NestGradient::run(const std::vector<GradientGroup>& groups, Gradient::Sums& base,
                       Gradient::Workspace& workspace) const {
  Sums& sums = static_cast<Sums&>(base);
  Fields& fields = static_cast<Fields&>(workspace);
  const int count = static_cast<int>(groups.size());
  auto row = [&](int g, int site) { return (int64_t(g) * sites_ + site) * kLanes; };
  for (int g = 0; g < count; ++g) {
    float* gradient = fields.logits.data() + row(g, 0);
    kernels_.logit_gradient(groups[g].kept[0], groups[g].spins, groups[g].weight, sites_, gradient);
    add_prefixes(groups[g].spins, gradient, sums.prefixes);
    if (tabled_ < sites_) own_fields(groups[g].spins, fields.u.data() + row(g, 0));
  }
  std::fill(fields.fields.begin(), fields.fields.end(), 0.0f);
  for (int i = sites_ - 1; i >= tabled_; --i) {
    NestBackward back[kRun];
    for (int g = 0; g < count; ++g)
      back[g] = {fields.logits.data() + row(g, i), groups[g].spins + row(0, i - 1), fields.u.data() + row(g, 0),
                 learns_ ? fields.fields.data() + row(g, 0) : nullptr};
    kernels_.nest_gradient(rows_[i], count, back, sums.rows.data() + at_[i]);
  }
  // couplings of the first sites but the last of them, whose spin the last step above took
  for (int s = 0; learns_ && tabled_ < sites_ && s < tabled_ - 1; ++s)
    for (int g = 0; g < count; ++g)
      kernels_.correlate(fields.fields.data() + row(g, tabled_), groups[g].spins + row(0, s), sites_ - tabled_, 1,
                         sums.couplings.data() + size_t(s) * sites_ + tabled_);
}

void NestGradient::finish_prefixes(Sums& sums) const {
  const size_t size = size_t(sites_) * kLanes;
  Buffer<float> spins(size_t(tabled_) * kLanes), u(size), fields(learns_ ? size : 0), nothing(kLanes, 0.0f);
  alignas(64) float gradient[kLanes];
  for (int site = 0; site < tabled_; ++site)
    for (uint32_t p0 = 0; p0 < 1u << site; p0 += kLanes) {
      const int count = nest_prefixes(site, p0, spins.data());
      for (int lane = 0; lane < kLanes; ++lane)
        gradient[lane] = lane < count ? static_cast<float>(sums.prefixes[nest_first(site) + p0 + lane]) : 0.0f;
      std::fill(u.begin(), u.end(), 0.0f);
      std::fill(fields.begin(), fields.end(), 0.0f);
      first_.multiply(0, sites_, site, reinterpret_cast<const Word*>(spins.data()), u.data());
      // the spin before is in the fields already, and stays there
      const NestBackward back = {gradient, nothing.data(), u.data(), learns_ ? fields.data() : nullptr};
      kernels_.nest_gradient(rows_[site], 1, &back, sums.rows.data() + at_[site]);
      for (int s = 0; learns_ && s < site; ++s)
        kernels_.correlate(fields.data() + size_t(site) * kLanes, spins.data() + s * kLanes, sites_ - site, 1,
                           sums.couplings.data() + size_t(s) * sites_ + site);
    }
}

// One site's sums of weights, shifts and couplings to their places.
void NestGradient::copy_pairs(const NestRow& row, const float* sums, Tensors& to) const {
  const size_t n = sites_, i = row.site, readouts = levels_ + 1, shifts = levels_;
  for (int pair = 0; pair < row.pairs; ++pair, sums += nest_stride(levels_)) {
    const size_t l = row.later[pair];
    if (learns_ && i > 0) to.couplings[(i - 1) * n + l] += sums[0];
    for (int branch = 0; branch < 2; ++branch) {
      const float* from = sums + 1 + branch * nest_branch(levels_);
      float* w = to.weight.data() + ((i * n + l) * 2 + branch) * readouts;
      float* b = to.shift.data() + ((i * n + l) * 2 + branch) * shifts;
      for (int j = 0; j < levels_; ++j) {
        w[j] = from[2 * j];
        b[j] = from[2 * j + 1];
      }
      w[levels_] = from[2 * levels_];
    }
  }
}

// The pairs of a site whose field is 0 whatever the spins are, from the sum of the logit's gradient.
void NestGradient::add_still(int site, float gradient, Tensors& to) const {
  const NestRow& row = still_[site];
  if (!row.pairs) return;
  const Buffer<float> nothing(kLanes, 0.0f);
  Buffer<float> u(size_t(sites_) * kLanes, 0.0f), one(kLanes, 0.0f);
  Buffer<float> sums(3 + size_t(row.pairs) * nest_stride(levels_), 0.0f);
  one[0] = gradient;
  const NestBackward back = {one.data(), nothing.data(), u.data(), nullptr};
  kernels_.nest_gradient(row, 1, &back, sums.data());
  copy_pairs(row, sums.data() + 3, to);
}

std::vector<std::vector<float>> NestGradient::unpack(const Gradient::Sums& base) const {
  Sums sums = static_cast<const Sums&>(base);
  finish_prefixes(sums);
  const size_t n = sites_, pairs = 2 * n * n;
  Tensors to{std::vector<float>(n), std::vector<float>(n), std::vector<float>(pairs * (levels_ + 1), 0.0f),
             std::vector<float>(pairs * levels_, 0.0f), std::vector<float>(learns_ ? n * n : 0, 0.0f)};
  std::copy(sums.couplings.begin(), sums.couplings.end(), to.couplings.begin());
  for (int i = 0; i < sites_; ++i) {
    const float* from = sums.rows.data() + at_[i];
    to.bias[i] = from[0];
    to.direct[i] = from[1];
    if (learns_ && i > 0) to.couplings[size_t(i - 1) * n + i] += from[2];
    copy_pairs(rows_[i], from + 3, to);
    if (!learns_) add_still(i, from[0], to);
  }
  return {std::move(to.bias), std::move(to.direct), std::move(to.weight), std::move(to.shift), std::move(to.couplings)};
}

}  // namespace

std::unique_ptr<Gradient> make_nest_gradient(const NestSpec& spec, const Kernels& kernels, bool couplings) {
  return std::make_unique<NestGradient>(spec, kernels, couplings);
}

}  // namespace vanfast::cpu
