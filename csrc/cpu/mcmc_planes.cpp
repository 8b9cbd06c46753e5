// Chains by multi-spin coding: a task is a tile of kTileChains chains.
#include <algorithm>
#include <mutex>

#include "cpu/mcmc_run.h"
#include "cpu/packing.h"
#include "cpu/watched.h"

namespace vanfast::cpu {

Turned run_planes(const PlaneTable& table, bool heat_bath, const Schedule& schedule, const McmcKernels& kernels) {
  const int64_t n = table.num_sites, row = schedule.draws * n;
  const uint64_t first_walker = schedule.first / 32;
  const int64_t shift = static_cast<int64_t>(schedule.first % 32);  // chains of the first walker that are not wanted
  const int64_t tiles = (shift + schedule.chains + kTileChains - 1) / kTileChains;
  Turned total{{0}, {}};
  std::mutex guard;
  watched_for(
      tiles, schedule.threads,
      [&](int64_t task, Watch& watch) {
        const uint64_t walker = first_walker + static_cast<uint64_t>(task) * kPlaneGroups;
        // chains of this run at bits [begin, end) of the tile, of which bit 0 is chain `base`
        const int64_t base = task * kTileChains - shift;
        const int64_t begin = std::max<int64_t>(0, -base), end = std::min<int64_t>(kTileChains, schedule.chains - base);
        Buffer<uint32_t> down(static_cast<size_t>(n) * kPlaneGroups);
        std::vector<uint32_t> bits;
        for (int64_t bit = begin; bit < end; ++bit) {
          const uint64_t chain = 32 * walker + static_cast<uint64_t>(bit);
          const int8_t* given = schedule.start ? schedule.start + (base + bit) * n : nullptr;
          start_bits(schedule, chain, given, static_cast<int>(n), bits);
          for (int64_t i = 0; i < n; ++i)
            down[i * kPlaneGroups + bit / 32] |= (bits[i / 32] >> (i % 32) & 1) << (bit % 32);
        }
        alignas(64) uint32_t counted[kPlaneGroups] = {};
        for (int64_t bit = begin; bit < end; ++bit) counted[bit / 32] |= 1u << (bit % 32);
        int64_t turned = 0;
        for (int64_t done = 0; done < schedule.sweeps();) {
          const uint64_t block =
              static_cast<uint64_t>(schedule.sweep + done) * static_cast<uint64_t>(n) * (kPlanes / 4);
          const int64_t flips =
              kernels.plane_sweep(table, down.data(), schedule.seed, walker, block, heat_bath, counted);
          if (done >= schedule.burn_in) turned += flips;
          const int64_t draw = schedule.draw_after(++done);
          for (int64_t bit = begin; draw >= 0 && bit < end;) {
            const int64_t next = std::min(end, (bit / 32 + 1) * 32);
            unpack_lanes(down.data() + bit / 32, table.num_sites, kPlaneGroups, static_cast<int>(bit % 32),
                         static_cast<int>(next - bit / 32 * 32), schedule.spins + (base + bit) * row + draw * n, row);
            bit = next;
          }
          watch.advance(end - begin);
        }
        std::lock_guard<std::mutex> lock(guard);
        total.flips[0] += turned;
      },
      schedule.poll);
  return total;
}

}  // namespace vanfast::cpu
