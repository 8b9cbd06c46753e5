"""Scan of one lattice row of a PixelCNN: site after site, all layers fused, then the draw.

  z_l(x) = above_l(x) + sum_{j=0..k} W_l(j) a_{l-1}(x - j) [+ z_{l-1}(x)],   a_{l-1} = PReLU(z_{l-1})
  with residual blocks a_{l-1} = PReLU(p_l), p_l = P_l z_{l-1} + b_l; the first layer takes spins, and not at j = 0
above: bias and taps of the rows above, which `conv(..., prefix=True)` of vanfast.kernels.conv has written before.

Grid: one program for each TILE consecutive samples. A tap of a hidden layer is a product [TILE, BLOCK_K] x [BLOCK_K, C]
on tensor cores; the taps of the first layer (one channel in) and of the last (one out) are float32 multiply-adds.
Data: p_state [slots, samples, rings, Lx, C] and p_logits [samples, rings, Lx] hold the row's prefix on entry and its
pre-activations on exit; slots are z_0, then for every hidden layer p_l (if residual) and z_l. What one thread writes
others read after tl.debug_barrier(). Weights, 4 (k + 1) C^2 bytes a layer, stay in the caches.
Random: the word of stream 0, site y Lx + x, sample first + step[0] + row. log q is summed in float64, through p_log_q.

Floor on H200 (conv 3/64/6, L = 16): 12 MFLOP a sample, 0.07 us in fp32 (three tf32 products), and 0.4 MB, 0.08 us.
Prediction: latency of some 20 dependent products a site, 3 us: 0.8 ms for all samples that are resident, about 6000.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from vanfast.kernels._dot import (
    PRECISIONS,
    activated,
    check,
    check_device,
    operand,
    power_of_two,
    product,
    ready,
    rounded,
)
from vanfast.kernels.random import SPINS, draw_up, log_probability, random_word, sample_index
from vanfast.kernels.star_prior import PAIRS, Star, star_logit, star_update

TILE = 16  # samples a program: the least height of a tensor-core product


@triton.jit
def add_taps(
    acc, p_in, p_slope, p_weight, o_b, m_b, stride, taps, CHANNELS: tl.constexpr, ACTIVATE: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """acc [TILE, BLOCK_C] + sum over the sites p_in, p_in - CHANNELS, ... and channels; weights [taps, out, in]."""
    CHUNKS: tl.constexpr = BLOCK_C // BLOCK_K
    o_c = tl.arange(0, BLOCK_C)
    for i in range(taps * CHUNKS):
        tap = i // CHUNKS
        o_k = i % CHUNKS * BLOCK_K + tl.arange(0, BLOCK_K)
        m_k = o_k < CHANNELS
        a = tl.load(
            p_in + (o_b[:, None] * stride - tap * CHANNELS + o_k[None, :]), mask=m_b[:, None] & m_k[None, :], other=0.0
        )
        if ACTIVATE:
            a = activated(a, tl.load(p_slope + o_k)[None, :])
        w = tl.load(p_weight + (tap * BLOCK_C + o_c[:, None]) * BLOCK_C + o_k[None, :])
        acc = product(acc, operand(a, PRECISION), tl.trans(ready(w)), PRECISION)
    return acc


# `given` is no constant, so that drawn and given spins go through the same instructions; and nothing is compiled for
# what a number of samples or rows happens to divide: the order of the sum over the last layer's channels follows from
# the layout of its loads, which may depend on the network alone.
@triton.jit(do_not_specialize=["count", "hidden", "y", "ring", "places", "given", "seed", "first"])
def conv_scan_kernel(
    p_spins, p_log_q, p_state, p_logits, p_step,
    p_first, p_row, p_slope, p_mix, p_mix_bias, p_last, p_last_slope,
    p_fields, p_star_start, p_later, p_couplings,
    count, hidden, sites, lx, y, ring, places, given, seed: tl.uint64, first: tl.uint64,
    HALF: tl.constexpr, CHANNELS: tl.constexpr, DEEP: tl.constexpr, RESIDUAL: tl.constexpr, PRECISION: tl.constexpr,
    TILE: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr, STAR: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    state_stride = places * CHANNELS
    slot_stride = count.to(tl.int64) * state_stride
    first_b = tl.program_id(0).to(tl.int64) * TILE  # pointers are a 64-bit scalar and 32-bit offsets in the tile
    o_b = tl.arange(0, TILE)
    m_b = o_b < count - first_b
    o_c = tl.arange(0, BLOCK_C)
    m_c = m_b[:, None] & (o_c < CHANNELS)[None, :]
    o_z = o_b[:, None] * state_stride + o_c[None, :]
    sample = sample_index(first, p_step, first_b + o_b)
    p_log_q += first_b
    p_spins += first_b * sites
    p_state += first_b * state_stride
    p_logits += first_b * places
    if STAR:
        p_fields += first_b * sites
    log_q = tl.load(p_log_q + o_b, mask=m_b, other=0.0)
    for x in range(lx):
        site = y * lx + x
        at = ring * lx + x
        left = tl.minimum(x, HALF)
        p_logit = p_logits + (o_b * places + at)
        logit = tl.load(p_logit, mask=m_b, other=0.0)
        if DEEP:
            p_at = p_state + at * CHANNELS
            z = tl.load(p_at + o_z, mask=m_c, other=0.0)
            for j in range(1, left + 1):
                s = tl.load(p_spins + (o_b * sites + site - j), mask=m_b, other=0).to(tl.float32)
                z += s[:, None] * tl.load(p_first + j * BLOCK_C + o_c)[None, :]
            tl.store(p_at + o_z, z, mask=m_c)
            for layer in range(hidden):
                if RESIDUAL:  # one after the other in memory: z of the layer before, p, z
                    tl.debug_barrier()
                    p = tl.zeros((TILE, BLOCK_C), tl.float32) + tl.load(p_mix_bias + layer * BLOCK_C + o_c)[None, :]
                    p_m = p_mix + layer * (BLOCK_C * BLOCK_C)
                    p = add_taps(
                        p, p_at, p_slope, p_m, o_b, m_b, state_stride, 1, CHANNELS, False, PRECISION, BLOCK_C, BLOCK_K
                    )
                    p_at += slot_stride
                    tl.store(p_at + o_z, p, mask=m_c)
                tl.debug_barrier()
                acc = add_taps(
                    tl.load(p_at + slot_stride + o_z, mask=m_c, other=0.0), p_at, p_slope + layer * BLOCK_C,
                    p_row + layer * ((HALF + 1) * BLOCK_C * BLOCK_C), o_b, m_b, state_stride, left + 1, CHANNELS, True,
                    PRECISION, BLOCK_C, BLOCK_K,
                )  # fmt: skip
                if RESIDUAL:
                    acc += z
                z = acc
                p_at += slot_stride
                tl.store(p_at + o_z, z, mask=m_c)
            slope = tl.load(p_last_slope + o_c)[None, :]
            total = operand(activated(z, slope), PRECISION).to(tl.float32) * tl.load(p_last + o_c)[None, :]
            for j in range(1, left + 1):
                a = tl.load(p_at + (o_z - j * CHANNELS), mask=m_c, other=0.0)
                w = tl.load(p_last + j * BLOCK_C + o_c)[None, :]
                total += operand(activated(a, slope), PRECISION).to(tl.float32) * w
            logit += tl.sum(total, 1)
        else:
            for j in range(1, left + 1):
                s = tl.load(p_spins + (o_b * sites + site - j), mask=m_b, other=0).to(tl.float32)
                logit += s * tl.load(p_first + j)
        if STAR:
            logit += star_logit(p_fields, p_star_start, p_later, p_couplings, o_b, site, TILE, PAIRS)
        p_s = p_spins + (o_b * sites + site)
        if given != 0:
            up = tl.load(p_s, mask=m_b, other=0) > 0
        else:
            up = draw_up(logit, random_word(seed, sample, site, SPINS))
            tl.store(p_s, tl.where(up, 1, -1).to(tl.int8), mask=m_b)
        log_q += log_probability(logit, up)
        if STAR:
            spin = tl.where(up, 1.0, -1.0)
            star_update(p_fields, p_star_start, p_later, p_couplings, spin, o_b, site, TILE, PAIRS)
        tl.debug_barrier()
        tl.store(p_logit, logit, mask=m_b)  # not before all threads that hold a copy of it have read the prefix there
    tl.store(p_log_q + o_b, log_q, mask=m_b)


@dataclass(frozen=True)
class ConvScanShape:
    """A PixelCNN as the scan sees it. hidden: layers between the first and the last. channels: of all of them, 1 if
    depth is 1. residual: the hidden layers are residual blocks."""

    lattice: tuple[int, int]
    half_kernel: int
    depth: int
    channels: int
    residual: bool
    precision: str

    @property
    def hidden(self) -> int:
        return max(self.depth - 2, 0)

    @property
    def slots(self) -> int:
        """Pre-activations besides the logits."""
        return 0 if self.depth == 1 else 1 + self.hidden * (2 if self.residual else 1)

    @property
    def block(self) -> int:
        """Channels of a product."""
        return 1 if self.depth == 1 else power_of_two(self.channels, 16)


@dataclass
class ConvScanWeights:
    """What the scan reads of a network: the taps of the own row, channels padded with zeros to `shape.block`."""

    first: Tensor  # float32 [k + 1, C], 0 at j = 0
    row: Tensor  # operands [hidden, k + 1, C_out, C_in]
    slope: Tensor  # float32 [hidden, C]
    mix: Tensor  # operands [hidden, 1, C_out, C_in]
    mix_bias: Tensor  # float32 [hidden, C]
    last: Tensor  # float32 [k + 1, C]
    last_slope: Tensor  # float32 [C]

    @classmethod
    def empty(cls, shape: ConvScanShape, device: torch.device) -> ConvScanWeights:
        """Zeros of the right shapes."""
        c, taps = shape.block, shape.half_kernel + 1
        kind = torch.bfloat16 if shape.precision == "bf16" else torch.float32
        blocks = shape.hidden if shape.residual else 0

        def zeros(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(size, dtype=dtype, device=device)

        return cls(
            first=zeros(taps, c),
            row=zeros(shape.hidden, taps, c, c, dtype=kind),
            slope=zeros(shape.hidden, c),
            mix=zeros(blocks, 1, c, c, dtype=kind),
            mix_bias=zeros(blocks, c),
            last=zeros(taps, c),
            last_slope=zeros(c),
        )


def own_row(weight: Tensor, precision: str) -> Tensor:
    """Operands [k + 1, C_out, C_in] of a plan's weight [C_out, C_in, k + 1, 2k + 1]: taps j = 0 .. k to the left."""
    k = weight.shape[2] - 1
    return rounded(weight[:, :, k, : k + 1].flip(2).permute(2, 0, 1), precision)


