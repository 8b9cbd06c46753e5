// Multi-spin coding: a word holds a spin of 32 chains, a tile kPlaneGroups such words. Bonds are XORs, their numbers
// are counted by adders on words, and every chain draws with random bits of its own: a probability p is compared with a
// uniform number digit by digit, highest first, until all chains of the tile are decided (about ten digits of 512
// chains). Four digits of 32 chains are one Philox block of their word.

constexpr int kPlaneVectors = kPlaneGroups / kWidth;

struct PlaneSite {
  vu b[4];  // binary digits of the number of unsatisfied bonds
  vu down;
};

template <int kBonds>
static inline PlaneSite count_bonds(const PlaneTable& table, const uint32_t* down, int site, int v) {
  const int32_t first = table.start[site];
  const int bonds = kBonds ? kBonds : table.start[site + 1] - first;
  PlaneSite p = {{}, load(down + size_t(site) * kPlaneGroups + v * kWidth)};
  const auto bond = [&](int e) {
    const vu other = load(down + size_t(table.neighbour[first + e]) * kPlaneGroups + v * kWidth);
    return p.down ^ other ^ splat(table.negative[first + e]);
  };
  int e = 0;
  for (; e + 1 < bonds; e += 2) {  // two bonds at a time: one full adder, then a ripple of the carry
    const vu x = bond(e), y = bond(e + 1), half = x ^ y;
    vu carry = (x & y) | (half & p.b[0]);
    p.b[0] ^= half;
    for (int k = 1; k < 4; ++k) {
      const vu sum = p.b[k] ^ carry;
      carry &= p.b[k];
      p.b[k] = sum;
      if (kBonds && kBonds < 2 << k) break;
    }
  }
  if (e < bonds) {
    vu carry = bond(e);
    for (int k = 0; k < 4; ++k) {
      const vu sum = p.b[k] ^ carry;
      carry &= p.b[k];
      p.b[k] = sum;
      if (kBonds && kBonds < 2 << k) break;
    }
  }
  return p;
}

// All ones where the counted number is n.
template <int kDigits>
static inline vu equals(const PlaneSite& p, int n) {
  vu all = n & 1 ? p.b[0] : ~p.b[0];
  for (int k = 1; k < kDigits; ++k) all &= n >> k & 1 ? p.b[k] : ~p.b[k];
  return all;
}

template <int kBonds, bool kHeatBath>
static inline void plane_site(const PlaneTable& table, uint32_t* down, int site, uint64_t seed, uint64_t walker,
                              uint64_t block, vu* turned) {
  constexpr int kDigits = !kBonds || kBonds > 7 ? 4 : kBonds > 3 ? 3 : 2;
  const int bonds = kBonds ? kBonds : table.start[site + 1] - table.start[site];
  const bool bath = kHeatBath || bonds == 0;  // Metropolis would turn a free spin in every sweep
  const int few = bath ? bonds / 2 + 1 : (bonds + 1) / 2, classes = bath ? few : few + 1;
  vu member[kPlaneVectors][kBonds ? kBonds / 2 + 2 : kMostClasses], against[kPlaneVectors], open[kPlaneVectors],
      drawn[kPlaneVectors];
  for (int v = 0; v < kPlaneVectors; ++v) {
    const PlaneSite p = count_bonds<kBonds>(table, down, site, v);
    vu others = ~vu{};
    drawn[v] = against[v] = vu{};
    open[v] = ~vu{};
    for (int c = 0; c < few; ++c) {
      member[v][c] = equals<kDigits>(p, c);
      if (bath && 2 * c != bonds) {
        const vu beyond = equals<kDigits>(p, bonds - c);
        member[v][c] |= beyond;
        against[v] |= beyond;
      }
      others &= ~member[v][c];
    }
    if (!bath) member[v][few] = others;  // turning costs no energy
  }
  const uint32_t* digit = table.digits + size_t(bonds) * kPlanes * kMostClasses;
  const vu low = lane_numbers() + static_cast<uint32_t>(walker), high = splat(static_cast<uint32_t>(walker >> 32));
  for (int plane = 0; plane < kPlanes; plane += 4, digit += 4 * kMostClasses) {
    const uint64_t at = block + static_cast<uint64_t>(plane) / 4;
    vu left{};
    for (int v = 0; v < kPlaneVectors; ++v) {
      vu word[4] = {low + static_cast<uint32_t>(v * kWidth), high, splat(static_cast<uint32_t>(at)),
                    splat(walker_stream(kPlaneWords, at))};
      philox_rounds(seed, word[0], word[1], word[2], word[3]);
      for (int k = 0; k < 4; ++k) {
        vu p = member[v][0] & splat(digit[k * kMostClasses]);
        for (int c = 1; c < classes; ++c) p |= member[v][c] & splat(digit[k * kMostClasses + c]);
        drawn[v] |= open[v] & p & ~word[k];
        open[v] &= ~(p ^ word[k]);
      }
      left |= open[v];
    }
    if (!any_bit(left)) break;
  }
  for (int v = 0; v < kPlaneVectors; ++v) {
    uint32_t* spins = down + size_t(site) * kPlaneGroups + v * kWidth;
    turned[v] = drawn[v] ^ against[v];
    store(spins, load(spins) ^ turned[v]);
  }
}

template <bool kHeatBath>
static int64_t plane_sites(const PlaneTable& table, uint32_t* down, uint64_t seed, uint64_t walker, uint64_t block,
                           const uint32_t* counted) {
  int64_t flips = 0;
  vu wanted[kPlaneVectors];
  for (int v = 0; v < kPlaneVectors; ++v) wanted[v] = load(counted + v * kWidth);
  for (int site = 0; site < table.num_sites; ++site) {
    vu turned[kPlaneVectors];
    const uint64_t at = block + static_cast<uint64_t>(site) * (kPlanes / 4);
    switch (table.start[site + 1] - table.start[site]) {
      case 2:
        plane_site<2, kHeatBath>(table, down, site, seed, walker, at, turned);
        break;
      case 3:
        plane_site<3, kHeatBath>(table, down, site, seed, walker, at, turned);
        break;
      case 4:
        plane_site<4, kHeatBath>(table, down, site, seed, walker, at, turned);
        break;
      case 6:
        plane_site<6, kHeatBath>(table, down, site, seed, walker, at, turned);
        break;
      default:
        plane_site<0, kHeatBath>(table, down, site, seed, walker, at, turned);
    }
    for (int v = 0; v < kPlaneVectors; ++v) {
      const vl bits = reinterpret_cast<vl>(turned[v] & wanted[v]);
      for (int k = 0; k < kWidth / 2; ++k) flips += __builtin_popcountll(bits[k]);
    }
  }
  return flips;
}

static int64_t plane_sweep(const PlaneTable& table, uint32_t* down, uint64_t seed, uint64_t walker, uint64_t block,
                           bool heat_bath, const uint32_t* counted) {
  return heat_bath ? plane_sites<true>(table, down, seed, walker, block, counted)
                   : plane_sites<false>(table, down, seed, walker, block, counted);
}
