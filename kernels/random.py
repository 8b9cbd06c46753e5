"""The contract of randomness inside Triton kernels: Philox words, the draw rule and its log-probability.

word(seed, sample, site, stream) is number site % 4 of Philox4x32-10 with key = seed and counter = (sample low, high,
site // 4, stream); minority = word < floor(2^32 / (1 + e^|x|)) for a logit x. The twin of vanfast/random.py.
All in float64: a threshold in float32 would lose the tails, and log q is summed in float64.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import check

SPINS = tl.constexpr(0)
FLIPS = tl.constexpr(1)


@triton.jit
def sample_index(first, p_step, row):
    """uint64 index of row: first + step[0] + row modulo 2^64."""
    return tl.load(p_step).to(tl.uint64) + first.to(tl.uint64) + row.to(tl.uint64)


@triton.jit
def random_word(seed, sample, site, stream: tl.constexpr):
    """uint32, as `sample` (uint64) is shaped; `site` is a scalar."""
    low = (sample & 0xFFFFFFFF).to(tl.uint32)
    high = (sample >> 32).to(tl.uint32)
    zero = low & 0
    w0, w1, w2, w3 = tl.philox(seed, low, high, zero + site // 4, zero + stream)
    number = site % 4
    return tl.where(number == 0, w0, tl.where(number == 1, w1, tl.where(number == 2, w2, w3)))


@triton.jit
def draw_up(logit, word):
    """Whether the spin is +1."""
    x = logit.to(tl.float64)
    # the threshold is 0 from |x| = 23 on, so nothing is lost by a bound that keeps exp finite
    threshold = tl.floor(4294967296.0 / (1.0 + tl.exp(tl.minimum(tl.abs(x), 64.0))))
    return (x >= 0) != (word.to(tl.float64) < threshold)


@triton.jit
def log_sigmoid(x):
    """ln sigmoid(x) of float64 x, to full relative precision."""
    u = tl.exp(-tl.abs(x))
    w = 1.0 + u
    # log1p(u): what the rounding of 1 + u lost comes back in the quotient (W. Kahan)
    log1p = tl.where(w == 1.0, u, tl.log(w) * (u / tl.where(w == 1.0, 1.0, w - 1.0)))
    return tl.minimum(x, 0.0) - log1p


@triton.jit
def log_probability(logit, up):
    """ln q of the spin, float64."""
    x = logit.to(tl.float64)
    return log_sigmoid(tl.where(up, x, -x))


@triton.jit(do_not_specialize=["seed", "first"])
def draw_kernel(
    p_logits, p_spins, p_log_q, p_step, count, sites, seed: tl.uint64, first: tl.uint64, STREAM: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The draw rule alone: one program owns BLOCK samples and goes through their sites; for tests of the contract."""
    o_b = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m_b = o_b < count
    sample = sample_index(first, p_step, o_b)
    total = tl.zeros((BLOCK,), tl.float64)
    for site in range(sites):
        logit = tl.load(p_logits + o_b * sites + site, mask=m_b, other=0.0)
        up = draw_up(logit, random_word(seed, sample, site, STREAM))
        total += log_probability(logit, up)
        tl.store(p_spins + o_b * sites + site, tl.where(up, 1, -1).to(tl.int8), mask=m_b)
    tl.store(p_log_q + o_b, total, mask=m_b)


def draw(logits: Tensor, spins: Tensor, log_q: Tensor, step: Tensor, seed: int, first: int, stream: int = 0) -> None:
    """Spins int8 [count, sites] of independent logits (float32 or float64), and ln q float64 [count]."""
    count, sites = logits.shape
    check("logits", logits, (torch.float32, torch.float64), (None, None))
    check("spins", spins, (torch.int8,), (count, sites))
    check("log_q", log_q, (torch.float64,), (count,))
    check("step", step, (torch.int64,), (1,))
    block = 64
    draw_kernel[(triton.cdiv(count, block),)](
        logits, spins, log_q, step, count, sites, seed, first, stream, block, num_warps=2
    )
