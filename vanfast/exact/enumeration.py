"""Sums over all 2^N states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vanfast import _cpu
from vanfast.exact._result import PairSystem, Thermodynamics, check_beta, check_threads

MAX_SITES = 24


@dataclass(frozen=True, kw_only=True)
class Enumeration(Thermodynamics):
    """Exact averages over all states.

    Attributes:
        magnetization: <s_i>, float64 [N].
        correlation: <s_i s_j> (not connected), float64 [N, N], 1 on the diagonal.
        ground_energy: the lowest energy.
        log_prob: ln p of every state, float64 [2^N] in the order of `states`; None unless asked for.
    """

    magnetization: np.ndarray
    correlation: np.ndarray
    ground_energy: float
    log_prob: np.ndarray | None


def states(num_sites: int) -> np.ndarray:
    """All configurations, int8 [2^N, N]: site i of state k is +1 where bit i of k is set, else -1.

    Raises ValueError unless 1 <= num_sites <= 24.
    """
    if not 1 <= num_sites <= MAX_SITES:
        raise ValueError(f"num_sites must be in [1, {MAX_SITES}], not {num_sites}")
    bits = np.arange(2**num_sites, dtype=np.uint32)[:, None] >> np.arange(num_sites, dtype=np.uint32) & 1
    return 2 * bits.astype(np.int8) - 1


def enumerate(ham: PairSystem, beta: float, *, log_prob: bool = False, threads: int | None = None) -> Enumeration:
    """Exact thermodynamics, magnetisations and correlations of up to 24 spins, by visiting every state.

    Args:
        ham: any Hamiltonian.
        beta: inverse temperature, positive.
        log_prob: return ln p of every state too (128 MiB at N = 24).
        threads: CPU threads, None for all. The result does not depend on it.

    Raises:
        ValueError: more than 24 sites, beta not positive and finite, threads below 1.
    """
    beta = check_beta(beta)
    if ham.num_sites > MAX_SITES:
        raise ValueError(f"enumeration takes at most {MAX_SITES} sites, this Hamiltonian has {ham.num_sites}")
    sums = _cpu.enumerate(ham.num_sites, ham.edges, ham.couplings, ham.fields, beta, check_threads(threads), log_prob)
    ground = sums["min_energy"]
    excess, log_sum = sums["mean_excess"], sums["log_sum"]
    log_z = log_sum - beta * ground
    return Enumeration(
        num_sites=ham.num_sites,
        beta=beta,
        log_z=log_z,
        free_energy=-log_z / beta,
        energy=ground + excess,
        entropy=log_sum + beta * excess,
        heat_capacity=beta**2 * sums["variance"],
        magnetization=sums["magnetization"],
        correlation=sums["correlation"],
        ground_energy=ground,
        log_prob=sums["log_prob"],
    )
