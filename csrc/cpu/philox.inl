// Philox4x32-10 of a vector of counters, in terms of vu, vl and mul_even(a, b), the 64-bit products of the even 32-bit
// lanes; included once per instruction set, inside that set's namespace.

struct WidePair {
  vu high, low;
};

static inline WidePair multiply_wide(vu a, uint32_t factor) {
  const vu b = factor + vu{};
  const vl even = mul_even(a, b), odd = mul_even(reinterpret_cast<vu>(reinterpret_cast<vl>(a) >> 32), b);
  const vl mask = 0xffffffffu + vl{};
  return {reinterpret_cast<vu>((even >> 32) | (odd & ~mask)), reinterpret_cast<vu>((even & mask) | (odd << 32))};
}

// Counters (c0, c1, c2, c3) become the four words.
static inline void philox_rounds(uint64_t seed, vu& c0, vu& c1, vu& c2, vu& c3) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const WidePair p0 = multiply_wide(c0, kPhiloxMul0), p1 = multiply_wide(c2, kPhiloxMul1);
    c0 = p1.high ^ c1 ^ k0;
    c2 = p0.high ^ c3 ^ k1;
    c1 = p1.low;
    c3 = p0.low;
    k0 += kPhiloxKey0;
    k1 += kPhiloxKey1;
  }
}