def conv_scan(
    shape: ConvScanShape,
    weights: ConvScanWeights,
    spins: Tensor,
    log_q: Tensor,
    state: Tensor,
    logits: Tensor,
    step: Tensor,
    row: int,
    seed: int,
    first: int,
    given: bool,
    star: Star | None = None,
    running: Tensor | None = None,
) -> None:
    """Row `row` of all samples, in place.

    spins: int8 [count, Ly * Lx], read if given, else written. log_q: float64 [count], added to. state: float32
    [slots, count, R, Lx, C] and logits: float32 [count, R, Lx] hold the prefix of the row at `row` modulo R, R > k or
    R = Ly, and then its pre-activations. step: int64 [1]. star: added to the logits; running: `star.running(count)`,
    which has taken up the spins of the rows before. Raises TypeError or ValueError for arguments that do not fit.
    """
    (ly, lx), count = shape.lattice, spins.shape[0]
    check("spins", spins, (torch.int8,), (count, ly * lx))
    check("log_q", log_q, (torch.float64,), (count,))
    check("logits", logits, (torch.float32,), (count, None, lx))
    rings = logits.shape[1]
    check("state", state, (torch.float32,), (shape.slots, count, rings, lx, shape.channels))
    check("step", step, (torch.int64,), (1,))
    check_device(spins=spins, log_q=log_q, state=state, logits=logits, step=step, first=weights.first)
    for name, tensor in (("spins", spins), ("log_q", log_q), ("state", state), ("logits", logits)):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous")
    if TILE * state.stride(1) >= 2**31:
        raise ValueError(f"state: {TILE} samples must lie within 2**31 elements, got stride {state.stride(1)}")
    if not 0 <= row < ly:
        raise ValueError(f"row = {row} must be in 0 .. {ly - 1}")
    if rings != ly and rings <= shape.half_kernel:
        raise ValueError(f"state has {rings} rows, must be {ly} or more than {shape.half_kernel}")
    if not count:
        return
    w = weights
    conv_scan_kernel[(triton.cdiv(count, TILE),)](
        spins, log_q, state, logits, step, w.first, w.row, w.slope, w.mix, w.mix_bias, w.last, w.last_slope,
        *((None,) * 4 if star is None or running is None else star.arguments(running, count)),
        count, shape.hidden, ly * lx, lx, row, row % rings, rings * lx, int(given), seed, first,
        HALF=shape.half_kernel, CHANNELS=shape.channels, DEEP=shape.depth > 1, RESIDUAL=shape.residual,
        PRECISION=PRECISIONS[shape.precision], TILE=TILE, STAR=star is not None, PAIRS=PAIRS,
        **tile(shape, star is not None),
    )  # fmt: skip


def tile(shape: ConvScanShape, star: bool = False) -> dict[str, int]:
    """Block sizes and launch options of conv_scan_kernel: few warps make barriers cheap, and these spill nothing."""
    registers = {"maxnreg": 128} if star and shape.precision != "fp32" else {}  # left alone, 80 that spill
    warps = 4 if shape.block <= 64 and shape.precision == "fp32" else 8
    return {
        "BLOCK_C": shape.block,
        "BLOCK_K": min(32, max(shape.block, 16)),
        "num_warps": warps,
        "num_stages": 3,
        **registers,
    }
