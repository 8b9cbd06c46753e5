"""A Hamiltonian's bonds in the forms that the C++ kernels take; see csrc/cpu/mcmc.h."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vanfast.exact import PairSystem
from vanfast.hamiltonians import Potts

MOST_BONDS = 15  # of a site in the kernel of bit planes
_CLASSES = MOST_BONDS // 2 + 2
TRIES = 0.9375  # probability that Metropolis tries to turn a spin, see csrc/common/mcmc.h
_DENSE_SITES = 20_000  # beyond, a matrix would take more memory than lists


@dataclass(frozen=True)
class Neighbours:
    """Bonds in rows: those of site i are entries start[i] .. start[i + 1] - 1 of neighbour and coupling."""

    start: np.ndarray  # int32 [N + 1]
    neighbour: np.ndarray  # int32 [2 M]
    coupling: np.ndarray  # float64 [2 M]


def neighbours(ham: PairSystem | Potts) -> Neighbours:
    """Both ends of every bond, sorted by site and neighbour."""
    if len(ham.edges) >= 2**30:
        raise ValueError(f"ham has {len(ham.edges)} bonds, Monte Carlo takes fewer than 2**30")
    ends = np.concatenate([ham.edges, ham.edges[:, ::-1]])
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    counts = np.bincount(ends[:, 0], minlength=ham.num_sites)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    coupling = np.concatenate([ham.couplings, ham.couplings])[order]
    return Neighbours(start, np.ascontiguousarray(ends[order, 1], dtype=np.int32), coupling)


def is_dense(ham: PairSystem) -> bool:
    """Whether a matrix serves better than lists of neighbours."""
    return ham.num_sites <= _DENSE_SITES and 6 * len(ham.edges) >= ham.num_sites**2


@dataclass(frozen=True)
class PairArrays:
    """Couplings and fields in units of `quantum`, a power of two at most 2^-29 of the largest possible local field.

    Integers and other numbers of few binary digits are kept exactly, others rounded to half a quantum.
    """

    start: np.ndarray | None
    neighbour: np.ndarray | None
    twice: np.ndarray  # int32, 2 J / quantum: of every entry, or [N, N]
    field: np.ndarray  # int32 [N]
    is_free: np.ndarray  # uint8 [N]: neither bond nor field
    quantum: float


def _quantum(largest: float) -> float:
    if not 1e-200 < largest < 1e200 and largest:
        raise ValueError(f"the largest local field is {largest}, expected one between 1e-200 and 1e200")
    return 2.0 ** (math.ceil(math.log2(largest)) - 29) if largest else 1.0


def pair_arrays(ham: PairSystem, dense: bool) -> PairArrays:
    rows = neighbours(ham)
    total = np.abs(ham.fields).astype(np.float64)
    site = np.repeat(np.arange(ham.num_sites), np.diff(rows.start))
    np.add.at(total, site, np.abs(rows.coupling))
    quantum = _quantum(float(total.max()))
    twice = 2 * np.rint(rows.coupling / quantum).astype(np.int32)
    field = np.rint(ham.fields / quantum).astype(np.int32)
    free = np.asarray(total == 0, dtype=np.uint8)
    if not dense:
        return PairArrays(rows.start, rows.neighbour, twice, field, free, quantum)
    matrix = np.zeros((ham.num_sites, ham.num_sites), dtype=np.int32)
    matrix[site, rows.neighbour] = twice
    return PairArrays(None, None, matrix, field, free, quantum)


@dataclass(frozen=True)
class PottsArrays:
    """Couplings and fields of states in units of `quantum`, as in PairArrays; the bonds as in Neighbours."""

    start: np.ndarray  # int32 [N + 1]
    neighbour: np.ndarray  # int32 [2 M]
    coupling: np.ndarray  # int32 [2 M], J / quantum
    field: np.ndarray  # int32 [q], h / quantum
    quantum: float


def potts_arrays(ham: Potts) -> PottsArrays:
    rows = neighbours(ham)
    total = np.full(ham.num_sites, np.abs(ham.state_fields).max())
    np.add.at(total, np.repeat(np.arange(ham.num_sites), np.diff(rows.start)), np.abs(rows.coupling))
    quantum = _quantum(float(total.max()))
    coupling, field = (np.rint(x / quantum).astype(np.int32) for x in (rows.coupling, ham.state_fields))
    return PottsArrays(rows.start, rows.neighbour, coupling, field, quantum)


@dataclass(frozen=True)
class PlaneArrays:
    """Bonds of one strength `unit`; where a coupling is k times that, its neighbour stands k times."""

    start: np.ndarray  # int32 [N + 1]
    neighbour: np.ndarray  # int32
    negative: np.ndarray  # uint8, 1 where J < 0
    unit: float

    def thresholds(self, beta: float, heat_bath: bool) -> np.ndarray:
        """2^64 times the probabilities of z bonds and class c, uint64 [z, c]; see csrc/cpu/mcmc.h for the classes."""
        table = np.zeros((MOST_BONDS + 1, _CLASSES), dtype=np.uint64)
        for bonds in range(MOST_BONDS + 1):
            bath = heat_bath or not bonds
            for few in range(bonds // 2 + 1 if bath else (bonds + 1) // 2):
                cost = min(2 * beta * self.unit * (bonds - 2 * few), 700.0)
                probability = 1 / (1 + math.exp(cost)) if bath else TRIES * math.exp(-cost)
                table[bonds, few] = int(probability * 2**64)
            if not bath:
                table[bonds, (bonds + 1) // 2] = int(TRIES * 2**64)
        return table


def plane_arrays(ham: PairSystem) -> PlaneArrays | str:
    """The form for multi-spin coding, or why there is none."""
    if ham.fields.any():
        return "it has fields"
    rows = neighbours(ham)
    strength = np.abs(rows.coupling)
    unit = float(strength[strength > 0].min(initial=np.inf))
    if not math.isfinite(unit):
        unit = 1.0
    with np.errstate(over="ignore"):
        times = np.rint(np.minimum(strength / unit, MOST_BONDS + 1.0)).astype(np.int64)
    if not np.array_equal(times * unit, strength):
        return f"its couplings are not multiples, up to {MOST_BONDS}, of one strength"
    site = np.repeat(np.arange(ham.num_sites), np.diff(rows.start))
    bonds = np.bincount(site, weights=times, minlength=ham.num_sites).astype(np.int64)
    if bonds.max() > MOST_BONDS:
        return f"a site has {bonds.max()} bonds, at most {MOST_BONDS} are possible"
    start = np.concatenate([[0], np.cumsum(bonds)]).astype(np.int32)
    negative = np.repeat(rows.coupling < 0, times).astype(np.uint8)
    return PlaneArrays(start, np.repeat(rows.neighbour, times), negative, unit)


def required_planes(ham: PairSystem) -> PlaneArrays:
    """The form for multi-spin coding; ValueError says why there is none."""
    arrays = plane_arrays(ham)
    if isinstance(arrays, str):
        raise ValueError(f"multi-spin coding cannot run this system: {arrays}")
    return arrays


def bond_thresholds(rows: Neighbours, beta: float, q: int | None = None) -> np.ndarray:
    """2^32 times the probability 1 - exp(-cost) that a bond between equal sites is set, uint32 [2 M]: a broken bond
    costs 2 beta J of spins (q None), beta J of the q states of a Potts model."""
    cost = (2 * beta if q is None else beta) * rows.coupling
    return np.minimum(-np.expm1(-cost) * 2.0**32, 2.0**32 - 1).astype(np.uint32)
