"""Masked convolution on channels-last activations: an implicit matrix product over the open taps inside the lattice.

    z[b, y, x, o] = bias[o] + sum_{r, dx, i} weight[o, i, dy, dx] a[b, y + dy, x + dx, i] + residual[b, y, x, o]

with a = PReLU(x) or x, dy = -k .. 0, and in the row dy = 0 only dx < 0, or <= 0 if `inclusive`. `prefix` takes the rows
dy < 0 alone: what finished rows of the lattice give to the row that is being drawn.
The gradient with respect to `a` is the same sum on the lattice turned by 180 degrees, with transposed weights: FLIP.

conv_kernel: a program owns BLOCK_B samples at GROUP neighbouring sites of a row, all outputs: sums of
[BLOCK_B, GROUP x BLOCK_OUT] in registers. It walks over the input sites that any of them sees; one input site is one
product with the weights of that site's place in the window of the group (zero where a member does not see it), so an
activation is read GROUP times less often, and one output channel (the last layer) still fills a tensor core tile. Taps
outside the lattice are skipped exactly, since all rows of a tile are samples at one site. Programs with most rows above
them start first.
taps_kernel: one input channel (spins, or the gradient of the logits); the taps of a row of the kernel are the inner
dimension of the product. Spins are exact in bf16, so float32 weights are three bf16 parts there.

Floor on H200 for conv 3/64/6, L = 16: middle layer 8192 x 57 taps x 256 sites = 119 MFLOP a sample. fp32 (three tf32
products, 165 TFLOP/s): 0.72 ms for 1000 samples; tf32: 0.24 ms; bf16: 0.12 ms. Operands from L2: (128 + 128) x 32 x 4
bytes for 1.05 MFLOP, 32 FLOP a byte, at 5.5 TB/s 176 TFLOP/s (bf16: 64 FLOP a byte). Prediction: fp32 1.1 ms, tf32
0.85 ms, bf16 0.45 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    power_of_two,
    product,
    ready,
    rounded,
    split,
    stored,
)

BLOCK_B = 32 if INTERPRETED else 128  # samples in a tile; a sum's order does not depend on it
BLOCK_N = 128  # columns of sums a group of sites is widened to


@triton.jit
def finish(
    acc, p_bias, p_residual, p_kept, p_slope, p_out, p_partial, first, o_b, m_b, row, site, channel, pid,
    r_batch, r_row, k_batch, k_row, o_batch, o_row,
    LX: tl.constexpr, C_OUT: tl.constexpr, COLUMNS: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    DERIVATIVE: tl.constexpr,
):  # fmt: skip
    """Adds bias and residual and stores. DERIVATIVE: acc is a gradient with respect to PReLU(kept); what is stored is
    that with respect to kept, and sums over the tile of the slope's gradient and of what is stored go to partial."""
    m_n = (channel < C_OUT) & (site >= 0) & (site < LX)
    m = m_b[:, None] & m_n[None, :]
    o_n = site * C_OUT + channel
    if BIAS:
        acc += tl.load(p_bias + channel, mask=m_n, other=0)[None, :]
    if DERIVATIVE:
        p_kept += first * k_batch + row * k_row
        kept = tl.load(p_kept + (o_b[:, None] * k_batch + o_n[None, :]), mask=m, other=0)
        slope = tl.load(p_slope + channel, mask=m_n, other=0)[None, :]
        of_slope = tl.sum(tl.where((kept <= 0) & m, acc * kept, 0.0), 0)
        acc = tl.where(kept <= 0, acc * slope, acc)
    if RESIDUAL:
        p_residual += first * r_batch + row * r_row
        acc += tl.load(p_residual + (o_b[:, None] * r_batch + o_n[None, :]), mask=m, other=0).to(tl.float32)
    if DERIVATIVE:
        o_p = pid * (2 * COLUMNS) + tl.arange(0, COLUMNS)
        tl.store(p_partial + o_p, of_slope)
        tl.store(p_partial + o_p + COLUMNS, tl.sum(tl.where(m, acc, 0.0), 0))
    p_out += first * o_batch + row * o_row
    tl.store(p_out + (o_b[:, None] * o_batch + o_n[None, :]), stored(acc, p_out), mask=m)


