"""Configurations with weights: what networks are fitted to, and what moments are the averages of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vanfast.hamiltonians._checks import as_array, finite
from vanfast.training.data.moments import SHOWN, Moments, refuse

CHUNK = 1 << 18  # spins that are widened to float64 at a time: as many as a cache holds


@dataclass(frozen=True, eq=False)
class Samples:
    """Configurations +-1, int8 [M, N], and how often each was seen, float64 [M] (any positive weights).

    shape: the lattice that the spins form in raster order, where it is known. q: where it is a number, `spins` are the
    states 0 .. q - 1 of sites instead.
    """

    spins: np.ndarray
    counts: np.ndarray
    shape: tuple[int, ...] | None = None
    q: int | None = None

    @property
    def num_sites(self) -> int:
        return int(self.spins.shape[1])

    def __len__(self) -> int:
        return len(self.spins)

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Spins as float64 and counts, of as many samples at a time as CHUNK allows."""
        size = max(1, CHUNK // self.num_sites)
        for start in range(0, len(self), size):
            yield self.spins[start : start + size].astype(np.float64), self.counts[start : start + size]

    def moments(self) -> Moments:
        """Averages over the samples. Raises ValueError where they are no spins."""
        if self.q is not None:
            raise ValueError(f"moments are those of spins +-1, the samples have sites of {self.q} states")
        first, second = np.zeros(self.num_sites), np.zeros((self.num_sites, self.num_sites))
        for s, counts in self.chunks():
            weighted = s * counts[:, None]
            first += weighted.sum(0)
            second += weighted.T @ s
        total = self.counts.sum()
        return Moments(first / total, second / total)

    def distinct(self) -> Samples:
        """The same sample set with every configuration once."""
        packed = np.packbits(self.spins > 0, axis=1) if self.q is None else self.spins
        rows = np.ascontiguousarray(packed).view([("", packed.dtype)] * packed.shape[1]).ravel()
        _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
        return Samples(self.spins[first], np.bincount(inverse.ravel(), self.counts), self.shape, self.q)

    def where(self, counts: np.ndarray) -> Samples:
        """The same samples with other counts, without those whose count is 0."""
        seen = counts > 0
        if seen.all():
            return replace(self, counts=counts)
        return replace(self, spins=self.spins[seen], counts=counts[seen])


def as_samples(
    spins: Any, counts: Any = None, num_sites: int | None = None, q: int | None = None, levels: Any = None
) -> Samples:
    """Samples of an array or tensor [M, N] of +-1, or of 0 and 1 (0 is spin -1), with optional counts [M].

    [M, *shape] stands for spins on a lattice. Where num_sites is given, [chains, draws, N] of so many spins, as
    `vanfast.mcmc` has them, are chains * draws samples. With q the array holds the states 0 .. q - 1 of sites; with
    `levels`, q different numbers, it holds these, and levels[k] becomes state k: (-4, -2, 0, 2, 4) for sums of blocks.

    Raises TypeError or ValueError that names row and spin of a value that is not allowed, or what is wrong with counts
    or levels.
    """
    values = checked_levels(levels, q)
    if hasattr(spins, "detach"):
        spins = spins.detach().cpu().numpy()
    array = np.asarray(spins)
    if array.dtype.kind not in "iufb" or (q is not None and array.dtype.kind == "b"):
        raise TypeError(f"data must hold {'spins +-1 or 0/1' if q is None else 'numbers'}, not {array.dtype}")
    shape: tuple[int, ...] | None = None
    if array.ndim > 2:
        if num_sites is not None and array.shape[-1] == num_sites != math.prod(array.shape[1:]):
            array = array.reshape(-1, num_sites)
        else:
            shape = array.shape[1:]
            array = array.reshape(len(array), -1)
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] < (2 if num_sites is None else 1):
        raise ValueError(f"data has shape {list(array.shape)}, expected samples [M, N] with M >= 1 and N >= 2")
    found = _as_spin_values(array) if values is None else _as_states(array, values)
    weights = np.ones(len(array)) if counts is None else finite(as_array(counts, "counts"), "counts")
    if weights.shape != (len(array),):
        raise ValueError(f"counts has shape {list(weights.shape)}, expected [{len(array)}], one for each sample")
    refuse("counts", weights < 0, weights, "be 0 or more")
    if not weights.any():
        raise ValueError("counts must not all be 0")
    return Samples(found, weights, shape, q).where(weights)


def checked_levels(levels: Any, q: int | None) -> np.ndarray | None:
    """The numbers that stand for states 0 .. q - 1 in data, float64 [q]; None for spins. ValueError where they do not
    fit."""
    if levels is None:
        return None if q is None else np.arange(q, dtype=np.float64)
    if q is None:
        raise ValueError("levels belong to sites of q states; the data of spins are +-1 or 0/1")
    values = finite(as_array(levels, "levels"), "levels")
    if values.shape != (q,) or len(np.unique(values)) != q:
        raise ValueError(f"levels must be q = {q} different numbers, one for each state, got {levels!r}")
    return values


def _as_spin_values(array: np.ndarray) -> np.ndarray:
    """int8 +-1 of +-1 or 0/1."""
    up, down, zero = array == 1, array == -1, array == 0
    bad = ~(up | down | zero)
    if bad.any():
        row, site = (int(k) for k in np.argwhere(bad)[0])
        raise ValueError(f"data must hold spins +-1 or 0/1, found {array[row, site]} at sample {row}, spin {site}")
    if zero.any() and down.any():
        row, site = (int(k) for k in np.argwhere(zero)[0])
        raise ValueError(f"data mixes 0/1 with +-1: it holds -1, and 0 at sample {row}, spin {site}")
    return np.where(up, np.int8(1), np.int8(-1))


def _as_states(array: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """int8 k where the array holds levels[k]."""
    states = np.full(array.shape, -1, dtype=np.int8)
    for k, level in enumerate(levels):
        states[array == level] = k
    if (states < 0).any():
        row, site = (int(k) for k in np.argwhere(states < 0)[0])
        allowed = ", ".join(f"{level:g}" for level in levels[:SHOWN]) + (", ..." if len(levels) > SHOWN else "")
        raise ValueError(f"data must hold {allowed}, found {array[row, site]} at sample {row}, site {site}")
    return states
