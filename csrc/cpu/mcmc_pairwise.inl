// Single-site Metropolis and heat bath with cached local fields; kLanes walkers are SIMD lanes.

// exp(x) for x <= 0, relative error below 2e-7; below -87 it stays at exp(-87).
static inline vf exp_negative(vf x) {
  x = x < -87.0f ? -87.0f + vf{} : x;
  const vf shifted = x * 1.44269504f + 12582912.0f;  // 1.5 2^23: the sum's low bits are round(x / ln 2)
  const vf n = shifted - 12582912.0f;
  const vf r = (x - n * 0.693145752f) - n * 1.42860677e-6f;  // ln 2 in two parts, the first exact in few bits
  vf p = 0.00139013098f * r + 0.00836320016f;
  p = p * r + 0.0416668541f;
  p = p * r + 0.16666577f;
  p = p * r + 0.499999996f;
  const vf e = (r * r * p + r) + 1.0f;
  return reinterpret_cast<vf>(reinterpret_cast<vi>(e) + (reinterpret_cast<vi>(shifted) << 23));
}

// All ones in the lanes whose bit is set, of vector v.
static inline vu lane_mask(uint32_t bits, int v) {
  const vu bit = splat(1u) << (lane_numbers() + static_cast<uint32_t>(v * kWidth));
  return reinterpret_cast<vu>((bits & bit) != 0);
}

// Local fields after the lanes in `up` (all ones) have turned from -1 to +1, those in `fell` from +1 to -1.
static inline void add_bonds(const PairTable& table, const WalkerGroup& group, int site, const vu* up, const vu* fell) {
  const auto add = [&](int j, int32_t twice) {
    uint32_t* local = reinterpret_cast<uint32_t*>(group.local) + size_t(j) * kLanes;
    const vu t = splat(static_cast<uint32_t>(twice));
    for (int v = 0; v < kVectors; ++v)
      store(local + v * kWidth, load(local + v * kWidth) + (t & up[v]) - (t & fell[v]));
  };
  if (table.dense) {
    const int32_t* row = table.twice + size_t(site) * table.num_sites;
    for (int j = 0; j < table.num_sites; ++j) add(j, row[j]);
  } else {
    for (int32_t e = table.start[site]; e < table.start[site + 1]; ++e) add(table.neighbour[e], table.twice[e]);
  }
}

static void flip(const PairTable& table, const WalkerGroup& group, int site, uint32_t mask) {
  vu up[kVectors], fell[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    up[v] = lane_mask(mask & group.down[site], v);
    fell[v] = lane_mask(mask & ~group.down[site], v);
  }
  group.down[site] ^= mask;
  add_bonds(table, group, site, up, fell);
}

// Metropolis: s turns with probability kTries min(1, exp(-x)), x = 2 beta s f, to 31 binary digits.
// Heat bath: s becomes the sign of x = 2 beta f, or with probability sigma(-|x|) its opposite (the draw rule).
template <bool kHeatBath>
static inline vu turns(vf x, vu down, vu word) {
  const vu sign = down & 0x80000000u;
  if (kHeatBath) {
    const vf e = exp_negative(reinterpret_cast<vf>(reinterpret_cast<vu>(x) | 0x80000000u));
    const vu minority = reinterpret_cast<vu>(word < truncate(e / (1.0f + e) * 4294967296.0f));
    const vu falls = reinterpret_cast<vu>(x < 0.0f) ^ minority;
    return falls ^ down;
  }
  const vf cost = reinterpret_cast<vf>(reinterpret_cast<vu>(x) ^ sign);
  const vf e = exp_negative(cost > 0.0f ? -cost : vf{});
  return reinterpret_cast<vu>((word >> 1) < truncate(e * static_cast<float>(kTries * 2147483648.0)));
}

template <bool kHeatBath>
static void sweep_sites(const PairTable& table, const WalkerGroup& group, uint64_t seed, uint64_t block) {
  vu word[4][kVectors], flips[kVectors];
  for (int v = 0; v < kVectors; ++v) flips[v] = load(reinterpret_cast<uint32_t*>(group.flips) + v * kWidth);
  for (int site = 0; site < table.num_sites; ++site) {
    const int w = site % 4;
    if (w == 0) {
      const uint64_t at = block + static_cast<uint64_t>(site) / 4;
      for (int v = 0; v < kVectors; ++v) {
        word[0][v] = load(group.low + v * kWidth);
        word[1][v] = load(group.high + v * kWidth);
        word[2][v] = splat(static_cast<uint32_t>(at));
        word[3][v] = splat(walker_stream(kSiteWords, at));
        philox_rounds(seed, word[0][v], word[1][v], word[2][v], word[3][v]);
      }
    }
    const uint32_t was = group.down[site];
    const bool bath = kHeatBath || table.is_free[site];  // Metropolis would turn a free spin in every sweep
    vu up[kVectors], fell[kVectors];
    uint32_t mask = 0;
    for (int v = 0; v < kVectors; ++v) {
      const vi local =
          reinterpret_cast<vi>(load(reinterpret_cast<uint32_t*>(group.local) + size_t(site) * kLanes + v * kWidth));
      const vf scale = *reinterpret_cast<const vf*>(group.scale + v * kWidth);
      const vf x = __builtin_convertvector(local, vf) * scale;
      const vu down = lane_mask(was, v);
      const vu turned = bath ? turns<true>(x, down, word[w][v]) : turns<false>(x, down, word[w][v]);
      up[v] = turned & down;
      fell[v] = turned & ~down;
      flips[v] -= turned;
      mask |= sign_bits(turned) << (v * kWidth);
    }
    if (!mask) continue;
    group.down[site] = was ^ mask;
    add_bonds(table, group, site, up, fell);
  }
  for (int v = 0; v < kVectors; ++v) store(reinterpret_cast<uint32_t*>(group.flips) + v * kWidth, flips[v]);
}

static void sweep(const PairTable& table, const WalkerGroup& group, uint64_t seed, uint64_t block, bool heat_bath) {
  if (heat_bath)
    sweep_sites<true>(table, group, seed, block);
  else
    sweep_sites<false>(table, group, seed, block);
}

static void energies(const PairTable& table, const WalkerGroup& group, int64_t* twice) {
  for (int lane = 0; lane < kLanes; ++lane) twice[lane] = 0;
  for (int site = 0; site < table.num_sites; ++site) {
    const int32_t* local = group.local + size_t(site) * kLanes;
    const uint32_t down = group.down[site];
    const int64_t field = table.field[site];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t sign = -static_cast<int64_t>(down >> lane & 1);  // 0 or -1
      twice[lane] -= ((local[lane] + field) ^ sign) - sign;
    }
  }
}
