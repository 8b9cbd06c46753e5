// Bernoulli mixtures q(s) = sum_k w_k prod_i sigma(x_ki s_i), drawn site by site; one component is the mean field.
#pragma once

#include <vector>

#include "cpu/scan.h"

namespace vanfast::cpu {

struct MixtureSpec {
  int num_sites, components;
  const float* log_weights;  // [components], normalised or not
  const float* logits;       // [components][sites]
};

std::unique_ptr<Scan> make_mixture_scan(const MixtureSpec& spec, const Kernels& kernels);

}  // namespace vanfast::cpu