# first_row is left unspecialised, or three kernels would be compiled for the rows of a lattice
@triton.jit(do_not_specialize=["first_row"])
def conv_kernel(
    p_x, p_weight, p_bias, p_slope, p_residual, p_kept, p_out, p_partial, count, first_row, rows,
    x_rows, x_batch, x_row, r_batch, r_row, k_batch, k_row, o_batch, o_row,
    LY: tl.constexpr, LX: tl.constexpr, HALF: tl.constexpr, INCLUSIVE: tl.constexpr, C_IN: tl.constexpr,
    C_OUT: tl.constexpr, GROUP: tl.constexpr, BLOCK_OUT: tl.constexpr, ACTIVATE: tl.constexpr, READY: tl.constexpr,
    BIAS: tl.constexpr, RESIDUAL: tl.constexpr, DERIVATIVE: tl.constexpr, FLIP: tl.constexpr, PREFIX: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    COLUMNS: tl.constexpr = GROUP * BLOCK_OUT
    WINDOW: tl.constexpr = 2 * HALF + GROUP
    CHUNKS: tl.constexpr = (C_IN + BLOCK_K - 1) // BLOCK_K
    GROUPS: tl.constexpr = (LX + GROUP - 1) // GROUP
    pid = tl.program_id(0).to(tl.int64)
    i_group = pid % (rows * GROUPS)
    y = (first_row + rows - 1 - i_group // GROUPS).to(tl.int32)
    x0 = (i_group % GROUPS).to(tl.int32) * GROUP
    first = pid // (rows * GROUPS) * BLOCK_B
    o_b = tl.arange(0, BLOCK_B)
    m_b = o_b < count - first
    p_x += first * x_batch  # 64 bits for the tile, 32 inside it
    o_n = tl.arange(0, COLUMNS)

    above = tl.minimum(y, HALF)
    begin = tl.maximum(x0 - HALF, 0)
    width = tl.minimum(x0 + GROUP + HALF, LX) - begin
    steps = above * width
    if not PREFIX:
        steps += tl.minimum(x0 + GROUP - 1 + INCLUSIVE, LX) - begin
    if ACTIVATE and CHUNKS == 1:
        slope = tl.load(p_slope + tl.arange(0, BLOCK_K), mask=tl.arange(0, BLOCK_K) < C_IN, other=0)
    acc = tl.zeros((BLOCK_B, COLUMNS), tl.float32)
    for i in range(steps * CHUNKS):
        tap = i // CHUNKS
        o_k = i % CHUNKS * BLOCK_K + tl.arange(0, BLOCK_K)
        r = tap // width
        site = begin + tap % width
        source = y - above + r
        place = (HALF - above + r) * WINDOW + site - x0 + HALF
        if FLIP:
            source = LY - 1 - source
            site = LX - 1 - site
        a = tl.load(
            p_x + (source % x_rows).to(tl.int64) * x_row + site * C_IN + (o_b[:, None] * x_batch + o_k[None, :]),
            mask=m_b[:, None] & (o_k < C_IN)[None, :],
            other=0,
        )
        w = tl.load(
            p_weight + (place * COLUMNS + o_n[:, None]) * C_IN + o_k[None, :], mask=(o_k < C_IN)[None, :], other=0
        )
        if ACTIVATE:
            if CHUNKS == 1:
                a = activated(a, slope[None, :])
            else:
                a = activated(a, tl.load(p_slope + o_k, mask=o_k < C_IN, other=0)[None, :])
        if READY:
            a = ready(a)
        else:
            a = operand(a, PRECISION)
        acc = product(acc, a, tl.trans(ready(w)), PRECISION)

    row = y - first_row
    site = x0 + o_n // BLOCK_OUT
    if FLIP:
        row = LY - 1 - y
        site = LX - 1 - site
    finish(
        acc, p_bias, p_residual, p_kept, p_slope, p_out, p_partial, first, o_b, m_b, row, site, o_n % BLOCK_OUT, pid,
        r_batch, r_row, k_batch, k_row, o_batch, o_row, LX, C_OUT, COLUMNS, BIAS, RESIDUAL, DERIVATIVE,
    )  # fmt: skip


@triton.jit(do_not_specialize=["first_row"])
def taps_kernel(
    p_x, p_weight, p_bias, p_slope, p_residual, p_kept, p_out, p_partial, count, first_row, rows,
    x_rows, x_batch, x_row, r_batch, r_row, k_batch, k_row, o_batch, o_row,
    LY: tl.constexpr, LX: tl.constexpr, HALF: tl.constexpr, C_OUT: tl.constexpr, BLOCK_OUT: tl.constexpr,
    TAPS: tl.constexpr, PARTS: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, DERIVATIVE: tl.constexpr,
    FLIP: tl.constexpr, PREFIX: tl.constexpr, PRECISION: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0).to(tl.int64)
    i_site = pid % (rows * LX)
    y = (first_row + rows - 1 - i_site // LX).to(tl.int32)
    x0 = (i_site % LX).to(tl.int32)
    first = pid // (rows * LX) * BLOCK_B
    o_b = tl.arange(0, BLOCK_B)
    m_b = o_b < count - first
    p_x += first * x_batch
    o_n = tl.arange(0, BLOCK_OUT)
    o_t = tl.arange(0, TAPS)
    site = x0 - HALF + o_t
    m_t = (site >= 0) & (site < LX) & (o_t <= 2 * HALF)
    if FLIP:
        site = LX - 1 - site
    above = tl.minimum(y, HALF)
    steps = above
    if not PREFIX:
        steps += 1  # its closed taps have zero weights
    acc = tl.zeros((BLOCK_B, BLOCK_OUT), tl.float32)
    for r in range(steps):
        source = y - above + r
        if FLIP:
            source = LY - 1 - source
        m_open = m_t
        if r == above:
            m_open = m_t & (o_t <= HALF)
        a = tl.load(
            p_x + (source % x_rows).to(tl.int64) * x_row + (o_b[:, None] * x_batch + site[None, :]),
            mask=m_b[:, None] & m_open[None, :],
            other=0,
        )
        o_w = o_n[:, None] * ((HALF + 1) * TAPS) + (HALF - above + r) * TAPS + o_t[None, :]
        for part in tl.static_range(PARTS):
            w = tl.load(p_weight + part * (C_OUT * (HALF + 1) * TAPS) + o_w, mask=(o_n < C_OUT)[:, None], other=0)
            acc = product(acc, operand(a, PRECISION), tl.trans(ready(w)), PRECISION)
    row = y - first_row
    site = x0 + o_n * 0
    if FLIP:
        row = LY - 1 - y
        site = LX - 1 - site
    finish(
        acc, p_bias, p_residual, p_kept, p_slope, p_out, p_partial, first, o_b, m_b, row, site, o_n, pid,
        r_batch, r_row, k_batch, k_row, o_batch, o_row, LX, C_OUT, BLOCK_OUT, BIAS, RESIDUAL, DERIVATIVE,
    )  # fmt: skip


@dataclass(frozen=True)
class ConvShape:
    """One masked convolution: what its packed weights look like. `spins`: the input is int8 spins."""

    lattice: tuple[int, int]  # (Ly, Lx)
    half_kernel: int
    inclusive: bool
    c_in: int
    c_out: int
    precision: str
    spins: bool = False

    @property
    def block_out(self) -> int:
        """Columns of sums for one site."""
        return power_of_two(self.c_out, 16) if self.c_in == 1 else power_of_two(self.c_out)

    @property
    def group(self) -> int:
        """Neighbouring sites of a row that one program owns."""
        if self.c_in == 1:
            return 1
        group = power_of_two(16 // self.block_out) if self.block_out < 16 else 1
        while group * self.block_out < BLOCK_N and 6 * group <= 2 * self.half_kernel + 1 and group < self.lattice[1]:
            group *= 2  # the window grows by at most a third
        return group

    @property
    def taps(self) -> int:
        """Inner length of one row of the kernel, one input channel."""
        return power_of_two(2 * self.half_kernel + 1, 16)

    def packed_shape(self) -> tuple[int, ...]:
        k = self.half_kernel
        if self.c_in == 1:
            return (parts_of(self.precision) if self.spins else 1, self.c_out, k + 1, self.taps)
        return (k + 1, 2 * k + self.group, self.group * self.block_out, self.c_in)

    def packed_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" or self.spins else torch.float32

    def transposed(self) -> ConvShape:
        """That of the gradient with respect to the input."""
        return ConvShape(
            self.lattice, self.half_kernel, self.inclusive, self.c_out, self.c_in, self.precision, spins=False
        )


def pack(shape: ConvShape, weight: Tensor, transpose: bool = False, out: Tensor | None = None) -> Tensor:
    """Weights [C_out, C_in, k + 1, 2k + 1] of a plan (closed taps 0) as the kernels read them, into `out` if given.

    transpose: for the gradient with respect to the input; `shape` is then the transposed one. Torch operations only.
    """
    if transpose:
        weight = weight.transpose(0, 1)
    k = shape.half_kernel
    check("weight", weight, (torch.float32, torch.float64), (shape.c_out, shape.c_in, k + 1, 2 * k + 1))
    if out is None:
        out = torch.empty(shape.packed_shape(), dtype=shape.packed_dtype(), device=weight.device)
    check("out", out, (shape.packed_dtype(),), shape.packed_shape())
    out.zero_()
    if shape.c_in == 1:
        rows = weight[:, 0].float()
        out[..., : 2 * k + 1] = split(rows, shape.precision) if shape.spins else rounded(rows, shape.precision)
        return out
    taps = rounded(weight.permute(2, 3, 0, 1), shape.precision)  # [k + 1, 2k + 1, C_out, C_in]
    for member in range(shape.group):
        first = member * shape.block_out
        out[:, member : member + 2 * k + 1, first : first + shape.c_out] = taps
    return out


def conv(
    shape: ConvShape,
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    slope: Tensor | None = None,
    residual: Tensor | None = None,
    out: Tensor | None = None,
    row: int | None = None,
    prefix: bool = False,
    ready: bool = False,
) -> Tensor:
    """z float32 [B, rows, Lx, C_out] of x [B, R, Lx, C_in], float32, bfloat16 or int8 spins (`shape.spins`).

    slope: PReLU of the input, float32 [C_in]; None takes x as it is. residual: added, of out's shape.
    row: that row of the lattice alone (`rows` = 1), else all. prefix: the taps of rows above alone.
    R = Ly, or with `prefix` any R > k: then row y lies at y modulo R. ready: x is operands that `activate` made.
    Only the last two dimensions need to be contiguous. Raises TypeError or ValueError for arguments that do not fit.
    """
    return launch(shape, x, packed, bias, slope, residual, None, out, None, row, prefix, ready, flip=False)


def launch(
    shape: ConvShape,
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    slope: Tensor | None,
    residual: Tensor | None,
    kept: Tensor | None,
    out: Tensor | None,
    partial: Tensor | None,
    row: int | None,
    prefix: bool,
    ready: bool,
    flip: bool,
) -> Tensor:
    """Checks and launches either kernel, forward or (flip, with kept and partial) for the gradient of the input."""
    (ly, lx), k = shape.lattice, shape.half_kernel
    count = x.shape[0]
    rows = ly if row is None else 1
    if row is not None and not 0 <= row < ly:
        raise ValueError(f"row = {row} must be in 0 .. {ly - 1}")
    if out is None:
        out = torch.empty((count, rows, lx, shape.c_out), dtype=torch.float32, device=x.device)
    floats = (torch.float32, torch.bfloat16)
    check("x", x, (torch.int8,) if shape.spins else floats, (count, None, lx, shape.c_in))
    if not (x.shape[1] == ly or (prefix and x.shape[1] > k)):
        raise ValueError(f"x has {x.shape[1]} rows, must be {ly}" + (f" or more than {k}" if prefix else ""))
    check("packed", packed, (shape.packed_dtype(),), shape.packed_shape())
    check("out", out, floats, (count, rows, lx, shape.c_out))
    if bias is not None:
        check("bias", bias, (torch.float32,), (shape.c_out,))
    if slope is not None:
        check("slope", slope, (torch.float32,), (shape.c_in if kept is None else shape.c_out,))
        if shape.c_in == 1 and kept is None:
            raise ValueError("slope: one input channel takes no PReLU; apply `activate` before")
    for name, tensor in (("residual", residual), ("kept", kept)):
        if tensor is not None:
            check(name, tensor, floats, (count, rows, lx, shape.c_out))
    check_device(x=x, packed=packed, bias=bias, slope=slope, residual=residual, kept=kept, out=out)
    for name, tensor in (("x", x), ("residual", residual), ("kept", kept), ("out", out)):
        if tensor is not None and tensor.shape[0] and not tensor[0, 0].is_contiguous():
            raise ValueError(f"{name} must be contiguous in its last two dimensions")
        if tensor is not None and tensor.stride(0) * BLOCK_B >= 2**31:
            raise ValueError(f"{name}: {BLOCK_B} samples must lie within 2**31 elements, got stride {tensor.stride(0)}")
    if not packed.is_contiguous():
        raise ValueError("packed must be contiguous")
    if not count:
        return out
    strides = [n for t in (x, residual, kept, out) for n in ((0, 0) if t is None else t.stride()[:2])]
    arguments = (x, packed, bias, slope, residual, kept, out, partial, count, row or 0, rows, x.shape[1], *strides)
    flags = dict(BIAS=bias is not None, RESIDUAL=residual is not None, DERIVATIVE=kept is not None, FLIP=flip)
    common = dict(LY=ly, LX=lx, HALF=k, C_OUT=shape.c_out, BLOCK_OUT=shape.block_out, PREFIX=prefix, BLOCK_B=BLOCK_B)
    if shape.c_in == 1:
        taps_kernel[(programs(shape, count, rows),)](
            *arguments, **common, **flags, TAPS=shape.taps, PARTS=packed.shape[0],
            PRECISION=PRECISIONS["bf16"] if shape.spins else PRECISIONS[shape.precision], num_warps=8, num_stages=2,
        )  # fmt: skip
    else:
        conv_kernel[(programs(shape, count, rows),)](
            *arguments, **common, **flags, **tile(shape), INCLUSIVE=int(shape.inclusive), C_IN=shape.c_in,
            GROUP=shape.group, ACTIVATE=slope is not None and kept is None, READY=ready,
            PRECISION=PRECISIONS[shape.precision],
        )  # fmt: skip
    return out


def tile(shape: ConvShape) -> dict[str, int]:
    """Inner tile, warps and stages of conv_kernel: three stages of operands are at most 96 KiB."""
    inner = min(power_of_two(shape.c_in, 16), 64 if shape.precision == "bf16" else 32)
    wide = shape.group * shape.block_out > 64
    return {"BLOCK_K": inner, "num_warps": 8 if wide else 4, "num_stages": 3}


def programs(shape: ConvShape, count: int, rows: int) -> int:
    """Number of programs of one launch."""
    return -(-count // BLOCK_B) * rows * -(-shape.lattice[1] // shape.group)
