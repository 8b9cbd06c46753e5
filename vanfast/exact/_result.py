"""What exact methods return, and the checks that all of them share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

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


def weigh(num_sites: int, beta: float, energy: np.ndarray, log_weight: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """The arguments of a `Thermodynamics` and the probabilities [K] of K levels with these energies, extensive, and
    ln(number of states exp(-beta E)), both float64 [K]."""
    top = int(np.argmax(log_weight))
    weight = np.exp(log_weight - log_weight[top])
    norm = float(weight.sum())
    log_z = float(log_weight[top]) + math.log(norm)
    weight /= norm
    excess = energy - energy[top]  # moments about the most probable level, where the weights are
    mean = float(weight @ excess)
    log_number = float(log_weight[top] + beta * energy[top])  # not by way of ln Z: beta E may be large
    values: dict[str, Any] = {
        "num_sites": num_sites,
        "beta": beta,
        "log_z": log_z,
        "free_energy": -log_z / beta,
        "energy": float(energy[top]) + mean,
        "entropy": log_number + math.log(norm) + beta * mean,
        "heat_capacity": beta**2 * float(weight @ (excess - mean) ** 2),
    }
    return values, weight


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
