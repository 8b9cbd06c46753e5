"""Gradients of nested log-sigmoids (H2ARNN's SK networks), given g, the gradient with respect to the logits.

With z_j = b_j + w_j Y_{j-1}, Y_{-1} = u_il and read-out r, for each branch of a pair (i, l), summed over samples:
    dr = g_i Y_k,   delta_k = g_i r sigmoid(-z_k),   db_j = delta_j,   dw_j = delta_j Y_{j-1},
    delta_{j-1} = delta_j w_j sigmoid(-z_{j-1}),     du_il = sum over branches of delta_0 w_0;   du_ii = g_i direct_i;
    d direct_i = g_i u_ii;   dJ_sl = x_s sum_{s<i<=l} du_il
Nothing but the logits is kept, and nests are evaluated again: slopes are a division more, and to keep all Y would be
8 (k + 1) bytes a pair.

nest_backward_kernel: a program, one warp, owns BLOCK_L later sites l, which lie in lanes, `run` sites i and a share of
the samples, BLOCK_B at a time. It goes through its sites from the last on: fields [BLOCK_B, BLOCK_L] begin as those of
the last site and lose a spin at a time. The gradient of a coupling is a running sum over i, so where couplings are
learnt a run is all sites. Sums over samples are added up in the program's own part of the output, each entry by one
lane, and the programs' parts by a second pass in a fixed order: no atomics.

Floor on H200: an lns with its slope and what the chain rule needs of it is 40 instructions, and three results of the
special function unit; SK N = 100, k = 1, 10,000 samples: 20,000 of them a sample, 0.27 ms. Prediction: 0.8 ms; 1.4
times the pairs are computed, as many as lie in blocks that reach over the diagonal or past the last site.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import check, check_device
from vanfast.kernels.nest import check_nest, couplings_of, fields_before, log1p_of_unit, spins_of

BLOCK_L = 16  # later sites of a program
BLOCK_B = 32  # samples at a time
RUN = 32  # sites of a program
PROGRAMS = 2048  # aimed at: 4 for each scheduler
PARTIAL_BYTES = 1 << 28  # bounds the programs' parts


@triton.jit
def add_to(p_out, value, mask):
    tl.store(p_out, tl.load(p_out, mask=mask, other=0.0) + value, mask=mask)


@triton.jit
def nest_backward_kernel(
    p_x, p_grad, p_weight, p_shift, p_couplings, p_direct, p_out, p_out_direct, p_out_couplings,
    count, sites, run, shares,
    LEVELS: tl.constexpr, COUPLINGS: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_L: tl.constexpr,
):  # fmt: skip
    first_l = tl.program_id(0) * BLOCK_L
    o_l = first_l + tl.arange(0, BLOCK_L)
    m_l = o_l < sites
    begin = tl.program_id(1) * run
    end = tl.minimum(tl.minimum(begin + run, first_l + BLOCK_L), sites)
    i_share = tl.program_id(2)
    pairs = tl.cast(sites, tl.int64) * sites
    p_out += i_share * pairs * (4 * LEVELS + 2)
    p_out_direct += i_share * sites
    chunks = tl.cdiv(count, BLOCK_B)
    share = tl.cdiv(chunks, shares)
    last_chunk = tl.minimum((i_share + 1) * share, chunks)
    if begin >= end:
        last_chunk = 0  # all sites of the run come later
    for chunk in range(i_share * share, last_chunk):
        o_b = chunk * BLOCK_B + tl.arange(0, BLOCK_B)
        m_b = o_b < count
        fields, first = fields_before(p_couplings, p_x, end - 1, o_l, o_b, m_l, m_b, count, sites, BLOCK_B, BLOCK_L)
        du = tl.zeros((BLOCK_B, BLOCK_L), tl.float32)
        for back in range(0, end - begin):
            i = end - 1 - back
            later = m_l & (o_l > i)
            # Exactly 0 before the first coupled spin: Adam makes steps of whatever rounding leaves.
            u = tl.where((first < i)[None, :], fields, 0.0)
            g = tl.load(p_grad + tl.cast(i, tl.int64) * count + o_b, mask=m_b, other=0.0)[:, None]
            if i >= first_l:
                add_to(p_out_direct + o_l, tl.sum(g * u, 0), m_l & (o_l == i))
                if COUPLINGS:
                    du += tl.where((o_l == i)[None, :], tl.load(p_direct + i) * g, 0.0)
            pair = tl.cast(i, tl.int64) * sites + o_l
            p_w, p_s = p_weight + pair * (2 * LEVELS + 2), p_shift + pair * (2 * LEVELS)
            p_to = p_out + (tl.cast(i, tl.int64) * (4 * LEVELS + 2)) * sites + o_l
            for branch in tl.static_range(2):
                ys = (u,)
                slopes = (u,)
                for level in tl.static_range(LEVELS):
                    w = tl.load(p_w + branch * (LEVELS + 1) + level, mask=later, other=0.0)
                    b = tl.load(p_s + branch * LEVELS + level, mask=later, other=0.0)
                    z = b[None, :] + w[None, :] * ys[level]
                    e = tl.exp(-tl.abs(z))
                    ys = ys + (tl.minimum(z, 0.0) - log1p_of_unit(e),)  # noqa: RUF005  Triton has no other way
                    slopes = slopes + (tl.where(z > 0, e, 1.0) / (1.0 + e),)  # noqa: RUF005
                add_to(p_to + LEVELS * sites, tl.sum(g * ys[LEVELS], 0), later)
                r = tl.load(p_w + branch * (LEVELS + 1) + LEVELS, mask=later, other=0.0)
                delta = g * r[None, :]
                for level in tl.static_range(LEVELS - 1, -1, -1):
                    delta = delta * slopes[level + 1]
                    add_to(p_to + level * sites, tl.sum(delta * ys[level], 0), later)
                    add_to(p_to + (LEVELS + 1 + level) * sites, tl.sum(delta, 0), later)
                    w = tl.load(p_w + branch * (LEVELS + 1) + level, mask=later, other=0.0)
                    delta = delta * w[None, :]
                if COUPLINGS:
                    du += delta
                p_to += (2 * LEVELS + 1) * sites
            x = spins_of(p_x, i - 1, o_b, m_b, count, sites)[:, None]
            if COUPLINGS:
                o_j = i_share * pairs + tl.cast(i - 1, tl.int64) * sites + o_l
                add_to(p_out_couplings + o_j, tl.sum(du * x, 0), m_l & (o_l >= i) & (i > 0))
            fields -= x * couplings_of(p_couplings, i - 1, o_l, m_l, sites)[None, :]
        tl.debug_barrier()  # the next samples are added to what these gave


def nest_backward(
    grad: Tensor,
    spins: Tensor,
    weight: Tensor,
    shift: Tensor,
    couplings: Tensor,
    direct: Tensor,
    learn_couplings: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients (direct [N], weight [N, N, 2, k + 2], shift [N, N, 2, k + 1], couplings [N, N] or None), all float32,
    of which pairs l <= i are 0, given that of the logits, float32 [B, N], for spins int8 [B, N].

    The other tensors are those of a NestPlan, float32, contiguous. Raises TypeError or ValueError for arguments that do
    not fit.
    """
    sites, levels = check_nest(weight, shift, couplings, direct=direct)
    check("spins", spins, (torch.int8,), (None, sites))
    count = len(spins)
    check("grad", grad, (torch.float32,), (count, sites))
    check_device(grad=grad, spins=spins, weight=weight)
    x, by_site = spins.T.contiguous(), grad.T.contiguous()
    numbers = (weight.numel() + shift.numel(), sites, sites * sites if learn_couplings else 0)
    run = sites if learn_couplings else RUN
    blocks, runs, chunks = triton.cdiv(sites, BLOCK_L), triton.cdiv(sites, run), triton.cdiv(count, BLOCK_B)
    shares = max(1, min(PROGRAMS // (blocks * runs), PARTIAL_BYTES // (4 * sum(numbers)), chunks))
    parts = grad.new_zeros(shares * sum(numbers)).split([shares * number for number in numbers])
    if count:
        nest_backward_kernel[(blocks, runs, shares)](
            x, by_site, weight, shift, couplings, direct, *parts, count, sites, run, shares, LEVELS=levels,
            COUPLINGS=learn_couplings, BLOCK_B=BLOCK_B, BLOCK_L=BLOCK_L, num_warps=1,
        )  # fmt: skip
    nests, direct_grad, pairs = (part.view(shares, -1).sum(0) for part in parts)
    by_parameter = nests.view(sites, 2, 2 * levels + 1, sites).permute(0, 3, 1, 2)
    weight_grad, shift_grad = by_parameter[..., : levels + 1], by_parameter[..., levels + 1 :]
    pair_grad = pairs.view(sites, sites) if learn_couplings else None
    return direct_grad, weight_grad.contiguous(), shift_grad.contiguous(), pair_grad
