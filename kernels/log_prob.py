"""ln q of given spins from logits, its gradient, and the Z2 symmetrisation of drawn spins.

    log_q[b] = sum_p ln sigmoid(s[b, p] x[b, p])                            float64: exact to 1e-13 at N = 1024
    d/dx[b, p] of sum_b weight[b] log_q[b] = weight[b] s[b, p] sigmoid(-s[b, p] x[b, p])
    q(s) = (q_theta(s) + q_theta(-s)) / 2: log_q = logaddexp(a, b) - ln 2, and the spins of a sample are all flipped
    where its word of stream 1 is below 2^31

A program owns ROWS samples and walks over their sites in pieces of COLUMNS. Random: symmetrize_kernel reads the word
(sample, site 0, stream 1).
Floor on H200: 5 bytes a site (9 for the gradient, 2 for the flip); N = 1024, 131,072 samples: 0.14 ms. In float64 a
log-sigmoid is some 60 operations: 0.24 ms at 34 TFLOP/s. Prediction 0.3 ms; gradient 0.3 ms.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import check, check_device
from vanfast.kernels.random import FLIPS, log_sigmoid, random_word, sample_index

ROWS = 16
COLUMNS = 64
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def log_prob_kernel(p_logits, p_spins, p_log_q, count, sites, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    o_b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    m_b = o_b < count
    total = tl.zeros((ROWS,), tl.float64)
    for start in range(0, sites, COLUMNS):
        o_p = start + tl.arange(0, COLUMNS)
        o = o_b[:, None] * sites + o_p[None, :]
        m = m_b[:, None] & (o_p < sites)[None, :]
        x = tl.load(p_logits + o, mask=m, other=0).to(tl.float64)
        s = tl.load(p_spins + o, mask=m, other=0).to(tl.float64)
        total += tl.sum(tl.where(m, log_sigmoid(s * x), 0.0), 1)
    tl.store(p_log_q + o_b, total, mask=m_b)


@triton.jit
def logit_gradient_kernel(p_logits, p_spins, p_weight, p_out, count, sites, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    pieces = tl.cdiv(sites, COLUMNS)
    pid = tl.program_id(0).to(tl.int64)
    o_b = pid // pieces * ROWS + tl.arange(0, ROWS)
    o_p = pid % pieces * COLUMNS + tl.arange(0, COLUMNS)
    m_b = o_b < count
    o = o_b[:, None] * sites + o_p[None, :]
    m = m_b[:, None] & (o_p < sites)[None, :]
    s = tl.load(p_spins + o, mask=m, other=0).to(tl.float32)
    x = tl.load(p_logits + o, mask=m, other=0) * s
    small = tl.exp(-tl.abs(x))
    other = tl.where(x > 0, small, 1.0) / (1.0 + small)  # sigmoid(-x), exact in both tails
    weight = tl.load(p_weight + o_b, mask=m_b, other=0).to(tl.float32)
    tl.store(p_out + o, weight[:, None] * s * other, mask=m)


@triton.jit(do_not_specialize=["seed", "begin"])
def symmetrize_kernel(
    p_spins, p_log_q, p_flipped, p_step, p_out, count, sites, seed: tl.uint64, begin: tl.uint64,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    o_b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    m_b = o_b < count
    a = tl.load(p_log_q + o_b, mask=m_b, other=0)
    b = tl.load(p_flipped + o_b, mask=m_b, other=0)
    # logaddexp(a, b) = max(a, b) - ln sigmoid(|a - b|)
    gap = tl.where(a == b, 0.0, tl.abs(a - b))  # two equal infinities have no difference
    tl.store(p_out + o_b, tl.maximum(a, b) - log_sigmoid(gap) - LN2, mask=m_b)
    flip = random_word(seed, sample_index(begin, p_step, o_b), 0, FLIPS) < 2147483648
    for start in range(0, sites, COLUMNS):
        o_p = start + tl.arange(0, COLUMNS)
        o = o_b[:, None] * sites + o_p[None, :]
        m = (m_b & flip)[:, None] & (o_p < sites)[None, :]
        tl.store(p_spins + o, -tl.load(p_spins + o, mask=m, other=0), mask=m)


def _check_pair(logits: Tensor, spins: Tensor) -> None:
    check("logits", logits, (torch.float32,), (None, None))
    check("spins", spins, (torch.int8,), tuple(logits.shape))
    check_device(logits=logits, spins=spins)
    for name, tensor in (("logits", logits), ("spins", spins)):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")


def log_prob(logits: Tensor, spins: Tensor) -> Tensor:
    """ln q, float64 [B], of spins int8 [B, N] under float32 logits [B, N], in one order. Both contiguous.

    Raises TypeError or ValueError for arguments that do not fit.
    """
    _check_pair(logits, spins)
    count, sites = logits.shape
    log_q = torch.empty(count, dtype=torch.float64, device=logits.device)
    if count:
        log_prob_kernel[(triton.cdiv(count, ROWS),)](logits, spins, log_q, count, sites, ROWS, COLUMNS, num_warps=4)
    return log_q


def logit_gradient(logits: Tensor, spins: Tensor, weight: Tensor) -> Tensor:
    """Gradient of sum_b weight[b] log_q[b] with respect to the logits, float32 [B, N].

    weight: float64 [B]. Raises TypeError or ValueError for arguments that do not fit.
    """
    _check_pair(logits, spins)
    count, sites = logits.shape
    check("weight", weight, (torch.float64,), (count,))
    check_device(logits=logits, weight=weight)
    if not weight.is_contiguous():
        raise ValueError("weight must be contiguous")
    out = torch.empty((count, sites), dtype=torch.float32, device=logits.device)
    if count:
        grid = triton.cdiv(count, ROWS) * triton.cdiv(sites, COLUMNS)
        logit_gradient_kernel[(grid,)](logits, spins, weight, out, count, sites, ROWS, COLUMNS, num_warps=4)
    return out


def symmetrize(
    spins: Tensor, log_q: Tensor, log_q_flipped: Tensor, seed: int, first: int, step: Tensor | None = None
) -> Tensor:
    """ln q, float64 [B], of the symmetrised network; spins int8 [B, N] are flipped in place where their word says so.

    log_q, log_q_flipped: float64 [B], ln q_theta of the spins and of their opposites. The index of sample b is
    first + step[0] + b modulo 2^64. Raises TypeError or ValueError for arguments that do not fit.
    """
    check("spins", spins, (torch.int8,), (None, None))
    count, sites = spins.shape
    check("log_q", log_q, (torch.float64,), (count,))
    check("log_q_flipped", log_q_flipped, (torch.float64,), (count,))
    step = torch.zeros(1, dtype=torch.int64, device=spins.device) if step is None else step
    check("step", step, (torch.int64,), (1,))
    check_device(spins=spins, log_q=log_q, log_q_flipped=log_q_flipped, step=step)
    if not spins.is_contiguous():
        raise ValueError("spins must be contiguous")
    log_q, log_q_flipped, out = log_q.contiguous(), log_q_flipped.contiguous(), torch.empty_like(log_q)
    if count:
        symmetrize_kernel[(triton.cdiv(count, ROWS),)](
            spins, log_q, log_q_flipped, step, out, count, sites, seed, first, ROWS, COLUMNS, num_warps=4
        )
    return out
