// Networks whose conditionals are a table: of the magnetisation so far, or of the whole prefix.
#pragma once

#include "cpu/gradient.h"
#include "cpu/scan.h"

namespace vanfast::cpu {

// logits [sites][sites]: entry [i][u] belongs to site i when u of the i sites before it are up; entries u > i unread.
std::unique_ptr<Scan> make_magnetization_scan(int sites, const double* logits, const Kernels& kernels);

// logits [2^sites - 1]: entry 2^i - 1 + p belongs to site i after the prefix p = sum_{j < i} [s_j up] 2^j.
std::unique_ptr<Scan> make_prefix_scan(int sites, const double* logits, const Kernels& kernels);

// Gradient with respect to a magnetisation's table, [sites][sites], from the logits that the scan kept.
std::unique_ptr<Gradient> make_magnetization_gradient(int sites, const Kernels& kernels);

}  // namespace vanfast::cpu
