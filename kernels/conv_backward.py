"""Gradients of a masked convolution z = bias + conv(weight, PReLU(x)), given g, the gradient with respect to z.

    input:   gx = PReLU'(x) sum_{taps, o} weight[o, i, dy, dx] g[b, y - dy, x - dx, o]     (kernels/conv.py, FLIP)
             slope: sum over x <= 0 of x times that sum; bias of the layer before: sum of gx. Both as sums of each tile.
    weight:  gw[o, i, dy, dx] = sum_{b, y, x} g[b, y, x, o] a[b, y + dy, x + dx, i]

conv_grad_weight_kernel: a program owns a tile [BLOCK_L channels, COLUMNS (tap, channel) pairs] of gw and a share of the
(samples, site) items; one item is a product [BLOCK_L, BLOCK_B] x [BLOCK_B, COLUMNS] over BLOCK_B samples at one site,
where all columns read neighbouring sites. Rows and columns of the lattice that no tap of the tile reaches are skipped.
With one output channel the roles change (SIGN = -1): a stands left, and g at (y - dy, x - dx) is gathered right.
Shares are added by a second pass in a fixed order, so that results are the same every time; no atomics.

Floor on H200 for the middle layer of conv 3/64/6, L = 16: 119 MFLOP a sample for either gradient, as forward.
Operands from L2, tf32: (64 + 256) x 4 bytes for 32,768 FLOP, 26 FLOP a byte, at 5.5 TB/s 140 TFLOP/s; fp32: 21 and
117; bf16: 51 and 280. Prediction for 1000 samples, weight: fp32 1.4 ms, tf32 1.0 ms, bf16 0.5 ms; input as forward.
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
    power_of_two,
    product,
    spins_product,
)
from vanfast.kernels.conv import ConvShape, launch, programs

COLUMNS = {"fp32": 128, "tf32": 256, "bf16": 256}  # (tap, channel) pairs of a tile; three products take more registers
SHARES = 512  # programs aimed at: some four for each of 132 processors
BLOCK_B = {"fp32": 32, "tf32": 32, "bf16": 64}  # samples of an item


@triton.jit
def conv_grad_weight_kernel(
    p_left, p_right, p_out, count, shares,
    LY: tl.constexpr, LX: tl.constexpr, HALF: tl.constexpr, TAPS: tl.constexpr, C_LEFT: tl.constexpr,
    C_RIGHT: tl.constexpr, SIGN: tl.constexpr, SPINS: tl.constexpr, PRECISION: tl.constexpr, BLOCK_L: tl.constexpr,
    BLOCK_R: tl.constexpr, COLUMNS: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    SIDE: tl.constexpr = 2 * HALF + 1
    i_column = tl.program_id(0)
    i_share = tl.program_id(1)
    o_l = tl.program_id(2) * BLOCK_L + tl.arange(0, BLOCK_L)
    o_b = tl.arange(0, BLOCK_B)
    o_n = i_column * COLUMNS + tl.arange(0, COLUMNS)
    tap = o_n // BLOCK_R
    channel = o_n % BLOCK_R
    dy = (tap // SIDE - HALF) * SIGN
    dx = (tap % SIDE - HALF) * SIGN
    m_n = (tap < TAPS) & (channel < C_RIGHT)

    first = i_column * COLUMNS // BLOCK_R
    last = tl.minimum((i_column * COLUMNS + COLUMNS - 1) // BLOCK_R, TAPS - 1)
    reach = tl.minimum(HALF - last // SIDE, LY)  # every tap is at least so many rows away
    begin_x, end_x = 0, LX
    if SIGN > 0:
        if first // SIDE == last // SIDE:
            begin_x = tl.minimum(tl.maximum(HALF - last % SIDE, 0), LX)
            end_x = tl.maximum(tl.minimum(LX + HALF - first % SIDE, LX), begin_x)
    begin_y = reach if SIGN > 0 else 0
    width = end_x - begin_x
    sites = (LY - reach) * width
    total = sites * tl.cdiv(count, BLOCK_B)
    share = tl.cdiv(total, shares)
    acc = tl.zeros((BLOCK_L, COLUMNS), tl.float32)
    for i in range(i_share * share, tl.minimum((i_share + 1) * share, total)):
        site = i % sites
        y = begin_y + site // width
        x = begin_x + site % width
        begin_b = (i // sites).to(tl.int64) * BLOCK_B
        m_b = o_b < count - begin_b
        o_left = (y * LX + x) * C_LEFT + o_l
        o_right = ((y + dy) * LX + x + dx) * C_RIGHT + channel
        left = tl.load(
            p_left + begin_b * (LY * LX * C_LEFT) + (o_b[:, None] * (LY * LX * C_LEFT) + o_left[None, :]),
            mask=m_b[:, None] & (o_l < C_LEFT)[None, :],
            other=0,
        )
        m_right = m_n & (y + dy >= 0) & (y + dy < LY) & (x + dx >= 0) & (x + dx < LX)
        right = tl.load(
            p_right + begin_b * (LY * LX * C_RIGHT) + (o_b[:, None] * (LY * LX * C_RIGHT) + o_right[None, :]),
            mask=m_b[:, None] & m_right[None, :],
            other=0,
        )
        if SPINS:
            acc = spins_product(acc, tl.trans(left.to(tl.float32)), operand(right, 2), PRECISION)
        else:
            acc = product(acc, tl.trans(operand(left, PRECISION)), operand(right, PRECISION), PRECISION)
    p_tile = p_out + i_share.to(tl.int64) * (C_LEFT * tl.num_programs(0) * COLUMNS)
    o_out = o_l[:, None] * (tl.num_programs(0) * COLUMNS) + o_n[None, :]
    tl.store(p_tile + o_out, acc, mask=(o_l < C_LEFT)[:, None])


def conv_grad_weight(shape: ConvShape, grad: Tensor, operands: Tensor) -> Tensor:
    """gw float32 [C_out, C_in, k + 1, 2k + 1], 0 at closed taps; of the forward `shape`.

    grad: [B, Ly, Lx, C_out], float32 or bfloat16; operands: what the products of the layer took, [B, Ly, Lx, C_in],
    int8 spins or what `activate` gives. Both contiguous. Raises TypeError or ValueError for arguments that do not fit.
    """
    (ly, lx), k, count = shape.lattice, shape.half_kernel, grad.shape[0]
    floats = (torch.float32, torch.bfloat16)
    check("grad", grad, floats, (count, ly, lx, shape.c_out))
    check("operands", operands, (torch.int8,) if shape.spins else floats, (count, ly, lx, shape.c_in))
    check_device(grad=grad, operands=operands)
    for name, tensor in (("grad", grad), ("operands", operands)):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")
    taps = k * (2 * k + 1) + k + int(shape.inclusive)
    swap = shape.c_out == 1 and not shape.spins
    left, right = (operands, grad) if swap else (grad, operands)
    c_left, c_right = left.shape[3], right.shape[3]
    block_l, block_r = min(power_of_two(c_left, 16), 64), power_of_two(c_right)
    columns = min(power_of_two(taps * block_r, 16), COLUMNS[shape.precision])
    grid_n, grid_l = -(-taps * block_r // columns), -(-c_left // block_l)
    block_b = BLOCK_B[shape.precision]
    shares = max(1, min(SHARES // (grid_n * grid_l), ly * lx * -(-count // block_b)))
    if INTERPRETED:
        shares = min(shares, 3)
    partial = torch.empty((shares, c_left, grid_n * columns), dtype=torch.float32, device=grad.device)
    conv_grad_weight_kernel[(grid_n, shares, grid_l)](
        left, right, partial, count, shares, LY=ly, LX=lx, HALF=k, TAPS=taps, C_LEFT=c_left, C_RIGHT=c_right,
        SIGN=-1 if swap else 1, SPINS=shape.spins, PRECISION=PRECISIONS[shape.precision], BLOCK_L=block_l,
        BLOCK_R=block_r, COLUMNS=columns, BLOCK_B=block_b, num_warps=8 if columns > 64 else 4, num_stages=3,
    )  # fmt: skip
    tiles = partial.sum(0)[:, : taps * block_r].view(c_left, taps, block_r)[..., :c_right]
    out = torch.zeros((shape.c_out, shape.c_in, (k + 1) * (2 * k + 1)), dtype=torch.float32, device=grad.device)
    out[..., :taps] = tiles.permute(2, 0, 1) if swap else tiles.permute(0, 2, 1)
    return out.view(shape.c_out, shape.c_in, k + 1, 2 * k + 1)


def conv_grad_input(
    shape: ConvShape,
    grad: Tensor,
    packed: Tensor,
    kept: Tensor,
    slope: Tensor,
    skip: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(gx [B, Ly, Lx, C_in], its slope's gradient float32 [C_in], sum of gx float32 [C_in]) before the PReLU of `kept`.

    shape: the transposed one, packed: `pack(shape, weight, transpose=True)`. grad: g [B, Ly, Lx, C_out]; kept: x
    float32; slope: float32 [C_in]. skip: a gradient like gx to add. out: where gx goes, float32 if None. Raises
    TypeError or ValueError as `conv`.
    """
    tiles = programs(shape, grad.shape[0], shape.lattice[0])
    partial = torch.empty((tiles, 2, shape.group, shape.block_out), dtype=torch.float32, device=grad.device)
    out = launch(shape, grad, packed, None, slope, skip, kept, out, partial, None, False, False, flip=True)
    sums = partial.sum((0, 2))[:, : shape.c_out]
    return out, sums[0], sums[1]
