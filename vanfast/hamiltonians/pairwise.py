"""Spins coupled in arbitrary pairs: dense or sparse couplings, Sherrington-Kirkpatrick and Curie-Weiss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vanfast import _cpu
from vanfast.hamiltonians._checks import as_array, as_count, as_fields, as_number, as_seed, as_shape, finite
from vanfast.hamiltonians.base import Hamiltonian


class Pairwise(Hamiltonian):
    """Any pair couplings.

    Args:
        J: symmetric [N, N] with zero diagonal: numpy, torch, nested lists, or a scipy.sparse matrix or array.
            Symmetric means up to 8 rounding errors of J's dtype relative to its largest entry; the upper triangle
            is taken. Zero entries are no bonds.
        h: fields, None, one number, [N] or of the lattice's shape.
        shape: the lattice that the sites form in raster order, (N,) when None. It changes no energy.

    Raises:
        TypeError, ValueError: not square, not finite, asymmetric, non-zero diagonal, fields of another length.
    """

    def __init__(self, J: Any, h: Any = None, shape: Any = None) -> None:
        num_sites, edges, couplings = _of_sparse(J) if hasattr(J, "tocoo") else _of_dense(J)
        self._set(num_sites, edges, couplings, h, shape)

    def _set(self, num_sites: int, edges: np.ndarray, couplings: np.ndarray, h: Any, shape: Any) -> None:
        lattice = (num_sites,) if shape is None else as_shape(shape, "shape")
        if math.prod(lattice) != num_sites:
            raise ValueError(f"shape {lattice} has {math.prod(lattice)} sites, but the couplings have {num_sites}")
        super().__init__(lattice, as_fields(h, lattice, "h"))
        self._pairs = edges, couplings

    @classmethod
    def from_edges(cls, num_sites: int, edges: Any, couplings: Any, h: Any = None, shape: Any = None) -> Pairwise:
        """The system of a list of bonds.

        Args:
            num_sites: N.
            edges: integers [M, 2] in [0, N), in any order; no pair may appear twice, in either direction.
            couplings: J of every row of edges, [M], or one number for all.
            h, shape: as for Pairwise.
        """
        num_sites = as_count(num_sites, "num_sites")
        if num_sites >= 2**31:
            raise ValueError(f"num_sites must be below 2**31, not {num_sites}")
        pairs = as_edges(edges, num_sites)
        values = finite(as_array(couplings, "couplings"), "couplings")
        if values.ndim == 0:
            values = np.full(len(pairs), float(values))
        if values.shape != (len(pairs),):
            found = list(values.shape)
            raise ValueError(f"couplings has shape {found}, expected one number or [{len(pairs)}], a row of edges each")
        low, high = pairs.min(axis=1, initial=num_sites), pairs.max(axis=1, initial=0)
        order = np.lexsort((high, low))
        pairs = np.stack([low, high], axis=1)[order]
        twice = np.flatnonzero((pairs[1:] == pairs[:-1]).all(axis=1))
        if len(twice):
            pair = pairs[twice[0]].tolist()
            raise ValueError(f"edges holds the pair {pair} twice; a pair may appear once, as (i, j) or as (j, i)")
        system = cls.__new__(cls)
        system._set(num_sites, pairs.astype(np.int32), values[order], h, shape)
        return system

    def _bonds(self) -> tuple[np.ndarray, np.ndarray]:
        return self._pairs

    def _arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"num_sites": self.num_sites, "edges": self.edges, "couplings": self.couplings}
        arguments["h"] = None if self.is_z2_symmetric else self.fields
        if self.shape != (self.num_sites,):
            arguments["shape"] = list(self.shape)
        return arguments

    @classmethod
    def _from_arguments(cls, arguments: dict[str, Any]) -> Hamiltonian:
        return cls.from_edges(**arguments)


class SherringtonKirkpatrick(Hamiltonian):
    """The Sherrington-Kirkpatrick model: J_ij normal with mean 0 and variance 1/N.

    The draw is that of the H2ARNN experiments: numpy's legacy generator seeded with `seed`, for i = 0 .. N-1 and
    j = 0 .. i-1 one Normal(0, 1/sqrt(N)) each in this order.
    """

    def __init__(self, N: int, seed: int = 1) -> None:
        num_sites = as_count(N, "N")
        self.seed = as_seed(seed)
        super().__init__((num_sites,), np.zeros(num_sites))

    @property
    def num_edges(self) -> int:
        return self.num_sites * (self.num_sites - 1) // 2

    def _bonds(self) -> tuple[np.ndarray, np.ndarray]:
        N = self.num_sites
        lower = np.zeros((N, N))
        lower[np.tril_indices(N, -1)] = np.random.RandomState(self.seed).normal(0.0, 1.0 / np.sqrt(N), N * (N - 1) // 2)
        i, j = np.triu_indices(N, 1)
        return np.stack([i, j], axis=1).astype(np.int32), lower.T[i, j]

    def _arguments(self) -> dict[str, Any]:
        return {"N": self.num_sites, "seed": self.seed}


class CurieWeiss(Hamiltonian):
    """The Curie-Weiss model: every pair has the coupling J/N, every site the field h.

    With M the sum of the spins, E = -(J/N) (M^2 - N) / 2 - h M, which is how the energy is evaluated.
    """

    def __init__(self, N: int, J: float = 1.0, h: float = 0.0) -> None:
        num_sites = as_count(N, "N")
        self.J, self.h = as_number(J, "J"), as_number(h, "h")
        super().__init__((num_sites,), np.full(num_sites, self.h))

    @property
    def num_edges(self) -> int:
        return self.num_sites * (self.num_sites - 1) // 2

    def _bonds(self) -> tuple[np.ndarray, np.ndarray]:
        i, j = np.triu_indices(self.num_sites, 1)
        return np.stack([i, j], axis=1).astype(np.int32), np.full(len(i), self.J / self.num_sites)

    def _make_native(self) -> _cpu.EnergyModel:
        return _cpu.EnergyModel.from_patterns(np.ones((1, self.num_sites), dtype=np.int8), self.J, self.fields)

    def _arguments(self) -> dict[str, Any]:
        return {"N": self.num_sites, "J": self.J, "h": self.h}


def as_edges(edges: Any, num_sites: int) -> np.ndarray:
    """Edges as int64 [M, 2] with entries in [0, num_sites) and no site joined with itself."""
    pairs = np.asarray(edges)
    if pairs.size == 0:
        pairs = np.zeros((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"edges has shape {list(pairs.shape)}, expected [M, 2]")
    if pairs.dtype.kind not in "iu":
        raise TypeError(f"edges must hold integer site numbers, not {pairs.dtype}")
    outside = np.argwhere((pairs < 0) | (pairs >= num_sites))
    if len(outside):
        row = int(outside[0, 0])
        raise ValueError(f"edges row {row} is {pairs[row].tolist()}, sites must be in [0, {num_sites})")
    loops = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(loops):
        row = int(loops[0])
        raise ValueError(f"edges row {row} joins site {int(pairs[row, 0])} with itself")
    return pairs.astype(np.int64)


def _of_dense(J: Any) -> tuple[int, np.ndarray, np.ndarray]:
    source = getattr(J, "dtype", np.dtype(np.float64))
    matrix = as_array(J, "J")
    _check_square(matrix.shape)
    finite(matrix, "J")
    if matrix.diagonal().any():
        site = int(np.flatnonzero(matrix.diagonal())[0])
        raise ValueError(f"J must have a zero diagonal, but J[{site}, {site}] = {matrix[site, site]}")
    unequal = np.abs(matrix - matrix.T) > _slack(source) * np.abs(matrix).max()
    if unequal.any():
        i, j = (int(k) for k in np.argwhere(unequal)[0])
        _refuse_asymmetric(i, j, matrix[i, j], matrix[j, i])
    upper = np.triu(matrix, 1)
    pairs = np.argwhere(upper)
    return len(matrix), pairs.astype(np.int32), upper[pairs[:, 0], pairs[:, 1]]


def _of_sparse(J: Any) -> tuple[int, np.ndarray, np.ndarray]:
    _check_square(J.shape)
    matrix = J.tocsr().tocoo()
    values = finite(as_array(matrix.data, "J"), "J")
    if len(values) and np.abs(J.diagonal()).any():
        site = int(np.flatnonzero(J.diagonal())[0])
        raise ValueError(f"J must have a zero diagonal, but J[{site}, {site}] = {J.diagonal()[site]}")
    row, column = matrix.row.astype(np.int64), matrix.col.astype(np.int64)
    keep = (values != 0) & (row != column)
    row, column, values = row[keep], column[keep], values[keep]
    above, below = row < column, row > column
    keys = row * J.shape[0] + column
    mirrored = column * J.shape[0] + row
    upper, lower = np.argsort(keys[above]), np.argsort(mirrored[below])
    upper_keys, lower_keys = keys[above][upper], mirrored[below][lower]
    upper_values, lower_values = values[above][upper], values[below][lower]
    if not np.array_equal(upper_keys, lower_keys):
        i, j = divmod(int(np.setxor1d(upper_keys, lower_keys)[0]), J.shape[0])
        _refuse_asymmetric(i, j, _entry(keys, values, i * J.shape[0] + j), _entry(keys, values, j * J.shape[0] + i))
    unequal = np.abs(upper_values - lower_values) > _slack(matrix.dtype) * np.abs(values).max(initial=0.0)
    if unequal.any():
        k = int(np.flatnonzero(unequal)[0])
        i, j = divmod(int(upper_keys[k]), J.shape[0])
        _refuse_asymmetric(i, j, upper_values[k], lower_values[k])
    edges = np.stack([upper_keys // J.shape[0], upper_keys % J.shape[0]], axis=1).astype(np.int32)
    return int(J.shape[0]), edges, upper_values


def _entry(keys: np.ndarray, values: np.ndarray, key: int) -> float:
    return float(values[keys == key].sum())


def _slack(dtype: Any) -> float:
    """Relative asymmetry that rounding explains in a matrix of this dtype."""
    name = str(dtype).removeprefix("torch.")
    return 8 * float(np.finfo(name).eps) if name in ("float16", "float32") else 8 * float(np.finfo(np.float64).eps)


def _check_square(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"J has shape {list(shape)}, expected a square [N, N] with N >= 1")


def _refuse_asymmetric(i: int, j: int, upper: float, lower: float) -> None:
    raise ValueError(
        f"J must be symmetric, but J[{i}, {j}] = {upper} and J[{j}, {i}] = {lower}; "
        "from a triangular matrix T take J = T + T.T"
    )
