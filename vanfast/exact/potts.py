"""Sums over all q^N states of a system of sites with q states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vanfast.exact._result import Thermodynamics, check_beta, check_threads
from vanfast.exact._states import EnergySystem, WeighedStates

MAX_STATES = 1 << 24


class StateSystem(EnergySystem, Protocol):
    """What is read of a Hamiltonian of sites with states 0 .. q - 1, such as Potts."""

    @property
    def q(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class StateEnumeration(Thermodynamics):
    """Exact averages over all q^N states.

    Attributes:
        marginal: P(s_i = k), float64 [N, q].
        agreement: P(s_i = s_j), float64 [N, N], 1 on the diagonal.
        ground_energy: the lowest energy.
        log_prob: ln p of every state, float64 [q^N] in the order of `q_states`; None unless asked for.
    """

    marginal: np.ndarray
    agreement: np.ndarray
    ground_energy: float
    log_prob: np.ndarray | None


def q_states(num_sites: int, q: int, first: int = 0, end: int | None = None) -> np.ndarray:
    """Configurations first .. end - 1 of all q^N, int8 [., N]: site i of number n is the i-th digit of n in base q,
    the lowest first. Raises ValueError for more than 2^24 configurations in all."""
    total = _number_of_states(num_sites, q)
    numbers = np.arange(first, total if end is None else min(end, total), dtype=np.int64)
    return (numbers[:, None] // q ** np.arange(num_sites, dtype=np.int64) % q).astype(np.int8)


def enumerate_states(
    ham: StateSystem, beta: float, *, log_prob: bool = False, threads: int | None = None
) -> StateEnumeration:
    """What `enumerate` does for sites of q states, q^N <= 2^24; arguments and errors are the same."""
    beta, N, q = check_beta(beta), ham.num_sites, ham.q
    check_threads(threads)
    states = WeighedStates(ham, beta, _number_of_states(N, q), lambda n, end: q_states(N, q, n, end), threads)
    marginal, agreement = np.zeros((N, q)), np.zeros((N, N))
    for rows, probability in states:
        for k in range(q):
            here = (rows == k).astype(np.float64)
            marginal[:, k] += probability @ here
            agreement += here.T @ (here * probability[:, None])
    return StateEnumeration(
        **states.values,
        marginal=marginal,
        agreement=agreement,
        ground_energy=states.ground_energy,
        log_prob=states.log_prob() if log_prob else None,
    )


def _number_of_states(num_sites: int, q: int) -> int:
    if num_sites < 1 or q < 2:
        raise ValueError(f"num_sites must be at least 1 and q at least 2, got {num_sites} and {q}")
    if num_sites > 24 or q**num_sites > MAX_STATES:
        raise ValueError(f"enumeration takes at most 2**24 configurations, {num_sites} sites of {q} states have more")
    return int(q**num_sites)
