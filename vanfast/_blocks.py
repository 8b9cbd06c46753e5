"""Block transformation: coarse-grained spins S, the sums of the spins in square blocks of a lattice.

L. Wang and Y. Jiang, arXiv:2007.01037: with blocks of 2x2, S is in {-4, -2, 0, 2, 4}, and an L x L lattice becomes one
of M x M sums with M = L - 1 at stride 1 and M = L / 2 at stride 2.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch

from vanfast._spins import Spins, as_spins


def block_levels(block: int = 2) -> tuple[int, ...]:
    """The values of S in ascending order, the levels of states 0 .. block^2: (-4, -2, 0, 2, 4) for 2x2 blocks."""
    size = _size(block)
    return tuple(range(-size, size + 1, 2))


def block_shape(shape: Any, block: int = 2, stride: int = 1) -> tuple[int, int]:
    """The lattice of blocks (My, Mx) that `block_sums` gives for a lattice (Ly, Lx)."""
    sides, side, step = _lattice(shape), _count("block", block), _count("stride", stride)
    for length in sides:
        if length < side:
            raise ValueError(f"shape {sides} is smaller than a block of {side}x{side}")
        if (length - side) % step:
            raise ValueError(
                f"shape {sides} does not fit: blocks of {side} at stride {step} leave {(length - side) % step} of the "
                f"{length} sites of a side uncovered"
            )
    return (sides[0] - side) // step + 1, (sides[1] - side) // step + 1


def block_sums(spins: Spins, shape: Any, block: int = 2, stride: int = 1) -> torch.Tensor:
    """S of every block, int8 [B, My * Mx] in raster order, of spins +-1 [B, N] or [B, *shape] on a lattice (Ly, Lx).

    Blocks are block x block sites, `stride` apart, and do not wrap around: My = (Ly - block) / stride + 1. On the CPU,
    or where a tensor of int8 spins lies.

    Raises ValueError for a lattice that the blocks do not cover, block > 11 (S would not be int8), or other values
    than +-1.
    """
    lattice = block_shape(shape, block, stride)
    _size(block)
    Ly, Lx = _lattice(shape)
    device = spins.device if isinstance(spins, torch.Tensor) else None
    rows = as_spins(spins, Ly * Lx, device=device).view(-1, Ly, Lx)
    total = torch.zeros((len(rows), *lattice), dtype=torch.int8, device=rows.device)
    for dy in range(block):
        for dx in range(block):
            total += rows[:, dy : dy + (lattice[0] - 1) * stride + 1 : stride, :][
                :, :, dx : dx + (lattice[1] - 1) * stride + 1 : stride
            ]
    return total.flatten(1)


def sums_to_states(sums: Spins, block: int = 2) -> torch.Tensor:
    """States (S + block^2) / 2 in 0 .. block^2, int8, of sums S int8 of any shape. ValueError for other values."""
    size = _size(block)
    values = torch.as_tensor(sums).double()
    allowed = (values.abs() <= size) & ((values + size) % 2 == 0)
    if not bool(allowed.all()):
        where = [int(i) for i in (~allowed).nonzero()[0]]
        raise ValueError(f"sums must be in {block_levels(block)}, found {values[tuple(where)].item():g} at {where}")
    return ((values + size) / 2).to(torch.int8)


def states_to_sums(states: Spins, block: int = 2) -> torch.Tensor:
    """Sums S = 2 k - block^2, int8, of states k in 0 .. block^2 of any shape. ValueError for other values."""
    size = _size(block)
    values = torch.as_tensor(states).double()
    allowed = (values >= 0) & (values <= size) & (values % 1 == 0)
    if not bool(allowed.all()):
        where = [int(i) for i in (~allowed).nonzero()[0]]
        raise ValueError(f"states must be 0 .. {size}, found {values[tuple(where)].item():g} at {where}")
    return (2 * values - size).to(torch.int8)


def _size(block: int) -> int:
    """Sites of a block; their sum must be an int8."""
    side = _count("block", block)
    if side > 11:
        raise ValueError(f"block must be at most 11, whose sums fit in int8, not {block}")
    return side * side


def _lattice(shape: object) -> tuple[int, int]:
    sides = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else ()
    if len(sides) != 2:
        raise ValueError(f"shape must have 2 lengths, (Ly, Lx), got {shape!r}")
    return _count("shape[0]", sides[0]), _count("shape[1]", sides[1])


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer of at least 1, not {value!r}")
    if operator.index(value) < 1:
        raise ValueError(f"{name} must be an integer of at least 1, not {value}")
    return operator.index(value)
