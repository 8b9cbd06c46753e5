"""What exact methods return, and the checks that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class PairSystem(Protocol):
    """What exact methods read of a Hamiltonian: E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i.

    edges int32 [M, 2] with i < j and each pair once, couplings float64 [M], fields float64 [N]; shape is the
    lattice, (N,) where there is none.
    """

    @property
    def num_sites(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def edges(self) -> np.ndarray: ...
    @property
    def couplings(self) -> np.ndarray: ...
    @property
    def fields(self) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Thermodynamics:
    """Thermodynamics of N spins at inverse temperature beta; everything extensive, k_B = 1.

    Attributes:
        log_z: ln of the sum of exp(-beta E) over all states.
        free_energy: F = -ln Z / beta.
        energy: U = -d ln Z / d beta.
        entropy: S = ln Z + beta U.
        heat_capacity: C = beta^2 d^2 ln Z / d beta^2 = beta^2 Var E.
    """

    num_sites: int
    beta: float
    log_z: float
    free_energy: float
    energy: float
    entropy: float
    heat_capacity: float

    def to_json(self) -> dict[str, float]:
        """log_z and, as `<name>_per_site`, everything else."""
        return per_site(self, ("free_energy", "energy", "entropy", "heat_capacity"))


def per_site(result: object, names: tuple[str, ...]) -> dict[str, float]:
    """num_sites, beta and log_z of a result, and the named extensive numbers divided by N."""
    numbers = {name: getattr(result, name) for name in ("num_sites", "beta", "log_z")}
    return numbers | {f"{name}_per_site": getattr(result, name) / numbers["num_sites"] for name in names}


MAX_BETA = 1e100  # beta E and its square must stay finite


def check_beta(beta: float) -> float:
    if not 0 < beta <= MAX_BETA:
        raise ValueError(f"beta must be positive and at most {MAX_BETA:g}, not {beta}")
    return float(beta)


def check_threads(threads: int | None) -> int:
    """The number of threads as the C++ engine takes it, 0 for all."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1 or None, not {threads}")
    return threads or 0
