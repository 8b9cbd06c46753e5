"""Nested log-sigmoids of the fields of drawn sites (H2ARNN's SK networks): logits of given spins.

    u_il = sum_{s<i} J_sl x_s,   logit_i = bias_i + direct_i u_ii + sum_{l>i} sum_e r_ile Y_k,
    Y_0 = lns(b_0 + w_0 u_il),  Y_j = lns(b_j + w_j Y_{j-1}),   lns(z) = ln sigmoid(z) = min(z, 0) - ln(1 + exp(-|z|))
I. Biazzo, Commun. Phys. 6, 296 (2023). Parameters are read as a NestPlan has them: those of a pair (i, l) lie together.
lns is one exponential and a polynomial: ln(1 + e) = e P(e) on [0, 1], fitted for the least worst error, 3.2e-8 before
rounding and 1.1e-7 in float32. The error is absolute: lns is only ever added to.

nest_kernel: a program, one warp, owns BLOCK_L sites and BLOCK_B samples. For each block of BLOCK_L later sites, which
lie in lanes, it sums the fields [BLOCK_B, BLOCK_L] that the spins before its own sites exert, and goes through its own
sites, after each of which the fields take in a column of J. Fields and logits stay in registers; a parameter is read
once for all samples of a program.

Floor on H200, in lns: an exponential at 16 a cycle and multiprocessor, and 16 other instructions at 128 a cycle: 0.125
cycles for each, 1.8e12 / s on 132 multiprocessors at 1.75 GHz. SK N = 100, k = 1, 10,000 samples: 2 (k + 1) N^2 / 2 =
20,000 of them a sample, 0.11 ms. Prediction: 0.4 ms: 1.4 times the pairs are computed, as blocks reach over the
diagonal and past the last site, 23 instructions are issued for each, at half the rate.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import INTERPRETED, check, check_device

BLOCK_L = 16  # sites of a block
BLOCK_B = 32  # samples of a program
AHEAD = tl.constexpr(1 if INTERPRETED else 8)  # sites that fields take in at once


@triton.jit
def log1p_of_unit(e):
    """ln(1 + e) of e in [0, 1]; absolute error 1.1e-7."""
    p = tl.full(e.shape, -0.00645261817, tl.float32)
    p = p * e + 0.0360845402
    p = p * e - 0.095322527
    p = p * e + 0.167647883
    p = p * e - 0.240730762
    p = p * e + 0.331798255
    p = p * e - 0.499874055
    p = p * e + 0.999996424
    return p * e


@triton.jit
def log_sigmoid(z):
    """lns(z) of float32 z; what is not a number stays so."""
    return tl.minimum(z, 0.0) - log1p_of_unit(tl.exp(-tl.abs(z)))


@triton.jit
def nests(p_weight, p_shift, u, m_l, SAMPLES: tl.constexpr, LEVELS: tl.constexpr):
    """Read-outs of both branches, added up, for fields u of the pairs whose first parameters the pointers [BLOCK_L]
    are. SAMPLES: the axis of u that counts samples."""
    total = tl.zeros_like(u)
    for branch in tl.static_range(2):
        y = u
        for level in tl.static_range(LEVELS):
            w = tl.load(p_weight + branch * (LEVELS + 1) + level, mask=m_l, other=0.0)
            b = tl.load(p_shift + branch * LEVELS + level, mask=m_l, other=0.0)
            y = log_sigmoid(tl.expand_dims(b, SAMPLES) + tl.expand_dims(w, SAMPLES) * y)
        r = tl.load(p_weight + branch * (LEVELS + 1) + LEVELS, mask=m_l, other=0.0)
        total += tl.expand_dims(r, SAMPLES) * y
    return total


@triton.jit
def couplings_of(p_couplings, s, o_l, m_l, sites):
    """J_sl [BLOCK_L] of the sites l > s; 0 unless 0 <= s < sites."""
    return tl.load(p_couplings + s * sites + o_l, mask=m_l & (o_l > s) & (s >= 0) & (s < sites), other=0.0)


@triton.jit
def spins_of(p_x, s, o_b, m_b, count, sites):
    """x_s, float32 [BLOCK_B], of spins int8 [N, count]; 0 unless 0 <= s < sites."""
    mask = m_b & (s >= 0) & (s < sites)
    return tl.load(p_x + tl.cast(s, tl.int64) * count + o_b, mask=mask, other=0).to(tl.float32)


@triton.jit
def fields_before(
    p_couplings, p_x, site, o_l, o_b, m_l, m_b, count, sites, BLOCK_B: tl.constexpr, BLOCK_L: tl.constexpr
):  # fmt: skip
    """u_il [BLOCK_B, BLOCK_L] of i = min(site, l), and the first site before that is coupled to l, or N, [BLOCK_L]."""
    u = tl.zeros((BLOCK_B, BLOCK_L), tl.float32)
    first = o_l * 0 + sites
    for start in range(0, site, AHEAD):
        for ahead in tl.static_range(AHEAD):  # loads of several sites are under way together
            s = tl.where(start + ahead < site, start + ahead, sites)
            j = couplings_of(p_couplings, s, o_l, m_l, sites)
            u += spins_of(p_x, s, o_b, m_b, count, sites)[:, None] * j[None, :]
            first = tl.where(j != 0, tl.minimum(first, s), first)
    return u, first


@triton.jit
def nest_kernel(
    p_x, p_weight, p_shift, p_couplings, p_bias, p_direct, p_logits, count, sites,
    LEVELS: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(sites, BLOCK_L)
    pid = tl.program_id(0).to(tl.int64)
    first_i = (pid % blocks).to(tl.int32) * BLOCK_L  # the first sites have most sites to come: they start first
    first_b = pid // blocks * BLOCK_B
    o_b = tl.arange(0, BLOCK_B)
    m_b = o_b < count - first_b
    o_i = first_i + tl.arange(0, BLOCK_L)
    m_i = o_i < sites
    p_x += first_b
    logits = tl.load(p_bias + o_i, mask=m_i, other=0.0)[None, :] + tl.zeros((BLOCK_B, BLOCK_L), tl.float32)
    for l in range(first_i, sites, BLOCK_L):
        o_l = l + tl.arange(0, BLOCK_L)
        m_l = o_l < sites
        u, _ = fields_before(p_couplings, p_x, first_i, o_l, o_b, m_l, m_b, count, sites, BLOCK_B, BLOCK_L)
        for i in range(first_i, tl.minimum(first_i + BLOCK_L, sites)):
            pair = tl.cast(i, tl.int64) * sites + o_l
            p_w, p_s = p_weight + pair * (2 * LEVELS + 2), p_shift + pair * (2 * LEVELS)
            terms = nests(p_w, p_s, u, m_l & (o_l > i), 0, LEVELS)
            terms = tl.where((o_l == i)[None, :], tl.load(p_direct + i) * u, terms)
            logits += tl.where((o_i == i)[None, :], tl.sum(terms, 1)[:, None], 0.0)
            j = couplings_of(p_couplings, i, o_l, m_l, sites)
            u += spins_of(p_x, i, o_b, m_b, count, sites)[:, None] * j[None, :]
    p_logits += first_b * sites
    tl.store(p_logits + (o_b[:, None] * sites + o_i[None, :]), logits, mask=m_b[:, None] & m_i[None, :])


def check_nest(weight: Tensor, shift: Tensor, couplings: Tensor, **vectors: Tensor) -> tuple[int, int]:
    """(N, k + 1). Raises TypeError or ValueError unless all are float32, contiguous and shaped as a NestPlan's."""
    check("weight", weight, (torch.float32,), (None, None, 2, None))
    sites, levels = weight.shape[0], weight.shape[3] - 1
    check("weight", weight, (torch.float32,), (sites, sites, 2, levels + 1))
    if levels < 1:
        raise ValueError(f"weight has shape {list(weight.shape)}, its last dimension must be 2 or more")
    check("shift", shift, (torch.float32,), (sites, sites, 2, levels))
    check("couplings", couplings, (torch.float32,), (sites, sites))
    for name, vector in vectors.items():
        check(name, vector, (torch.float32,), (sites,))
    check_device(weight=weight, shift=shift, couplings=couplings, **vectors)
    for name, tensor in (("weight", weight), ("shift", shift), ("couplings", couplings), *vectors.items()):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")
    if sites * sites >= 2**31:
        raise ValueError(f"weight has {sites} sites; pairs are counted in 32 bits, up to 46340 sites")
    return sites, levels


def nest(spins: Tensor, weight: Tensor, shift: Tensor, couplings: Tensor, bias: Tensor, direct: Tensor) -> Tensor:
    """Logits float32 [B, N] of spins int8 [B, N]; the rest are the tensors of a NestPlan, float32, contiguous.

    Raises TypeError or ValueError for arguments that do not fit.
    """
    sites, levels = check_nest(weight, shift, couplings, bias=bias, direct=direct)
    check("spins", spins, (torch.int8,), (None, sites))
    check_device(spins=spins, weight=weight)
    count = len(spins)
    logits = torch.empty((count, sites), dtype=torch.float32, device=spins.device)
    if count:
        grid = triton.cdiv(count, BLOCK_B) * triton.cdiv(sites, BLOCK_L)
        nest_kernel[(grid,)](
            spins.T.contiguous(), weight, shift, couplings, bias, direct, logits, count, sites, LEVELS=levels,
            BLOCK_L=BLOCK_L, BLOCK_B=BLOCK_B, num_warps=1,
        )  # fmt: skip
    return logits
