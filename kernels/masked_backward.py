"""Gradients of a masked linear layer z = bias + weight PReLU(x) [+ skip], given g, the gradient with respect to z.

    input:   gx[b, j] = PReLU'(x) sum_{user_first(j) <= u < user_end(j)} g[b, u] weight[u, j]  [+ the skip's gradient]
             slope: sum over x <= 0 of x times that sum; bias of the layer before: sum of gx. Both as sums of each tile.
    weight:  gw[u, j] = sum_b g[b, u] a[b, j] where u sees j, else 0

masked_grad_input_kernel: a program owns [BLOCK_B samples, BLOCK_J inputs] and walks over the units that see any of its
inputs. masked_grad_weight_kernel: a program owns a tile [BLOCK_U, BLOCK_J] of gw and a share of the samples; closed
tiles are not computed. Shares and tiles are added by a second pass in a fixed order: no atomics.

Floor on H200 as forward for each of the two. Prediction for dense 6/2 at L = 16, 1000 samples: 10 us each, launch and
latency; for 1024 x 1024 and 131,072 samples (137 GFLOP of open entries): fp32 1.4 ms, tf32 0.7 ms, bf16 0.4 ms each.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import (
    INTERPRETED,
    PRECISIONS,
    check,
    check_device,
    operand,
    product,
    ready,
    spins_product,
    stored,
)
from vanfast.kernels.masked import Windows, is_local

BLOCK_B = 32 if INTERPRETED else 128  # samples of a tile of gx
BLOCK_J = 32 if INTERPRETED else 64
TILE = 32 if INTERPRETED else 64  # rows and columns of a tile of gw
BLOCK_S = 64  # samples of one product of gw
SHARES = 512  # programs aimed at


@triton.jit
def masked_grad_input_kernel(
    p_grad, p_weight, p_kept, p_slope, p_skip, p_first, p_end, p_out, p_partial, count, n_in, n_out,
    DENSE: tl.constexpr, LOCAL: tl.constexpr, SLOPE: tl.constexpr, SKIP: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(n_in, BLOCK_J)
    pid = tl.program_id(0).to(tl.int64)
    i_tile = (pid % tiles).to(tl.int32)  # the first inputs are seen by most units: they start first
    first_b = pid // tiles * BLOCK_B
    o_b = tl.arange(0, BLOCK_B)
    m_b = o_b < count - first_b
    o_j = i_tile * BLOCK_J + tl.arange(0, BLOCK_J)
    m_j = o_j < n_in
    o_k = tl.arange(0, BLOCK_K)
    begin, end = 0, n_out
    if not DENSE:
        begin = tl.load(p_first + i_tile * BLOCK_J) // BLOCK_K * BLOCK_K
    if LOCAL:
        end = tl.load(p_end + tl.minimum(i_tile * BLOCK_J + BLOCK_J, n_in) - 1)
    p_grad += first_b * n_out
    acc = tl.zeros((BLOCK_B, BLOCK_J), tl.float32)
    for k in range(begin, end, BLOCK_K):
        m_k = k + o_k < n_out  # past the end weights are 0
        g = tl.load(p_grad + (o_b[:, None] * n_out + (k + o_k)[None, :]), mask=m_b[:, None] & m_k[None, :], other=0)
        w = tl.load(p_weight + ((k + o_k)[:, None] * n_in + o_j[None, :]), mask=m_k[:, None] & m_j[None, :], other=0)
        acc = product(acc, operand(g, PRECISION), ready(w), PRECISION)
    m = m_b[:, None] & m_j[None, :]
    o = o_b[:, None] * n_in + o_j[None, :]
    o_p = pid // tiles * (2 * n_in) + o_j
    if SLOPE:
        kept = tl.load(p_kept + first_b * n_in + o, mask=m, other=0)
        slope = tl.load(p_slope + o_j, mask=m_j, other=0)[None, :]
        tl.store(p_partial + o_p, tl.sum(tl.where((kept <= 0) & m, acc * kept, 0.0), 0), mask=m_j)
        acc = tl.where(kept <= 0, acc * slope, acc)
    else:
        tl.store(p_partial + o_p, tl.zeros((BLOCK_J,), tl.float32), mask=m_j)
    if SKIP:
        acc += tl.load(p_skip + first_b * n_in + o, mask=m, other=0)
    tl.store(p_partial + o_p + n_in, tl.sum(tl.where(m, acc, 0.0), 0), mask=m_j)
    tl.store(p_out + first_b * n_in + o, stored(acc, p_out), mask=m)


@triton.jit
def masked_grad_weight_kernel(
    p_grad, p_x, p_first, p_end, p_out, count, n_in, n_out, shares,
    DENSE: tl.constexpr, LOCAL: tl.constexpr, SPINS: tl.constexpr, PRECISION: tl.constexpr, BLOCK_U: tl.constexpr,
    BLOCK_J: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    tiles_j = tl.cdiv(n_in, BLOCK_J)
    i_u = tl.program_id(0) // tiles_j
    i_j = tl.program_id(0) % tiles_j
    i_share = tl.program_id(1)
    o_u = i_u * BLOCK_U + tl.arange(0, BLOCK_U)
    o_j = i_j * BLOCK_J + tl.arange(0, BLOCK_J)
    m_u = o_u < n_out
    m_j = o_j < n_in
    o_s = tl.arange(0, BLOCK_S)
    m_open = m_u[:, None] & m_j[None, :]
    steps = tl.cdiv(count, BLOCK_S)
    share = tl.cdiv(steps, shares)
    last = tl.minimum((i_share + 1) * share, steps)
    if LOCAL:
        m_open = m_open & (o_j[None, :] >= tl.load(p_first + o_u, mask=m_u, other=0)[:, None])
        if tl.load(p_first + i_u * BLOCK_U) >= (i_j + 1) * BLOCK_J:
            last = 0  # a closed tile
    if not DENSE:
        end = tl.load(p_end + o_u, mask=m_u, other=0)
        m_open = m_open & (o_j[None, :] < end[:, None])
        if tl.max(end, 0) <= i_j * BLOCK_J:
            last = 0
    acc = tl.zeros((BLOCK_U, BLOCK_J), tl.float32)
    for i in range(i_share * share, last):
        first_b = tl.cast(i, tl.int64) * BLOCK_S
        m_s = o_s < count - first_b
        p_g = p_grad + first_b * n_out
        p_a = p_x + first_b * n_in
        g = tl.load(p_g + (o_s[:, None] * n_out + o_u[None, :]), mask=m_s[:, None] & m_u[None, :], other=0)
        a = tl.load(p_a + (o_s[:, None] * n_in + o_j[None, :]), mask=m_s[:, None] & m_j[None, :], other=0)
        if SPINS:
            acc = spins_product(acc, tl.trans(g.to(tl.float32)), operand(a, 2), PRECISION)
        else:
            acc = product(acc, tl.trans(operand(g, PRECISION)), operand(a, PRECISION), PRECISION)
    p_out += (tl.cast(i_share, tl.int64) * n_out + i_u * BLOCK_U) * n_in
    o = tl.arange(0, BLOCK_U)[:, None] * n_in + o_j[None, :]
    tl.store(p_out + o, tl.where(m_open, acc, 0.0), mask=m_u[:, None] & m_j[None, :])


def check_contiguous(**tensors: Tensor | None) -> None:
    """ValueError naming the first tensor that is not contiguous."""
    for name, tensor in tensors.items():
        if tensor is not None and not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")


def masked_grad_weight(grad: Tensor, operands: Tensor, windows: Windows | None, precision: str) -> Tensor:
    """gw float32 [n_out, n_in], 0 where closed, of g [B, n_out], float32 or bfloat16.

    operands: what the products of the layer took, [B, n_in]: int8 spins or what `activate` gives. windows: None, all
    open. All contiguous. Raises TypeError or ValueError for arguments that do not fit.
    """
    (count, n_out), n_in = grad.shape, operands.shape[-1]
    floats = (torch.float32, torch.bfloat16)
    check("grad", grad, floats, (count, n_out))
    check("operands", operands, (torch.int8, *floats), (count, n_in))
    if windows is not None:
        check("windows.end", windows.end, (torch.int32,), (n_out,))
    check_device(grad=grad, operands=operands, windows=windows and windows.end)
    check_contiguous(grad=grad, operands=operands)
    tiles = -(-n_out // TILE) * -(-n_in // TILE)
    shares = max(1, min(SHARES // tiles, -(-count // BLOCK_S), 2 if INTERPRETED else SHARES))
    partial = torch.empty((shares, n_out, n_in), dtype=torch.float32, device=grad.device)
    masked_grad_weight_kernel[(tiles, shares)](
        grad, operands, windows and windows.first, windows and windows.end, partial, count, n_in, n_out, shares,
        DENSE=windows is None, LOCAL=is_local(windows), SPINS=operands.dtype == torch.int8,
        PRECISION=PRECISIONS[precision], BLOCK_U=TILE, BLOCK_J=TILE,
        BLOCK_S=BLOCK_S if precision == "bf16" else BLOCK_S // 2, num_warps=4, num_stages=3,
    )  # fmt: skip
    return partial[0] if shares == 1 else partial.sum(0)


def masked_grad_input(
    grad: Tensor,
    weight: Tensor,
    windows: Windows | None,
    precision: str,
    kept: Tensor | None = None,
    slope: Tensor | None = None,
    skip: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(gx [B, n_in], its slope's gradient float32 [n_in], sum of gx float32 [n_in]) of g [B, n_out].

    weight: operands [n_out, n_in], `pack(weight, precision)[0]`. kept and slope: the layer's float32 input [B, n_in]
    before its PReLU and float32 [n_in]; without them the input went in as it is, and the slope's gradient is 0.
    skip: a float32 gradient [B, n_in] to add. out: where gx goes, float32 if None. All contiguous. Raises TypeError or
    ValueError for arguments that do not fit.
    """
    (count, n_out), n_in = grad.shape, weight.shape[-1]
    floats = (torch.float32, torch.bfloat16)
    check("grad", grad, floats, (count, n_out))
    check("weight", weight, (torch.bfloat16 if precision == "bf16" else torch.float32,), (n_out, n_in))
    if (kept is None) != (slope is None):
        raise ValueError("kept and slope go together")
    for name, tensor in (("kept", kept), ("skip", skip)):
        if tensor is not None:
            check(name, tensor, (torch.float32,), (count, n_in))
    if slope is not None:
        check("slope", slope, (torch.float32,), (n_in,))
    if windows is not None:
        check("windows.user_first", windows.user_first, (torch.int32,), (n_in,))
    out = torch.empty((count, n_in), dtype=torch.float32, device=grad.device) if out is None else out
    check("out", out, floats, (count, n_in))
    users = windows and windows.user_first
    check_device(grad=grad, weight=weight, kept=kept, slope=slope, skip=skip, out=out, windows=users)
    check_contiguous(grad=grad, weight=weight, kept=kept, skip=skip, out=out)
    rows = triton.cdiv(count, BLOCK_B)
    partial = torch.empty((rows, 2, n_in), dtype=torch.float32, device=grad.device)
    if count:
        masked_grad_input_kernel[(rows * triton.cdiv(n_in, BLOCK_J),)](
            grad, weight, kept, slope, skip, users, windows and windows.user_end, out, partial, count, n_in, n_out,
            DENSE=windows is None, LOCAL=is_local(windows), SLOPE=slope is not None, SKIP=skip is not None,
            PRECISION=PRECISIONS[precision], BLOCK_B=BLOCK_B, BLOCK_J=BLOCK_J,
            BLOCK_K=64 if precision == "bf16" else 32, num_warps=8, num_stages=3,
        )  # fmt: skip
    sums = partial.sum(0)
    return out, sums[0], sums[1]
