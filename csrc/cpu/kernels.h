// The inner loops of the CPU engine, one table per instruction set.
//
// Data layout: samples are SIMD lanes. A group is kLanes consecutive, aligned sample indices; every activation, spin
// and logit of a group is stored as [unit][kLanes]. When sampling, no lane ever meets another one, and the order of
// each sum is fixed by the network alone, so a sample's bytes depend neither on its neighbours nor, between the sets
// with FMA, on the vector width.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vanfast::cpu {

constexpr int kLanes = 32;
constexpr int kPanelRows = 8;   // rows of a weight matrix stored next to each other
constexpr int kTileRows = 16;   // AMX: rows of a weight tile
constexpr int kTileWords = 16;  // AMX: 32-bit words (bf16 pairs) of a weight tile's row

// Activations and weights travel as 32-bit words: one float, or a pair of bf16 (consecutive units).
using Word = uint32_t;

// How weights are packed and multiplied in one precision on one instruction set.
struct MatMul {
  bool rounds;     // weights and activations are rounded to bf16
  bool pairs;      // a word holds two bf16 values
  bool tiles;      // weights packed as AMX tiles, not as panels
  int unit_align;  // activations of one site are padded with zeros to a multiple of this many units
  // c[m][lane] += sum_k weights[m][first + k] * b[k][lane] for m < rows, k < words; c and b are [.][kLanes].
  // `columns` is the packed matrix's full number of word columns.
  void (*multiply)(const Word* weights, int columns, int first, int rows, int words, const Word* b, float* c);
  // out = PReLU(in) per unit (slope null: identity) as words, [units][kLanes] -> [padded words][kLanes]
  void (*activate)(const float* in, const float* slope, int units, Word* out);
};

constexpr int kMostLevels = 32;

// A site of a nest network: logit = bias + direct u_site + sum over later sites l and two branches of read-out Y,
// Y = the innermost to outermost ln sigma(shift + weight .), `levels` of them, of the field u_l.
struct NestRow {
  int site, levels, pairs;
  float bias, direct;
  float coupling;        // of the site before with this one
  const int32_t* later;  // [pairs]: l
  // [pairs] of: coupling of the site before with l, and for both branches weight and shift of each level, read-out
  const float* parameters;
};

inline int nest_branch(int levels) { return 2 * levels + 1; }
inline int nest_stride(int levels) { return 1 + 2 * nest_branch(levels); }

// One group in the backward pass of a site.
struct NestBackward {
  const float* gradient;  // [kLanes], of the site's logit
  const float* spin;      // [kLanes], of the site before
  float* u;               // [sites][kLanes]: fields at this site; left as at the site before
  float* field_gradient;  // [sites][kLanes] of u, summed over this site and those after it; or null
};

constexpr int kStarRun = 16;       // pairs of a run, whose product of exp(-2 |a|) float32 holds
constexpr double kStarWeak = 2.5;  // largest |a| in a run

// A site's pairs with later sites in the star prior, those with |a| <= kStarWeak first.
struct StarRow {
  int site, pairs, weak;
  const int32_t* later;    // [pairs]
  const float* couplings;  // [pairs], 2 a / ln 2, a = beta J
  const float* shares;     // [pairs], exp(-2 |a|) with the sign of a
};

// What a single flip changes in a masked stack, see masked_flips.h. All arrays are [.][kLanes].
struct FlipKernels {
  // next = z + column change of `units` units; difference, unless null, = PReLU(next) - PReLU(z).
  void (*flip_input)(const float* z, const float* column, const float* change, const float* slope, int units,
                     float* next, float* difference);
  // next = z + panel b, of at most kPanelRows rows and `words` columns
  void (*add_panel)(const Word* panel, int rows, int words, const Word* b, const float* z, float* next);
  // difference = PReLU(next) - PReLU(z)
  void (*activation_difference)(const float* z, const float* next, const float* slope, int units, float* difference);
  // sums[kLanes] += ln q(spin) of several sites, see log_sigmoid.h
  void (*sum_scores)(const float* logit, const float* spin, int sites, double* sums);
  // sums[kLanes] += ln q(state) of several sites of q states with logits [site][q]
  void (*sum_state_scores)(const float* logits, int states, const float* state, int sites, double* sums);
  // z = next in the lanes whose bit is set.
  void (*take)(uint32_t mask, const float* next, int units, float* z);
  // The four words of a block for kLanes walkers: out[4][kLanes].
  void (*walker_words)(uint64_t seed, const uint32_t* low, const uint32_t* high, uint64_t block, uint32_t stream,
                       uint32_t* out);
  // Metropolis or heat bath: which lanes turn, by the gain of -beta E that it gives; `turned` counts them.
  uint32_t (*decide)(const float* gain, const float* spin, const uint32_t* words, bool heat_bath, int32_t* turned);
  // Metropolis over q states, see mcmc.h: which other state a word proposes, and the word that decides on it.
  void (*other_states)(const float* state, int states, const uint32_t* words, float* proposed, uint32_t* rest);
};

