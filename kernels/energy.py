"""Energies E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i of int8 spins, float64, in a fixed order of additions.

Four kernels for the four kinds of arrays of vanfast.backends.engines.energy_arrays, which says what the arrays hold:
  lattice   one program a sample: sum of s s' over all sites, direction after direction, as integers
  patterns  one program a block of samples: overlaps with every pattern, as integers
  dense     one program a block of samples, one sample (or a few) a thread: four rows of couplings x spins at a time
  bonds     the same, bond after bond
dense and bonds read spins [N + 1, count], a sample beside the next one, whose last row is +1; the launcher makes it.
Floor: bytes of spins / memory bandwidth, for dense N^2 / 2 fused multiply-adds in float64 a sample; no random words.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_SITES = 1024
BLOCK_SAMPLES = 128


@triton.jit
def _sites_of_words(words, o_site):
    """The spins +-1 that bits (set for -1) stand for."""
    return 1 - 2 * ((tl.load(words + o_site // 32) >> (o_site % 32)) & 1)


@triton.jit
def lattice_energy_kernel(
    spins, neighbour, step, values, signs, fields, energy, rows,
    WIDTH: tl.constexpr, DIRECTIONS: tl.constexpr, SIGNED: tl.constexpr, FIELDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i_sample = tl.program_id(0).to(tl.int64)
    WORDS: tl.constexpr = (WIDTH + 31) // 32
    num_sites = rows * WIDTH
    p_spins = spins + i_sample * num_sites
    total = tl.full([], 0, tl.int64)
    result = tl.full([], 0, tl.float64)
    for d in range(DIRECTIONS):
        shift = tl.load(step + d)
        aligned = tl.zeros([BLOCK], tl.int32)
        for first in range(0, num_sites, BLOCK):
            o_site = first + tl.arange(0, BLOCK)
            m_site = o_site < num_sites
            o_row, o_column = o_site // WIDTH, o_site % WIDTH
            row = tl.load(neighbour + d * rows + o_row, mask=m_site, other=-1)
            column = o_column + (shift > 0).to(tl.int32)
            m_bond = m_site & (row >= 0) & ((column < WIDTH) | (shift != 1))
            column = tl.where(column == WIDTH, 0, column)
            product = tl.load(p_spins + o_site, mask=m_bond, other=0).to(tl.int32)
            product *= tl.load(p_spins + row * WIDTH + column, mask=m_bond, other=0).to(tl.int32)
            if SIGNED:
                p_sign = signs + (d * rows + o_row) * WORDS + o_column // 32
                bit = (tl.load(p_sign, mask=m_bond, other=0) >> (o_column % 32)) & 1
                product *= 1 - 2 * bit
            aligned += product
        # Directions of equal coupling are added as integers, so that a uniform coupling rounds once.
        total += tl.sum(aligned, axis=0).to(tl.int64)
        coupling = tl.load(values + d)
        last = (d + 1 == DIRECTIONS) | (tl.load(values + d + 1) != coupling)
        result -= tl.where(last, coupling * total.to(tl.float64), 0.0)
        total = tl.where(last, 0, total)
    magnetisation = tl.zeros([BLOCK], tl.int32)
    field = tl.zeros([BLOCK], tl.float64)
    for first in range(0, num_sites, BLOCK):
        o_site = first + tl.arange(0, BLOCK)
        spin = tl.load(p_spins + o_site, mask=o_site < num_sites, other=0).to(tl.int32)
        if FIELDS:
            field += tl.load(fields + o_site, mask=o_site < num_sites, other=0.0) * spin.to(tl.float64)
        else:
            magnetisation += spin
    result -= tl.load(values + DIRECTIONS) * tl.sum(magnetisation, axis=0).to(tl.float64)
    result -= tl.sum(field, axis=0)
    tl.store(energy + i_sample, result)


@triton.jit
def pattern_energy_kernel(
    spins, bits, values, energy, count, num_sites, num_patterns, BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr
):
    o_sample = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)
    m_sample = o_sample < count
    words = (num_sites + 31) // 32
    pairs = tl.zeros([BLOCK_B], tl.float64)
    total = tl.zeros([BLOCK_B], tl.int32)
    for pattern in range(num_patterns + 1):  # the last turn, without a pattern, is the magnetisation
        total = tl.zeros([BLOCK_B], tl.int32)
        for first in range(0, num_sites, BLOCK_N):
            o_site = first + tl.arange(0, BLOCK_N)
            p_spin = spins + o_sample[:, None] * num_sites + o_site[None, :]  # [BLOCK_B, BLOCK_N]
            spin = tl.load(p_spin, mask=m_sample[:, None] & (o_site < num_sites)[None, :], other=0).to(tl.int32)
            m_word = (o_site < num_sites) & (pattern < num_patterns)
            word = tl.load(bits + pattern * words + o_site // 32, mask=m_word, other=0)
            xi = 1 - 2 * ((word >> (o_site % 32)) & 1)
            total += tl.sum(spin * xi[None, :], axis=1)
        overlap = total.to(tl.float64)
        pairs += tl.where(pattern < num_patterns, 0.5 * (overlap * overlap - num_sites), 0.0)
    result = -tl.load(values) * pairs - tl.load(values + 1) * total.to(tl.float64)
    tl.store(energy + o_sample, result, mask=m_sample)


@triton.jit
def dense_energy_kernel(columns, couplings, fields, energy, count, num_sites, BLOCK_B: tl.constexpr):
    o_sample = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)
    m_sample = o_sample < count
    p_row = columns + o_sample
    result = tl.zeros([BLOCK_B], tl.float64)
    p_block = couplings
    for block in range((num_sites + 3) // 4):
        i = 4 * block
        a = tl.zeros([BLOCK_B], tl.float64) + tl.load(fields + i)
        b = tl.zeros([BLOCK_B], tl.float64) + tl.load(fields + i + 1)
        c = tl.zeros([BLOCK_B], tl.float64) + tl.load(fields + i + 2)
        d = tl.zeros([BLOCK_B], tl.float64) + tl.load(fields + i + 3)
        p_column = columns + o_sample
        for j in range(tl.minimum(i + 4, num_sites)):
            spin = tl.load(p_column, mask=m_sample, other=0).to(tl.float64)
            a += tl.load(p_block + 4 * j) * spin
            b += tl.load(p_block + 4 * j + 1) * spin
            c += tl.load(p_block + 4 * j + 2) * spin
            d += tl.load(p_block + 4 * j + 3) * spin
            p_column += count
        p_block += 4 * (i + 4)
        # Rows past the last site have neither couplings nor a field; they read the row of +1 that follows it.
        left = num_sites - i
        result -= tl.load(p_row, mask=m_sample, other=0).to(tl.float64) * a
        result -= tl.load(p_row + tl.minimum(1, left) * count, mask=m_sample, other=0).to(tl.float64) * b
        result -= tl.load(p_row + tl.minimum(2, left) * count, mask=m_sample, other=0).to(tl.float64) * c
        result -= tl.load(p_row + tl.minimum(3, left) * count, mask=m_sample, other=0).to(tl.float64) * d
        p_row += 4 * count
    tl.store(energy + o_sample, result, mask=m_sample)


@triton.jit
def bond_energy_kernel(columns, edges, couplings, energy, count, num_bonds, BLOCK_B: tl.constexpr):
    o_sample = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)
    m_sample = o_sample < count
    p_spins = columns + o_sample
    result = tl.zeros([BLOCK_B], tl.float64)
    for bond in range(num_bonds):
        first = tl.load(edges + 2 * bond).to(tl.int64)
        second = tl.load(edges + 2 * bond + 1).to(tl.int64)
        product = tl.load(p_spins + first * count, mask=m_sample, other=0)
        product *= tl.load(p_spins + second * count, mask=m_sample, other=0)
        result -= tl.load(couplings + bond) * product.to(tl.float64)
    tl.store(energy + o_sample, result, mask=m_sample)


def lattice_energy(
    spins: Tensor,
    rows: int,
    width: int,
    neighbour: Tensor,
    step: Tensor,
    values: Tensor,
    signs: Tensor | None,
    fields: Tensor | None,
) -> Tensor:
    """float64 [count] of spins int8 [count, rows * width]; arrays as LatticeArrays has them."""
    energy, directions = _checked(spins, rows * width), len(step)
    _require("step", step, spins, torch.int32, (directions,))
    _require("neighbour", neighbour, spins, torch.int32, (directions, rows))
    _require("values", values, spins, torch.float64, (directions + 1,))
    if signs is not None:
        _require("signs", signs, spins, torch.int32, (directions, rows, triton.cdiv(width, 32)))
    if fields is not None:
        _require("fields", fields, spins, torch.float64, (rows * width,))
    if len(energy):
        lattice_energy_kernel[(len(energy),)](
            spins, neighbour, step, values, signs, fields, energy, rows,
            WIDTH=width,
            DIRECTIONS=directions,
            SIGNED=signs is not None,
            FIELDS=fields is not None,
            BLOCK=min(BLOCK_SITES, triton.next_power_of_2(rows * width)),
        )  # fmt: skip
    return energy


def pattern_energy(spins: Tensor, bits: Tensor, values: Tensor) -> Tensor:
    """float64 [count] of spins int8 [count, N]; arrays as PatternArrays has them."""
    energy = _checked(spins, spins.shape[-1])
    block, count = 16, len(energy)
    _require("bits", bits, spins, torch.int32, (len(bits), triton.cdiv(spins.shape[1], 32)))
    _require("values", values, spins, torch.float64, (2,))
    if count:
        pattern_energy_kernel[(triton.cdiv(count, block),)](
            spins, bits, values, energy, count, spins.shape[1], len(bits), BLOCK_B=block, BLOCK_N=128
        )
    return energy


def dense_energy(spins: Tensor, couplings: Tensor, fields: Tensor) -> Tensor:
    """float64 [count] of spins int8 [count, N]; arrays as DenseArrays has them."""
    energy = _checked(spins, spins.shape[-1])
    num_sites, count = spins.shape[1], len(energy)
    blocks = triton.cdiv(num_sites, 4)
    _require("couplings", couplings, spins, torch.float64, (8 * blocks * (blocks + 1),))
    _require("fields", fields, spins, torch.float64, (4 * blocks,))
    if count:
        dense_energy_kernel[(triton.cdiv(count, BLOCK_SAMPLES),)](
            _columns(spins), couplings, fields, energy, count, num_sites, BLOCK_B=BLOCK_SAMPLES
        )
    return energy


def bond_energy(spins: Tensor, edges: Tensor, couplings: Tensor) -> Tensor:
    """float64 [count] of spins int8 [count, N]; arrays as BondArrays has them."""
    energy = _checked(spins, spins.shape[-1])
    count = len(energy)
    _require("couplings", couplings, spins, torch.float64, (len(couplings),))
    _require("edges", edges, spins, torch.int32, (len(couplings), 2))
    if count:
        bond_energy_kernel[(triton.cdiv(count, BLOCK_SAMPLES),)](
            _columns(spins), edges, couplings, energy, count, len(couplings), BLOCK_B=BLOCK_SAMPLES
        )
    return energy


def _columns(spins: Tensor) -> Tensor:
    """int8 [N + 1, count]: a site's spins side by side, then a row of +1."""
    columns = spins.new_empty((spins.shape[1] + 1, len(spins)))
    columns[:-1] = spins.t()
    columns[-1] = 1
    return columns


def _checked(spins: Tensor, num_sites: int) -> Tensor:
    """Checks int8 [count, num_sites]; room for the energies."""
    if spins.dtype != torch.int8:
        raise TypeError(f"spins must be int8, not {spins.dtype}")
    if spins.ndim != 2 or spins.shape[1] != num_sites or not spins.is_contiguous():
        raise ValueError(f"spins has shape {list(spins.shape)}, expected a contiguous [count, {num_sites}]")
    return spins.new_empty(len(spins), dtype=torch.float64)


def _require(name: str, tensor: Tensor, spins: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if tensor.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, not {tensor.dtype}")
    if tuple(tensor.shape) != shape or not tensor.is_contiguous():
        raise ValueError(f"{name} has shape {list(tensor.shape)}, expected a contiguous {list(shape)}")
    if tensor.device != spins.device:
        raise ValueError(f"{name} is on {tensor.device}, spins on {spins.device}")
