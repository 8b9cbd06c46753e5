// What kernels are given of a star prior (star_prior.cuh), made by vanfast/backends/engines/star_tables.py.
//
// Row `site` of a slot lists the later sites l of that slot, l % slots, that are coupled to the site or to the one
// drawn before it: first those with a weak coupling to the site, then those with a strong one, then those with none.
#pragma once

#include <cstdint>

namespace vanfast {

struct StarTables {
  const void* rows = nullptr;  // int4 [sites][slots]: where the three lists begin and the last ends; null: no prior
  const void* entries =
      nullptr;                  // uint4: l, coupling to the site before, that to the site (strong) or its share (weak)
  const void* sites = nullptr;  // float2 [sites]: field at the start, coupling to the site before
};

constexpr int kStarRun = 16;  // weak pairs of a run: float32 holds the product of their shares, e^-5 or more each

}  // namespace vanfast
