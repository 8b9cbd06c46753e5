// What the backward passes share: transposed copies of [units][kLanes] values, for products that sum over lanes.
#pragma once

#include <algorithm>
#include <cstddef>

#include "cpu/packing.h"

namespace vanfast::cpu {

inline int lane_groups(int units) { return (units + kLanes - 1) / kLanes; }

// in [units][kLanes] -> out [kLanes][kLanes] of units first .. first + kLanes - 1, missing units as zeros
inline void transpose_lanes(const float* in, int units, int first, float* out) {
  const int count = std::min(kLanes, units - first);
  for (int lane = 0; lane < kLanes; ++lane)
    for (int u = 0; u < kLanes; ++u) out[lane * kLanes + u] = u < count ? in[(first + u) * kLanes + lane] : 0.0f;
}

inline void add_to(Buffer<float>& sums, const Buffer<float>& more) {
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
}

// in [units][kLanes] -> block `at` of panels [panel][blocks][kLanes][kPanelRows]: the layout of packed weights whose
// columns are (block, lane)
inline void panel_lanes(const float* in, int units, int blocks, int at, float* out) {
  for (int panel = 0; panel * kPanelRows < units; ++panel) {
    float* to = out + (size_t(panel) * blocks + at) * kLanes * kPanelRows;
    const int count = std::min(kPanelRows, units - panel * kPanelRows);
    for (int lane = 0; lane < kLanes; ++lane)
      for (int r = 0; r < kPanelRows; ++r)
        to[lane * kPanelRows + r] = r < count ? in[(panel * kPanelRows + r) * kLanes + lane] : 0.0f;
  }
}

}  // namespace vanfast::cpu
