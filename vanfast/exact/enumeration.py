"""Sums over all 2^N states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from vanfast import _cpu
from vanfast.exact._result import PairSystem, Thermodynamics, check_beta, check_threads
from vanfast.exact._states import EnergySystem, WeighedStates

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


def states(num_sites: int, first: int = 0, end: int | None = None) -> np.ndarray:
    """Configurations first .. end - 1 of all 2^N, int8 [., N]: site i of state k is +1 where bit i of k is set, or -1.

    Raises ValueError unless 1 <= num_sites <= 24.
    """
    if not 1 <= num_sites <= MAX_SITES:
        raise ValueError(f"num_sites must be in [1, {MAX_SITES}], not {num_sites}")
    total = 2**num_sites
    numbers = np.arange(first, total if end is None else min(end, total), dtype="<u4")
    bits = np.unpackbits(numbers.view(np.uint8).reshape(-1, 4), axis=1, count=num_sites, bitorder="little")
    return 2 * bits.astype(np.int8) - 1


def enumerate(
    ham: PairSystem | EnergySystem, beta: float, *, log_prob: bool = False, threads: int | None = None
) -> Enumeration:
    """Exact thermodynamics, magnetisations and correlations of up to 24 spins, by visiting every state.

    Systems of pairs are summed by the C++ engine, flip by flip. Of others, such as a network's Hamiltonian, every
    state's energy is asked for, in float64 [2^N]; their sums are as exact as these energies are.

    Args:
        ham: any Hamiltonian of spins.
        beta: inverse temperature, positive.
        log_prob: return ln p of every state too (128 MiB at N = 24).
        threads: CPU threads, None for all. The result does not depend on it.

    Raises:
        ValueError: more than 24 sites, beta not positive and finite, threads below 1.
        TypeError: a Hamiltonian of sites with q states, which `enumerate_states` takes.
        FloatingPointError: an energy that is not finite.
    """
    beta, workers = check_beta(beta), check_threads(threads)
    if ham.num_sites > MAX_SITES:
        raise ValueError(f"enumeration takes at most {MAX_SITES} sites, this Hamiltonian has {ham.num_sites}")
    if (q := getattr(ham, "q", None)) is not None:
        raise TypeError(f"ham has sites of q = {q} states, enumerate takes spins +-1 only: see enumerate_states")
    if not _has_pairs(ham):
        return _by_energies(ham, beta, log_prob, threads)
    sums = _cpu.enumerate(ham.num_sites, ham.edges, ham.couplings, ham.fields, beta, workers, log_prob)
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


def _has_pairs(ham: Any) -> TypeGuard[PairSystem]:
    return getattr(ham, "is_pairwise", True)


def _by_energies(ham: Any, beta: float, log_prob: bool, threads: int | None) -> Enumeration:
    N = ham.num_sites
    weighed = WeighedStates(ham, beta, 2**N, lambda first, end: states(N, first, end), threads)
    magnetization, correlation = np.zeros(N), np.zeros((N, N))
    for spins, probability in weighed:
        rows = spins.astype(np.float64)
        magnetization += probability @ rows
        correlation += rows.T @ (rows * probability[:, None])
    np.fill_diagonal(correlation, 1.0)  # but for rounding it is
    return Enumeration(
        **weighed.values,
        magnetization=magnetization,
        correlation=correlation,
        ground_energy=weighed.ground_energy,
        log_prob=weighed.log_prob() if log_prob else None,
    )
