"""Checks of the numbers and arrays that Hamiltonians are made of."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np


def as_count(value: object, name: str, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`; TypeError or ValueError that names the argument otherwise."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer of at least {minimum}, not {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, not {number}")
    return number


def as_seed(value: object) -> int:
    """A seed of numpy's legacy generator, whose streams are frozen: an integer in [0, 2**32)."""
    seed = as_count(value, "seed", minimum=0)
    if seed >= 2**32:
        raise ValueError(f"seed must be below 2**32, not {seed}")
    return seed


def as_shape(value: object, name: str, dimensions: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """A lattice shape: a sequence of positive integers, of one of the given numbers of dimensions."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence | np.ndarray):
        raise TypeError(f"{name} must be a sequence of lattice lengths such as (4, 6), not {value!r}")
    shape = tuple(as_count(length, name) for length in value)
    if not shape or (dimensions is not None and len(shape) not in dimensions):
        allowed = " or ".join(str(d) for d in dimensions or ()) or "at least 1"
        raise ValueError(f"{name} must have {allowed} lengths, not {shape}")
    if math.prod(shape) >= 2**31:
        raise ValueError(f"{name} {shape} has {math.prod(shape)} sites, at most 2**31 - 1 are possible")
    return shape


def as_array(value: object, name: str) -> np.ndarray:
    """`value` (numbers, nested lists, numpy or torch) as a new float64 array; finiteness is not checked here."""
    if hasattr(value, "detach"):  # a torch tensor that may sit on a device or in a graph
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array of numbers: {error}") from None
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, not {array.dtype}")
    return np.array(array, dtype=np.float64, order="C")


def finite(array: np.ndarray, name: str) -> np.ndarray:
    """`array`, or a ValueError that names the first entry that is NaN or infinite."""
    if not np.isfinite(array).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        position = f" at {where}" if where else ""
        raise ValueError(f"{name} must be finite, found {array[tuple(where)]}{position}")
    return array


def as_number(value: object, name: str) -> float:
    """`value` as a finite float."""
    array = finite(as_array(value, name), name)
    if array.ndim:
        raise ValueError(f"{name} must be one number, not an array of shape {list(array.shape)}")
    return float(array)


def as_fields(value: object, shape: tuple[int, ...], name: str = "field") -> np.ndarray:
    """Fields float64 [N] from one number, an array [N] or an array of the lattice's shape; None means no field."""
    array = finite(as_array(0.0 if value is None else value, name), name)
    sites = math.prod(shape)
    if array.ndim == 0:
        return np.full(sites, float(array))
    if array.shape not in ((sites,), shape):
        lattice = "" if shape == (sites,) else f" or {list(shape)}"
        raise ValueError(f"{name} has shape {list(array.shape)}, expected one number, [{sites}]{lattice}")
    return array.reshape(sites)
