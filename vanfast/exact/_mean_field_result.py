"""What the mean-field approximations return and share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vanfast.exact._result import PairSystem, check_beta, per_site

DENSE_SITES = 2048  # up to here couplings are multiplied as a matrix


@dataclass(frozen=True, kw_only=True)
class MeanField:
    """An approximate Gibbs state; numbers are extensive, k_B = 1, and fulfil F = U - S / beta = -ln Z / beta.

    Attributes:
        magnetization: approximate <s_i>, [N].
        correlation: approximate <s_i s_j> of the bonds of `ham.edges`, [M], with which U was formed.
        converged: whether the residual fell below the tolerance. Where it did not, nothing here is a solution.
        iterations: sweeps of the run that was chosen.
        residual: largest change of a magnetisation (of a message, for Bethe) in its last sweep, before damping.
    """

    num_sites: int
    beta: float
    log_z: float
    free_energy: float
    energy: float
    entropy: float
    magnetization: np.ndarray
    correlation: np.ndarray
    converged: bool
    iterations: int
    residual: float

    def to_json(self) -> dict[str, float | bool | int]:
        """log_z, `<name>_per_site` of what is extensive, and how the iteration went."""
        numbers: dict[str, float | bool | int] = {**per_site(self, ("free_energy", "energy", "entropy"))}
        return numbers | {"converged": self.converged, "iterations": self.iterations, "residual": self.residual}


class Couplings:
    """The couplings as an operator on vectors [N]."""

    def __init__(self, ham: PairSystem) -> None:
        self.num_sites = ham.num_sites
        i, j = ham.edges.astype(np.int64).T
        self.target, self.source = np.concatenate([i, j]), np.concatenate([j, i])
        self.value = np.concatenate([ham.couplings, ham.couplings])
        self._dense: tuple[np.ndarray, np.ndarray] | None = None
        if self.num_sites <= DENSE_SITES:
            matrix = np.zeros((self.num_sites, self.num_sites))
            matrix[self.target, self.source] = self.value
            self._dense = (matrix, matrix**2)

    def apply(self, vector: np.ndarray, power: int = 1) -> np.ndarray:
        """sum_j J_ij^power v_j, power 1 or 2."""
        if self._dense is not None:
            return self._dense[power - 1] @ vector
        return np.bincount(self.target, self.value**power * vector[self.source], self.num_sites)


def entropy_of_spins(magnetization: np.ndarray) -> float:
    """Entropy of independent spins with the given means."""
    up, down = 0.5 * (1 + magnetization), 0.5 * (1 - magnetization)
    return float(-sum((p[p > 0] * np.log(p[p > 0])).sum() for p in (up, down)))


def starting_points(num_sites: int, starts: int, seed: int) -> Iterator[np.ndarray]:
    """Magnetisations to start from: all 1/2, then uniform random ones."""
    if starts:
        yield np.full(num_sites, 0.5)
    generator = np.random.default_rng(seed)
    for _ in range(starts - 1):
        yield generator.uniform(-1, 1, num_sites)


def check_iteration(beta: float, tolerance: float, max_iterations: int, starts: int, damping: float = 0.0) -> float:
    """beta, once all arguments of an iteration are in range; ValueError otherwise."""
    beta = check_beta(beta)
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, not {tolerance}")
    for name, value in (("max_iterations", max_iterations), ("starts", starts)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    if not 0 <= damping < 1:
        raise ValueError(f"damping must be in [0, 1), not {damping}")
    return beta
