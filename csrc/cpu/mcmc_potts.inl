// Single-site Metropolis and heat bath of sites with q states, whose neighbours are summed at every visit; kLanes
// walkers are SIMD lanes, their states bytes.

typedef uint8_t vb __attribute__((vector_size(VANFAST_WIDTH), may_alias));

static inline vu load_states(const uint8_t* p) { return __builtin_convertvector(*reinterpret_cast<const vb*>(p), vu); }

// The draw rule of common/draw_state.h, for the states of one vector of lanes.
static inline vu draw_state(const vf* logits, int states, vu word) {
  vf top = logits[0], others = {}, e[kMostStates];
  vu majority = {};
  for (int k = 1; k < states; ++k) {
    majority = logits[k] >= top ? splat(static_cast<uint32_t>(k)) : majority;
    top = logits[k] >= top ? logits[k] : top;
  }
  for (int k = 0; k < states; ++k) {
    e[k] = majority == splat(static_cast<uint32_t>(k)) ? vf{} : exp_negative(logits[k] - top);
    others += e[k];
  }
  vu drawn = majority, below = {};
  for (int k = 0; k < states; ++k) {
    const vu share = truncate(e[k] / (1.0f + others) * 4294967296.0f);
    drawn = word - below < share ? splat(static_cast<uint32_t>(k)) : drawn;
    below += share;
  }
  return drawn;
}

static inline vu potts_draw(const PottsTable& table, const PottsGroup& group, int site, int lane, vf scale, vu word) {
  vi sum[kMostStates];
  vf logits[kMostStates];
  for (int k = 0; k < table.states; ++k) sum[k] = table.field[k] + vi{};
  for (int32_t e = table.start[site]; e < table.start[site + 1]; ++e) {
    const vu there = load_states(group.states + size_t(table.neighbour[e]) * kLanes + lane);
    const vi coupling = table.coupling[e] + vi{};
    for (int k = 0; k < table.states; ++k)
      sum[k] += coupling & reinterpret_cast<vi>(there == splat(static_cast<uint32_t>(k)));
  }
  for (int k = 0; k < table.states; ++k) logits[k] = __builtin_convertvector(sum[k], vf) * scale;
  return draw_state(logits, table.states, word);
}

static inline vu potts_attempt(const PottsTable& table, const PottsGroup& group, int site, int lane, vf scale, vu word,
                               vu now) {
  const vu q = splat(static_cast<uint32_t>(table.states));
  const WidePair product = multiply_wide(word, static_cast<uint32_t>(table.states - 1));
  vu to = now + 1u + product.high;
  to = to >= q ? to - q : to;
  vi gain = {};
  if (table.has_fields)
    for (int k = 0; k < table.states; ++k) {
      const vu here = splat(static_cast<uint32_t>(k));
      const vi field = table.field[k] + vi{};
      gain += (field & reinterpret_cast<vi>(to == here)) - (field & reinterpret_cast<vi>(now == here));
    }
  for (int32_t e = table.start[site]; e < table.start[site + 1]; ++e) {
    const vu there = load_states(group.states + size_t(table.neighbour[e]) * kLanes + lane);
    const vi coupling = table.coupling[e] + vi{};
    gain += (coupling & reinterpret_cast<vi>(there == to)) - (coupling & reinterpret_cast<vi>(there == now));
  }
  const vf x = __builtin_convertvector(gain, vf) * scale, e = exp_negative(x < 0.0f ? x : vf{});
  return (product.low >> 1) < truncate(e * static_cast<float>(kTries * 2147483648.0)) ? to : now;
}

template <bool kHeatBath>
static void potts_sites(const PottsTable& table, const PottsGroup& group, uint64_t seed, uint64_t block) {
  vu word[4][kVectors];
  for (int site = 0; site < table.num_sites; ++site) {
    if (site % 4 == 0) {
      const uint64_t at = block + static_cast<uint64_t>(site) / 4;
      for (int v = 0; v < kVectors; ++v) {
        word[0][v] = load(group.low + v * kWidth);
        word[1][v] = load(group.high + v * kWidth);
        word[2][v] = splat(static_cast<uint32_t>(at));
        word[3][v] = splat(walker_stream(kSiteWords, at));
        philox_rounds(seed, word[0][v], word[1][v], word[2][v], word[3][v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      const int lane = v * kWidth;
      uint8_t* states = group.states + size_t(site) * kLanes + lane;
      const vf scale = *reinterpret_cast<const vf*>(group.scale + lane);
      const vu now = load_states(states), w = word[site % 4][v];
      const vu to = kHeatBath ? potts_draw(table, group, site, lane, scale, w)
                              : potts_attempt(table, group, site, lane, scale, w, now);
      uint32_t* turned = reinterpret_cast<uint32_t*>(group.turned) + lane;
      store(turned, load(turned) - reinterpret_cast<vu>(to != now));
      *reinterpret_cast<vb*>(states) = __builtin_convertvector(to, vb);
    }
  }
}

static void potts_sweep(const PottsTable& table, const PottsGroup& group, uint64_t seed, uint64_t block,
                        bool heat_bath) {
  if (heat_bath)
    potts_sites<true>(table, group, seed, block);
  else
    potts_sites<false>(table, group, seed, block);
}
