// Barriers, shuffles and votes, by CUDA's names. A site is where they are called.
#pragma once

#include <stdexcept>
#include <type_traits>

#include "emulation/machine.h"

namespace vanfast::emulation {

template <class T>
struct Shuffled {
  T given;
  unsigned source;  // a lane
  T taken;
};

template <class T>
void exchange(void* const* operands, unsigned mask) {
  for (unsigned l = 0; l < kWarp; ++l) {
    if (!(mask >> l & 1u)) continue;
    auto& own = *static_cast<Shuffled<T>*>(operands[l]);
    if (!(mask >> own.source & 1u)) throw std::runtime_error("a shuffle reads from a lane outside of its mask");
    own.taken = static_cast<const Shuffled<T>*>(operands[own.source])->given;
  }
}

template <class T>
T shuffle(unsigned mask, T value, unsigned source, Site& site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  Shuffled<T> operand{value, source, value};
  meet(site, mask, &operand, exchange<T>);
  return operand.taken;
}

inline void collect(void* const* operands, unsigned mask) {
  unsigned votes = 0;
  for (unsigned l = 0; l < kWarp; ++l)
    if ((mask >> l & 1u) && *static_cast<const unsigned*>(operands[l])) votes |= 1u << l;
  for (unsigned l = 0; l < kWarp; ++l)
    if (mask >> l & 1u) *static_cast<unsigned*>(operands[l]) = votes;
}

inline unsigned vote(unsigned mask, bool predicate, Site& site) {
  unsigned operand = predicate;
  meet(site, mask, &operand, collect);
  return operand;
}

// The start of the group of `width` lanes that a lane belongs to.
inline unsigned group(int width) {
  if (width < 1 || width > 32 || (width & (width - 1)))
    throw std::runtime_error("a shuffle's width is no power of two");
  return lane() & ~static_cast<unsigned>(width - 1);
}

}  // namespace vanfast::emulation

inline void __syncthreads(VANFAST_SITE) {
  vanfast::emulation::sync_block(vanfast::emulation::site_of(file, line, "__syncthreads", true));
}

inline void __syncwarp(unsigned mask = 0xffffffffu, VANFAST_SITE) {
  vanfast::emulation::meet(vanfast::emulation::site_of(file, line, "__syncwarp", true), mask, nullptr, nullptr);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, VANFAST_SITE) {
  using namespace vanfast::emulation;
  const unsigned from = group(width) + (static_cast<unsigned>(source) & static_cast<unsigned>(width - 1));
  return shuffle(mask, value, from, site_of(file, line, "__shfl_sync", false));
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, VANFAST_SITE) {
  using namespace vanfast::emulation;
  const unsigned from = lane() ^ static_cast<unsigned>(lanes);  // a group further up is out of reach, one below is not
  const bool inside = from < group(width) + static_cast<unsigned>(width);
  return shuffle(mask, value, inside ? from : lane(), site_of(file, line, "__shfl_xor_sync", false));
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, VANFAST_SITE) {
  using namespace vanfast::emulation;
  const bool inside = lane() + delta < group(width) + static_cast<unsigned>(width);
  return shuffle(mask, value, inside ? lane() + delta : lane(), site_of(file, line, "__shfl_down_sync", false));
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, VANFAST_SITE) {
  using namespace vanfast::emulation;
  const bool inside = lane() >= group(width) + delta;
  return shuffle(mask, value, inside ? lane() - delta : lane(), site_of(file, line, "__shfl_up_sync", false));
}

inline unsigned __ballot_sync(unsigned mask, int predicate, VANFAST_SITE) {
  return vanfast::emulation::vote(mask, predicate, vanfast::emulation::site_of(file, line, "__ballot_sync", false));
}

inline int __any_sync(unsigned mask, int predicate, VANFAST_SITE) {
  using namespace vanfast::emulation;
  return vote(mask, predicate, site_of(file, line, "__any_sync", false)) != 0;
}

inline int __all_sync(unsigned mask, int predicate, VANFAST_SITE) {
  using namespace vanfast::emulation;
  return vote(mask, predicate, site_of(file, line, "__all_sync", false)) == mask;
}
