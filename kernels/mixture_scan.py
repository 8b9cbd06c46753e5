"""Sampling of mixtures of independent spins, q(s) = sum_k w_k prod_i sigmoid(s_i x_ki), all sites in one launch.

  logit_i = LSE_k(a_k + ln sigmoid(x_ki)) - LSE_k(a_k + ln sigmoid(-x_ki))
  a_k = ln w_k + sum_{j<i} ln sigmoid(s_j x_kj)
Only differences of a count, so its largest entry is moved to 0 after every site.

Grid: one program for each `tile` consecutive samples; a is [tile, K] float64 in registers, tables of ln sigmoid(+-x),
float64 [N, K], come through the caches. All float64, so mixtures have one precision.
Random: the word of stream 0, site i, sample first + step[0] + row. log q is summed in float64.

Floor on H200 (K = 8, N = 256): two LSEs a site, 60 KFLOP a sample in float64 at 34 TFLOP/s with exp as 20 operations:
40 ns a sample at full load. Prediction: 0.2 us.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import check, check_device, power_of_two
from vanfast.kernels.random import SPINS, draw_up, log_probability, random_word, sample_index


@triton.jit
def log_sum_exp(v):
    """Over dimension 1."""
    top = tl.max(v, 1)
    return top + tl.log(tl.sum(tl.exp(v - top[:, None]), 1))


# `given` is no constant, so that drawn and given spins go through the same instructions.
@triton.jit(do_not_specialize=["count", "sites", "given", "seed", "first"])
def mixture_scan_kernel(
    p_spins, p_log_q, p_step, p_weights, p_up, p_down, count, sites, components, given,
    seed: tl.uint64, first: tl.uint64, TILE: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    o_b = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    o_k = tl.arange(0, BLOCK_K)
    m_b, m_k = o_b < count, o_k < components
    sample = sample_index(first, p_step, o_b)
    log_q = tl.zeros((TILE,), tl.float64)
    a = tl.load(p_weights + o_k, mask=m_k, other=-float("inf"))[None, :] + tl.zeros((TILE, BLOCK_K), tl.float64)
    for site in range(sites):
        if_up = a + tl.load(p_up + site * components + o_k, mask=m_k, other=0.0)[None, :]
        if_down = a + tl.load(p_down + site * components + o_k, mask=m_k, other=0.0)[None, :]
        logit = log_sum_exp(if_up) - log_sum_exp(if_down)
        p_s = p_spins + o_b * sites + site
        if given != 0:
            up = tl.load(p_s, mask=m_b, other=0) > 0
        else:
            up = draw_up(logit, random_word(seed, sample, site, SPINS))
            tl.store(p_s, tl.where(up, 1, -1).to(tl.int8), mask=m_b)
        log_q += log_probability(logit, up)
        a = tl.where(up[:, None], if_up, if_down)
        a -= tl.max(a, 1)[:, None]
    tl.store(p_log_q + o_b, log_q, mask=m_b)


def tile(components: int) -> dict[str, int]:
    """Samples and components of a program, a function of the network alone: 8 entries of a for a thread, or less."""
    block = power_of_two(components)
    samples = max(1, min(64, 512 // block))
    return {"TILE": samples, "BLOCK_K": block, "num_warps": min(max(samples * block // 256, 2), 16)}


def mixture_scan(
    log_weights: Tensor,
    log_up: Tensor,
    log_down: Tensor,
    spins: Tensor,
    log_q: Tensor,
    step: Tensor,
    seed: int,
    first: int,
    given: bool,
) -> None:
    """Spins int8 [count, N], read if given, else written, and ln q float64 [count], written.

    log_weights: float64 [K], their LSE is 0. log_up, log_down: float64 [N, K], ln sigmoid(x) and ln sigmoid(-x).
    step: int64 [1]. Raises TypeError or ValueError for arguments that do not fit.
    """
    (components,), (count, sites) = log_weights.shape, spins.shape
    check("log_weights", log_weights, (torch.float64,), (None,))
    check("log_up", log_up, (torch.float64,), (sites, components))
    check("log_down", log_down, (torch.float64,), (sites, components))
    check("spins", spins, (torch.int8,), (count, sites))
    check("log_q", log_q, (torch.float64,), (count,))
    check("step", step, (torch.int64,), (1,))
    check_device(spins=spins, log_q=log_q, step=step, log_weights=log_weights, log_up=log_up, log_down=log_down)
    for name, tensor in (("spins", spins), ("log_q", log_q), ("log_up", log_up), ("log_down", log_down)):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")
    if not count:
        return
    options = tile(components)
    mixture_scan_kernel[(triton.cdiv(count, options["TILE"]),)](
        spins, log_q, step, log_weights, log_up, log_down, count, sites, components, int(given), seed, first, **options,
    )  # fmt: skip
