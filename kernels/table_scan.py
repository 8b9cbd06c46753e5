"""Conditionals that are looked up: sampling, and the gradient with respect to a table of the magnetisation.

    magnetisation: logit_i = table[i, u], u = sum_{j<i} [s_j = +1], table [N, N]
    prefix:        logit_i = table[2^i - 1 + p], p = sum_{j<i} [s_j = +1] 2^j, table [2^N - 1]
    d/d table[i, u] of sum_b weight[b] ln q(s_b) = sum over the samples that met the entry of g[b, i]

table_scan_kernel: a program owns TILE consecutive samples, one to a lane, and goes through the sites. Logits, draw and
ln q are float64. Random: the word of stream 0, site i, sample first + step[0] + row.
table_gradient_kernel: a program owns one site and BLOCK_U entries of its row, and goes through all samples; entries are
compared with each sample's, so sums have one order: no atomics.

Floor on H200: a draw and two log-sigmoids in float64, some 150 operations a site: N = 100, 10,000 samples: 9 us at
17 TFLOP/s without fused ones. Prediction: 60 us, latency of 100 look-ups and draws. Gradient, N = 100, 10,000 samples:
5 x 10^7 comparisons and additions, 8 us; prediction 30 us.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import check, check_device
from vanfast.kernels.random import SPINS, draw_up, log_probability, random_word, sample_index

TILE = 64  # samples of a program
BLOCK_U = 16  # entries of a row
BLOCK_B = 256  # samples compared at once


# `given` is no constant, so that drawn and given spins go through the same instructions.
@triton.jit(do_not_specialize=["count", "given", "seed", "first"])
def table_scan_kernel(
    p_table, p_spins, p_log_q, p_logits, p_step, count, sites, given, seed: tl.uint64, first: tl.uint64,
    PREFIX: tl.constexpr, KEEP: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    first_b = tl.program_id(0).to(tl.int64) * TILE
    o_b = tl.arange(0, TILE)
    m_b = o_b < count - first_b
    sample = sample_index(first, p_step, first_b + o_b)
    p_spins += first_b * sites
    if KEEP:
        p_logits += first_b * sites
    log_q = tl.zeros((TILE,), tl.float64)
    entry = tl.zeros((TILE,), tl.int32)
    width = tl.cast(1, tl.int32)  # by how much a spin that is up moves the entry
    for site in range(sites):
        logit = tl.load(p_table + entry, mask=m_b, other=0.0)
        o_s = o_b * sites + site
        if KEEP:
            tl.store(p_logits + o_s, logit.to(tl.float32), mask=m_b)
        if given != 0:
            up = tl.load(p_spins + o_s, mask=m_b, other=0) > 0
        else:
            up = draw_up(logit, random_word(seed, sample, site, SPINS))
            tl.store(p_spins + o_s, tl.where(up, 1, -1).to(tl.int8), mask=m_b)
        log_q += log_probability(logit, up)
        entry += tl.where(up, width, 0)
        if PREFIX:
            p_table += width
            width *= 2
        else:
            p_table += sites
    tl.store(p_log_q + first_b + o_b, log_q, mask=m_b)


@triton.jit
def table_gradient_kernel(p_grad, p_up, p_out, count, sites, BLOCK_U: tl.constexpr, BLOCK_B: tl.constexpr):
    i = tl.program_id(0).to(tl.int64)
    o_u = tl.program_id(1) * BLOCK_U + tl.arange(0, BLOCK_U)
    end = count
    if tl.program_id(1) * BLOCK_U > i:
        end = 0  # no sample has as many spins up
    total = tl.zeros((BLOCK_U,), tl.float64)
    for start in range(0, end, BLOCK_B):
        o_b = start + tl.arange(0, BLOCK_B)
        g = tl.load(p_grad + i * count + o_b, mask=o_b < count, other=0.0)
        up = tl.load(p_up + i * count + o_b, mask=o_b < count, other=-1)
        total += tl.sum(tl.where(up[None, :] == o_u[:, None], g[None, :], 0.0), 1).to(tl.float64)
    tl.store(p_out + i * sites + o_u, total, mask=o_u < sites)


def table_scan(
    table: Tensor,
    spins: Tensor,
    log_q: Tensor,
    logits: Tensor | None,
    step: Tensor,
    seed: int,
    first: int,
    given: bool,
) -> None:
    """Spins int8 [count, N], read if given, else written; ln q float64 [count] and, if asked for, logits float32
    [count, N], written.

    table: float64 [N, N] by site and magnetisation, or [2^N - 1] by prefix. step: int64 [1]. Raises TypeError or
    ValueError for arguments that do not fit.
    """
    check("spins", spins, (torch.int8,), (None, None))
    count, sites = spins.shape
    prefix = table.dim() == 1
    if prefix and sites > 30:
        raise ValueError(f"spins has {sites} sites; prefixes are counted in 32 bits, up to 30 sites")
    check("table", table, (torch.float64,), (2**sites - 1,) if prefix else (sites, sites))
    check("log_q", log_q, (torch.float64,), (count,))
    if logits is not None:
        check("logits", logits, (torch.float32,), (count, sites))
    check("step", step, (torch.int64,), (1,))
    check_device(spins=spins, table=table, log_q=log_q, logits=logits, step=step)
    for name, tensor in (("table", table), ("spins", spins), ("log_q", log_q), ("logits", logits)):
        if tensor is not None and not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")
    if count:
        table_scan_kernel[(triton.cdiv(count, TILE),)](
            table, spins, log_q, logits, step, count, sites, int(given), seed, first, PREFIX=prefix,
            KEEP=logits is not None, TILE=TILE, num_warps=2,
        )  # fmt: skip


def table_gradient(grad: Tensor, spins: Tensor) -> Tensor:
    """Gradient with respect to a table of the magnetisation, float64 [N, N], entries u > i are 0, given that of the
    logits, float32 [B, N], for spins int8 [B, N]. Raises TypeError or ValueError for arguments that do not fit."""
    check("spins", spins, (torch.int8,), (None, None))
    count, sites = spins.shape
    check("grad", grad, (torch.float32,), (count, sites))
    check_device(grad=grad, spins=spins)
    is_up = spins.gt(0).to(torch.int32)
    before = (is_up.cumsum(1, dtype=torch.int32) - is_up).T.contiguous()
    out = torch.zeros((sites, sites), dtype=torch.float64, device=spins.device)
    if count:
        table_gradient_kernel[(sites, triton.cdiv(sites, BLOCK_U))](
            grad.T.contiguous(), before, out, count, sites, BLOCK_U=BLOCK_U, BLOCK_B=BLOCK_B, num_warps=4
        )
    return out
