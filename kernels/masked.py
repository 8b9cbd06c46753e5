"""Masked linear layer: a matrix product whose weights are block lower triangular.

    z[b, u] = bias[u] + sum_{first(u) <= j < end(u)} weight[u, j] a[b, j] + skip[b, u],      a = PReLU(x) or x

Units are sorted by degree, so first and end never decrease with u; a `local` layer (channels of one site) sees a narrow
band, other layers have first = 0. masked_kernel: a program owns [BLOCK_B samples, BLOCK_U units] in registers and walks
over the inputs that any of its units sees, from first of its first unit to end of its last: tiles that are closed as a
whole are never read. Entries closed inside a tile are zeros of the weight. `limit` stops at the inputs that are
finished: what they give to the units of a block is the prefix stage of sampling; what lies beyond is not read.
Spins are exact in bf16: for them weights come in bf16 parts that add up to float32 (3) or tf32 (2). The inputs of a
tile are walked in one order, whatever the batch, so a sample's value depends on its inputs alone.

Floor on H200, dense 6/2 at L = 16 (512 x 512 layers): 0.27 MFLOP a sample and layer, three tf32 products at
165 TFLOP/s: 1.6 us for 1000 samples; operands 1000 x 512 x 8 bytes: 0.9 us. Prediction: 8 us, launch and latency of
16 steps, at 64 programs of 132 processors. Spins, N = 1024, 131,072 samples: 137 GFLOP in three bf16 products,
0.55 ms at 750 TFLOP/s; prediction 1.0 ms.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import (
    INTERPRETED,
    PRECISIONS,
    activated,
    check,
    check_device,
    operand,
    parts_of,
    product,
    ready,
    rounded,
    split,
    stored,
)

BLOCK_B = 32 if INTERPRETED else 128
BLOCK_U = 32 if INTERPRETED else 64


class Windows(NamedTuple):
    """What the units of a layer see: int32 tensors on the device, none of them ever decreasing."""

    end: Tensor  # [n_out]: past the last input a unit sees
    user_first: Tensor  # [n_in]: the first unit that sees an input
    first: Tensor | None = None  # [n_out]: the first input a unit sees; None: 0
    user_end: Tensor | None = None  # [n_in]: past the last unit that sees an input; None: n_out


def windows(seen_from: Tensor, degree: Tensor, local: bool) -> Windows:
    """seen_from int64 [n_in]: the least degree of a unit that sees an input; degree int64 [n_out]. Both sorted.

    local: a unit sees inputs of its own degree only. Torch operations only, nothing waits for the device.
    """
    # Contiguous copies: searchsorted would warn about each one that is not.
    inputs, units = seen_from.contiguous(), degree.contiguous()
    end = torch.searchsorted(inputs, units, right=True, out_int32=True)
    user_first = torch.searchsorted(units, inputs, out_int32=True)
    if not local:
        return Windows(end, user_first)
    first = torch.searchsorted(inputs, units, out_int32=True)
    return Windows(end, user_first, first, torch.searchsorted(units, inputs, right=True, out_int32=True))


def is_local(windows: Windows | None) -> bool:
    """Whether there are first inputs to look up."""
    return windows is not None and windows.first is not None


@triton.jit
def masked_kernel(
    p_x, p_weight, p_bias, p_slope, p_skip, p_first, p_end, p_out, count, n_in, n_out, first_unit, units, limit,
    x_batch, s_batch, o_batch,
    DENSE: tl.constexpr, LOCAL: tl.constexpr, PARTS: tl.constexpr, BIAS: tl.constexpr, SLOPE: tl.constexpr,
    SKIP: tl.constexpr, PRECISION: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(units, BLOCK_U)
    pid = tl.program_id(0).to(tl.int64)
    i_tile = tiles - 1 - (pid % tiles).to(tl.int32)  # the last units see most: they start first
    first_b = pid // tiles * BLOCK_B
    o_b = tl.arange(0, BLOCK_B)
    m_b = o_b < count - first_b
    o_u = i_tile * BLOCK_U + tl.arange(0, BLOCK_U)
    m_u = o_u < units
    o_k = tl.arange(0, BLOCK_K)
    begin, end = 0, limit
    if LOCAL:
        begin = tl.load(p_first + first_unit + i_tile * BLOCK_U) // BLOCK_K * BLOCK_K
    if not DENSE:
        end = tl.minimum(tl.load(p_end + first_unit + tl.minimum(i_tile * BLOCK_U + BLOCK_U, units) - 1), limit)
    # Past the end weights are 0, so the mask may be the argument, whose divisibility is known: 16 bytes a load.
    p_x += first_b * x_batch
    p_weight += tl.cast(first_unit, tl.int64) * n_in
    acc = tl.zeros((BLOCK_B, BLOCK_U), tl.float32)
    for k in range(begin, end, BLOCK_K):
        m_k = k + o_k < limit
        a = tl.load(p_x + (o_b[:, None] * x_batch + (k + o_k)[None, :]), mask=m_b[:, None] & m_k[None, :], other=0)
        if SLOPE:
            a = activated(a, tl.load(p_slope + k + o_k, mask=m_k, other=0)[None, :])
        a = operand(a, PRECISION)
        for part in tl.static_range(PARTS):
            p_part = p_weight + part * tl.cast(n_in, tl.int64) * n_out
            w = tl.load(p_part + (o_u[:, None] * n_in + (k + o_k)[None, :]), mask=m_u[:, None] & m_k[None, :], other=0)
            acc = product(acc, a, tl.trans(ready(w)), PRECISION)
    m = m_b[:, None] & m_u[None, :]
    if BIAS:
        acc += tl.load(p_bias + first_unit + o_u, mask=m_u, other=0)[None, :]
    if SKIP:
        p_skip += first_b * s_batch
        acc += tl.load(p_skip + (o_b[:, None] * s_batch + o_u[None, :]), mask=m, other=0)
    p_out += first_b * o_batch
    tl.store(p_out + (o_b[:, None] * o_batch + o_u[None, :]), stored(acc, p_out), mask=m)


def pack(weight: Tensor, precision: str, spins: bool = False, out: Tensor | None = None) -> Tensor:
    """Weights [n_out, n_in] of a plan (closed entries 0) as operands [parts, n_out, n_in], into `out` if given.

    spins: the layer's input is int8 spins. Torch operations only.
    """
    operands = split(weight, precision) if spins else rounded(weight, precision)[None]
    return operands.contiguous() if out is None else out.copy_(operands)


def masked(
    x: Tensor,
    packed: Tensor,
    windows: Windows | None,
    precision: str,
    bias: Tensor | None = None,
    slope: Tensor | None = None,
    skip: Tensor | None = None,
    out: Tensor | None = None,
    units: tuple[int, int] | None = None,
    limit: int | None = None,
) -> Tensor:
    """z float32 [B, units] of x [B, n_in], float32 or bfloat16, or int8 spins.

    packed: as `pack` gives it, for spins if x is spins. windows: None, every unit sees every input. slope: float32
    [n_in], bias: float32 [n_out]. units: (begin, end), those alone; skip and out are then of those units. limit: inputs
    from there on are not read. Rows need not be adjacent. Raises TypeError or ValueError for arguments that do not fit.
    """
    count, n_in, n_out = x.shape[0], x.shape[-1], packed.shape[-2]
    begin, end = (0, n_out) if units is None else units
    if not 0 <= begin < end <= n_out:
        raise ValueError(f"units = {units} must be a run of the {n_out} units")
    limit = n_in if limit is None else limit
    if not 0 <= limit <= n_in:
        raise ValueError(f"limit = {limit} must be in 0 .. {n_in}")
    spins = x.dtype == torch.int8
    floats = (torch.float32, torch.bfloat16)
    check("x", x, (torch.int8, *floats), (count, n_in))
    dtype = torch.bfloat16 if spins or precision == "bf16" else torch.float32
    check("packed", packed, (dtype,), (parts_of(precision) if spins else 1, n_out, n_in))
    if out is None:
        out = torch.empty((count, end - begin), dtype=torch.float32, device=x.device)
    check("out", out, floats, (count, end - begin))
    for name, tensor, length in (("bias", bias, n_out), ("slope", slope, n_in)):
        if tensor is not None:
            check(name, tensor, (torch.float32,), (length,))
    if skip is not None:
        check("skip", skip, (torch.float32,), (count, end - begin))
    if windows is not None:
        check("windows.end", windows.end, (torch.int32,), (n_out,))
        if windows.first is not None:
            check("windows.first", windows.first, (torch.int32,), (n_out,))
    check_device(x=x, packed=packed, bias=bias, slope=slope, skip=skip, out=out, windows=windows and windows.end)
    for name, tensor in (("x", x), ("skip", skip), ("out", out)):
        if tensor is not None and (tensor.stride(1) != 1 and tensor.shape[1] > 1):
            raise ValueError(f"{name} must be contiguous in its last dimension")
        if tensor is not None and tensor.stride(0) * BLOCK_B >= 2**31:
            raise ValueError(f"{name}: {BLOCK_B} samples must lie within 2**31 elements, got stride {tensor.stride(0)}")
    if not packed.is_contiguous():
        raise ValueError("packed must be contiguous")
    if not count:
        return out
    inner = "bf16" if spins else precision
    grid = triton.cdiv(count, BLOCK_B) * triton.cdiv(end - begin, BLOCK_U)
    masked_kernel[(grid,)](
        x, packed, bias, slope, skip, windows and windows.first, windows and windows.end, out, count, n_in, n_out,
        begin, end - begin, limit, x.stride(0), 0 if skip is None else skip.stride(0), out.stride(0),
        DENSE=windows is None, LOCAL=is_local(windows), PARTS=packed.shape[0], BIAS=bias is not None,
        SLOPE=slope is not None, SKIP=skip is not None, PRECISION=PRECISIONS[inner], BLOCK_B=BLOCK_B, BLOCK_U=BLOCK_U,
        BLOCK_K=64 if inner == "bf16" else 32, num_warps=8, num_stages=3,
    )  # fmt: skip
    return out
