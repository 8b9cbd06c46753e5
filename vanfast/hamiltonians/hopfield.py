"""The Hopfield model and patterns to store in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vanfast import _cpu
from vanfast._spins import as_spins
from vanfast.hamiltonians._checks import as_count, as_seed
from vanfast.hamiltonians.base import Hamiltonian


class Hopfield(Hamiltonian):
    """The Hopfield model: J_ij = (1/N) sum_mu xi_i^mu xi_j^mu for i != j.

    With M_mu = sum_i xi_i^mu s_i, E = -(1/N) sum_mu (M_mu^2 - N) / 2, which is how the energy is evaluated.

    Args:
        patterns: xi, +1 and -1, [P, N]; see random_patterns and orthogonal_patterns.
    """

    patterns: np.ndarray

    def __init__(self, patterns: Any) -> None:
        array = patterns if hasattr(patterns, "detach") else np.asarray(patterns)
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"patterns has shape {list(array.shape)}, expected [P, N] with P, N >= 1")
        num_sites = int(array.shape[1])
        self.patterns = as_spins(array, num_sites, "patterns").numpy().copy()
        self.patterns.flags.writeable = False
        super().__init__((num_sites,), np.zeros(num_sites))

    def _bonds(self) -> tuple[np.ndarray, np.ndarray]:
        overlap = self.patterns.T.astype(np.float64) @ self.patterns.astype(np.float64)
        upper = np.triu(overlap, 1)
        i, j = np.nonzero(upper)
        return np.stack([i, j], axis=1).astype(np.int32), upper[i, j] / self.num_sites

    def _make_native(self) -> _cpu.EnergyModel:
        return _cpu.EnergyModel.from_patterns(self.patterns, 1.0, self.fields)

    def _arguments(self) -> dict[str, Any]:
        return {"patterns": self.patterns}


def random_patterns(P: int, N: int, seed: int = 0) -> np.ndarray:
    """P independent patterns of N spins, each +1 or -1 with equal probability: int8 [P, N]."""
    P, N = as_count(P, "P"), as_count(N, "N")
    draws = np.random.RandomState(as_seed(seed)).random_sample((P, N))
    return np.where(draws < 0.5, 1, -1).astype(np.int8)


def orthogonal_patterns(P: int, N: int, seed: int = 0) -> np.ndarray:
    """P random patterns of N spins with zero mutual overlaps: int8 [P, N].

    Rows of a Hadamard matrix of the smallest suitable order n >= P that divides N, its columns repeated N / n
    times, shuffled, and every site flipped at random. Orthogonal patterns need an even N, more than two of them a
    multiple of 4; orders 2^k (q_1 + 1) (q_2 + 1) ... with primes q = 3 mod 4 are constructed.

    Raises:
        ValueError: no such order is known here for these P and N.
    """
    P, N = as_count(P, "P"), as_count(N, "N")
    generator = np.random.RandomState(as_seed(seed))
    for order in range(P, N + 1):
        hadamard = _hadamard(order) if N % order == 0 else None
        if hadamard is not None:
            rows = generator.permutation(order)[:P]
            columns = np.tile(np.arange(order), N // order)[generator.permutation(N)]
            signs = np.where(generator.random_sample(N) < 0.5, 1, -1)
            return (hadamard[rows][:, columns] * signs).astype(np.int8)
    raise ValueError(
        f"no {P} orthogonal patterns of {N} spins are known here; take N a multiple of a power of 2 of at least {P}"
    )


def _hadamard(order: int) -> np.ndarray | None:
    """A Hadamard matrix by Paley's first and Sylvester's construction, or None."""
    if order == 1:
        return np.ones((1, 1), dtype=np.int64)
    if order == 2:
        return np.array([[1, 1], [1, -1]])
    if order % 4:
        return None
    prime = order - 1
    if all(prime % d for d in range(2, int(prime**0.5) + 1)):
        squares = {x * x % prime for x in range(1, prime)}
        character = np.array([0] + [1 if x in squares else -1 for x in range(1, prime)])
        skew = np.zeros((order, order), dtype=np.int64)
        skew[0, 1:], skew[1:, 0] = 1, -1
        skew[1:, 1:] = character[(np.arange(prime)[:, None] - np.arange(prime)) % prime]
        return skew + np.eye(order, dtype=np.int64)
    for factor in range(2, int(order**0.5) + 1):
        left = _hadamard(factor) if order % factor == 0 else None
        right = _hadamard(order // factor) if left is not None else None
        if left is not None and right is not None:
            return np.kron(left, right)
    return None
