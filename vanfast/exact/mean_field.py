"""Naive mean field and the Thouless-Anderson-Palmer free energy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vanfast.exact._mean_field_result import (
    Couplings,
    MeanField,
    check_iteration,
    entropy_of_spins,
    starting_points,
)
from vanfast.exact._result import PairSystem


@dataclass(frozen=True, kw_only=True)
class TapResult(MeanField):
    """Adds plefka = 1 - (beta^2 / N) sum_ij J_ij^2 (1 - m_i^2)(1 - m_j^2).

    Below 0 the expansion behind TAP does not converge and the solution has no physical meaning (T. Plefka, J. Phys. A
    15, 1971 (1982)), such as m = 0 of a spin glass at low temperature, whose free energy is far too low.
    """

    plefka: float


def naive_mean_field(
    ham: PairSystem,
    beta: float,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 10_000,
    starts: int = 8,
    seed: int = 0,
) -> MeanField:
    """The best product distribution found: m_i = tanh beta (h_i + sum_j J_ij m_j).

    Sites without a common bond are updated together, others one after another, so every update lowers
        F(m) = -sum_{i<j} J_ij m_i m_j - sum_i h_i m_i - S(m) / beta,
    an upper bound of the free energy at every m, converged or not. The lowest of several starts is returned.

    Args:
        ham: any Hamiltonian.
        beta: inverse temperature, positive.
        tolerance: largest change of a magnetisation in a sweep that counts as converged.
        max_iterations: sweeps at most, for each start.
        starts: all m = 1/2, and starts - 1 random ones drawn with `seed`.

    Raises ValueError for arguments out of range.
    """
    beta = check_iteration(beta, tolerance, max_iterations, starts)
    couplings = Couplings(ham)
    classes = [_Class(couplings, sites) for sites in _colour(ham)]

    def sweep(m: np.ndarray) -> float:
        residual = 0.0
        for group in classes:
            new = np.tanh(beta * (ham.fields[group.sites] + group.fields(m)))
            residual = max(residual, float(np.abs(new - m[group.sites]).max()))
            m[group.sites] = new
        return residual

    results = []
    for m in starting_points(ham.num_sites, starts, seed):
        for iteration in range(1, max_iterations + 1):  # noqa: B007  counted for the result
            residual = sweep(m)
            if residual < tolerance:
                break
        correlation = m[ham.edges[:, 0]] * m[ham.edges[:, 1]]
        energy = -float(ham.couplings @ correlation + ham.fields @ m)
        entropy = entropy_of_spins(m)
        results.append(
            MeanField(
                **_thermodynamics(ham, beta, energy, entropy),
                magnetization=m,
                correlation=correlation,
                converged=residual < tolerance,
                iterations=iteration,
                residual=residual,
            )
        )
    return min(results, key=lambda result: result.free_energy)


def tap(
    ham: PairSystem,
    beta: float,
    *,
    damping: float = 0.5,
    tolerance: float = 1e-10,
    max_iterations: int = 10_000,
    starts: int = 8,
    seed: int = 0,
) -> TapResult:
    """The Thouless-Anderson-Palmer approximation, naive mean field with the next order in the couplings:

        F(m) = F_naive(m) - (beta / 2) sum_{i<j} J_ij^2 (1 - m_i^2)(1 - m_j^2),
        m_i = tanh beta (h_i + sum_j J_ij m_j - beta m_i sum_j J_ij^2 (1 - m_j^2)).

    Not a bound. Of several starts, converged solutions that fulfil Plefka's condition come first, then the lowest F.

    Args:
        ham, beta, tolerance, max_iterations, seed: as for naive_mean_field.
        starts: the solution of naive mean field, all m = 1/2, and random ones.
        damping: share of the old magnetisations kept in a step, in [0, 1).

    Raises ValueError for arguments out of range.
    """
    beta = check_iteration(beta, tolerance, max_iterations, starts, damping)
    couplings = Couplings(ham)

    def update(m: np.ndarray) -> np.ndarray:
        onsager = m * couplings.apply(1 - m**2, power=2)
        return np.tanh(beta * (ham.fields + couplings.apply(m) - beta * onsager))

    def starting() -> Iterator[np.ndarray]:
        # the basin of a magnetised solution can be narrow: the naive one lies in it where that exists
        yield naive_mean_field(ham, beta, starts=1, max_iterations=max_iterations).magnetization
        yield from starting_points(ham.num_sites, starts - 1, seed)

    results = []
    for m in starting():
        for iteration in range(1, max_iterations + 1):  # noqa: B007  counted for the result
            new = update(m)
            residual = float(np.abs(new - m).max())
            m = damping * m + (1 - damping) * new
            if residual < tolerance:
                break
        free = 1 - m**2
        reaction = beta * ham.couplings * free[ham.edges[:, 0]] * free[ham.edges[:, 1]]
        correlation = m[ham.edges[:, 0]] * m[ham.edges[:, 1]] + reaction
        energy = -float(ham.couplings @ correlation + ham.fields @ m)
        entropy = entropy_of_spins(m) - 0.5 * beta * float(ham.couplings @ reaction)
        plefka = 1 - beta**2 * float(free @ couplings.apply(free, power=2)) / ham.num_sites
        results.append(
            TapResult(
                **_thermodynamics(ham, beta, energy, entropy),
                magnetization=m,
                correlation=correlation,
                converged=residual < tolerance,
                iterations=iteration,
                residual=residual,
                plefka=plefka,
            )
        )
    return min(results, key=lambda result: (not result.converged, result.plefka < 0, result.free_energy))


def _thermodynamics(ham: PairSystem, beta: float, energy: float, entropy: float) -> dict[str, Any]:
    free_energy = energy - entropy / beta
    return {
        "num_sites": ham.num_sites,
        "beta": beta,
        "log_z": -beta * free_energy,
        "free_energy": free_energy,
        "energy": energy,
        "entropy": entropy,
    }


class _Class:
    """Sites without a common bond, and the bonds into them."""

    def __init__(self, couplings: Couplings, sites: np.ndarray) -> None:
        self.sites = sites
        place = np.full(couplings.num_sites, -1)
        place[sites] = np.arange(len(sites))
        into = place[couplings.target] >= 0
        self._target = place[couplings.target[into]]
        self._source, self._value = couplings.source[into], couplings.value[into]

    def fields(self, m: np.ndarray) -> np.ndarray:
        return np.bincount(self._target, self._value * m[self._source], len(self.sites))


def _colour(ham: PairSystem) -> list[np.ndarray]:
    """Sites grouped so that no bond lies inside a group: greedy, in the order of the sites."""
    neighbours: list[list[int]] = [[] for _ in range(ham.num_sites)]
    for i, j in ham.edges.tolist():
        neighbours[j].append(i)  # i < j: coloured before
    colour: list[int] = []
    for site in range(ham.num_sites):
        taken = {colour[other] for other in neighbours[site]}
        colour.append(next(c for c in range(len(taken) + 1) if c not in taken))
    colours = np.array(colour)
    return [np.flatnonzero(colours == c) for c in range(colours.max() + 1)]
