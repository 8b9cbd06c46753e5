"""Checks of constructor arguments; every message names the argument, its value and what is allowed."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch


def integer(name: str, value: object, minimum: int) -> int:
    """`value` as an int of at least `minimum`; TypeError or ValueError otherwise."""
    if isinstance(value, bool):
        raise TypeError(f"{name} = {value!r} must be an integer >= {minimum}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} = {value!r} must be an integer >= {minimum}") from None
    if number < minimum:
        raise ValueError(f"{name} = {number} must be an integer >= {minimum}")
    return number


def flag(name: str, value: object) -> bool:
    """`value` as a bool; TypeError for anything that is not one."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} = {value!r} must be True or False")
    return value


def integers(name: str, value: object, minimum: int) -> tuple[int, ...]:
    """`value` as a tuple of ints of at least `minimum`."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        if not hasattr(value, "tolist"):
            raise TypeError(f"{name} = {value!r} must be a sequence of integers >= {minimum}")
        value = value.tolist()
        if not isinstance(value, list):
            raise TypeError(f"{name} = {value!r} must be a sequence of integers >= {minimum}")
    return tuple(integer(f"{name}[{i}]", item, minimum) for i, item in enumerate(value))


def lattice(shape: object) -> tuple[int, int]:
    """A two-dimensional lattice: an int L means (L, L)."""
    if isinstance(shape, Sequence) and not isinstance(shape, str | bytes):
        sides = integers("shape", shape, 1)
        if len(sides) != 2:
            raise ValueError(f"shape = {shape!r} must be an integer L or a pair (Ly, Lx)")
        return sides[0], sides[1]
    side = integer("shape", shape, 1)
    return side, side


def generator(seed: int | None) -> torch.Generator | None:
    """A local torch generator for `seed` in [0, 2**64), or None for torch's global one."""
    if seed is None:
        return None
    value = integer("seed", seed, 0)
    if value >= 2**64:
        raise ValueError(f"seed = {seed} must be below 2**64")
    return torch.Generator().manual_seed(value if value < 2**63 else value - 2**64)