struct Kernels {
  const char* name;
  MatMul fp32;         // plain float32
  MatMul rounded;      // bf16 values kept in float32 words: bf16 arithmetic on sets without bf16 instructions
  const MatMul* bf16;  // native bf16, or null
  // How a precision is multiplied here: fp32, or bf16 by the set's own instructions where it has them.
  const MatMul& matmul(bool use_bf16) const { return !use_bf16 ? fp32 : bf16 ? *bf16 : rounded; }
  // The four words of sites 4 block .. 4 block + 3 for kLanes consecutive samples: out[4][kLanes].
  void (*words)(uint64_t seed, uint64_t first_sample, uint32_t block, uint32_t stream, uint32_t* out);
  // Draw rule (design: minority = word < floor(sigma(-|x|) 2^32)); spin = +-1.0f; log_q += ln q(spin).
  void (*draw)(const float* logit, const uint32_t* words, float* spin, double* log_q);
  // Bit `lane` of masks[u] is the sign of spins[u][lane]: set for -1.
  void (*signs)(const float* spins, int units, uint32_t* masks);
  // log_q += ln q(spin) of given spins.
  void (*score)(const float* logit, const float* spin, double* log_q);
  // Backward pass. out[u][lane] = weight[lane] d ln q(spin) / d logit = weight spin sigma(-spin logit).
  void (*logit_gradient)(const float* logit, const float* spin, const float* weight, int units, float* out);
  // grad *= d PReLU(z) / dz;  slope_grad[u] += sum over lanes of grad d PReLU(z) / d slope.
  void (*activate_backward)(const float* z, const float* slope, int units, float* grad, float* slope_grad);
  // sums[u] += sum over lanes of g[u].
  void (*sum_lanes)(const float* g, int units, float* sums);
  // sums[u] += sum over sites and lanes of many[site][u] one[site].
  void (*correlate)(const float* many, const float* one, int units, int sites, float* sums);
  // One site of a mixture: log_weight[k][kLanes] (float) and the component logits x[k] give the site's logit.
  void (*mixture_logit)(const float* log_weight, const float* x, int components, float* logit);
  void (*mixture_update)(float* log_weight, const float* x, int components, const float* spin);
  // One site of a nest network: u [sites][kLanes] takes in the spin of the site before, then gives the site's logit.
  void (*nest_logit)(const NestRow& row, const float* spin, float* u, float* logit);
  // sums += gradients with respect to bias, direct, coupling, and [pairs][nest_stride] as row.parameters are laid out;
  // those of couplings only where the groups have field_gradient.
  void (*nest_gradient)(const NestRow& row, int groups, const NestBackward* group, float* sums);
  // Star prior: logit [kLanes] += 2 f_site + sum over the row's pairs of 2 artanh(tanh a tanh f_later), where fields
  // [sites][kLanes] are 2 f / ln 2.
  void (*star_logit)(const StarRow& row, const float* fields, float* logit);
  // fields of later sites += coupling spin [kLanes].
  void (*star_update)(const StarRow& row, const float* spin, float* fields);
  // A site of q states, 0.0f .. q - 1, with logits [q][kLanes]: draw rule of common/draw_state.h; log_q += ln q(state).
  void (*draw_states)(const float* logits, int states, const uint32_t* words, float* state, double* log_q);
  // log_q += ln q(state) of given states.
  void (*score_states)(const float* logits, int states, const float* state, double* log_q);
  // out[site][k][lane] = 1.0f where state[site][lane] is k, else 0.
  void (*one_hot)(const float* state, int states, int sites, float* out);
  // out[site][k][lane] = weight[lane] d ln q(state) / d logit_k.
  void (*state_gradient)(const float* logits, int states, const float* state, const float* weight, int sites,
                         float* out);
  FlipKernels flips;
};

extern const Kernels kBaseKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels, kAvx512Kernels, kAvx512Bf16Kernels, kAmxKernels;
#endif
// AMX's arithmetic and packing in plain C++: lets any machine check the AMX path.
extern const Kernels kAmxModelKernels;

}  // namespace vanfast::cpu
