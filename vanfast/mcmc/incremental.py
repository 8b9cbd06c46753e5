"""Single-site Monte Carlo in Python for Hamiltonians that are not made of pairs, and the reference of the C++ kernels.

A Hamiltonian H(s) that tells batched energy differences of single flips, such as a network's -T ln p, takes part by a
method `incremental(spins)`, which gives an `Incremental`; beside that it needs num_sites, shape and energy(spins). One
of sites with q states has an attribute q too, and gives a `vanfast.mcmc.states.StateIncremental`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vanfast.exact import PairSystem
from vanfast.hamiltonians import Neural
from vanfast.mcmc._tables import TRIES, neighbours
from vanfast.mcmc._words import SITE, SWAP, start_spins, start_states, uniforms, walker_words
from vanfast.mcmc.states import PottsIncremental, update


class Incremental(Protocol):
    """Walkers s whose energies follow single flips; B walkers at once.

    Attributes:
        spins: int8 [B, N], the present configurations.
        energy: float64 [B], their energies.
    """

    @property
    def spins(self) -> np.ndarray: ...
    @property
    def energy(self) -> np.ndarray: ...
    def difference(self, site: int) -> np.ndarray:
        """E with spin `site` turned, less E: float64 [B]."""
        ...

    def flip(self, site: int, where: np.ndarray) -> None:
        """Turns spin `site` of the walkers in `where`, bool [B]."""
        ...


class IncrementalHamiltonian(Protocol):
    """What this driver needs of a Hamiltonian."""

    num_sites: int

    def incremental(self, spins: np.ndarray) -> Incremental:
        """Walkers that start at spins int8 [B, N]."""
        ...


class PairIncremental:
    """Cached local fields f_i = h_i + sum_j J_ij s_j in float64: turning s_i costs 2 s_i f_i."""

    def __init__(self, ham: PairSystem, spins: np.ndarray) -> None:
        self._rows = neighbours(ham)
        self.spins = spins.copy()
        self.local = np.tile(ham.fields, (len(spins), 1))
        for i in range(ham.num_sites):
            self.local[:, self._others(i)] += self._couplings(i) * spins[:, [i]]
        self.energy = -0.5 * (self.spins * (self.local + ham.fields)).sum(1)

    def _others(self, site: int) -> np.ndarray:
        return self._rows.neighbour[self._rows.start[site] : self._rows.start[site + 1]]

    def _couplings(self, site: int) -> np.ndarray:
        return self._rows.coupling[self._rows.start[site] : self._rows.start[site + 1]]

    def difference(self, site: int) -> np.ndarray:
        return 2.0 * self.spins[:, site] * self.local[:, site]

    def flip(self, site: int, where: np.ndarray) -> None:
        self.energy = self.energy + np.where(where, self.difference(site), 0.0)
        change = -2.0 * self.spins[:, site] * where
        self.spins[where, site] *= -1
        self.local[:, self._others(site)] += change[:, None] * self._couplings(site)


def states_of(ham: Any) -> int | None:
    """q, the number of states of a site; None for spins."""
    q: int | None = getattr(ham, "q", None)
    return q


def is_pairwise(ham: Any) -> bool:
    """Whether it is made of pairs of spins."""
    return states_of(ham) is None and all(hasattr(ham, name) for name in ("edges", "couplings", "fields"))


def is_potts(ham: Any) -> bool:
    return states_of(ham) is not None and all(hasattr(ham, name) for name in ("edges", "couplings", "state_fields"))


@dataclass
class Drawn:
    """What a run gives.

    spins int8 [chains, draws, N]; of the time after burn-in the updates tried at each temperature, how many of them
    were made [R], and accepted swaps [R - 1].
    """

    spins: np.ndarray
    updates: int
    flips: np.ndarray
    swaps: np.ndarray


def run_incremental(
    ham: Any,
    betas: list[float],
    target: int,
    heat_bath: bool,
    *,
    seed: int,
    first: int,
    chains: int,
    burn_in: int,
    draws: int,
    thin: int,
    sweep: int,
    start: np.ndarray | None,
    progress: Callable[[int], None] | None,
    threads: int | None = None,
) -> Drawn:
    """Metropolis, heat bath or tempering by batched differences, with the random words of the C++ kernels; threads
    evaluate a network."""
    N, R = ham.num_sites, len(betas)
    walkers = np.arange(chains * R, dtype=np.uint64) + np.uint64(first * R % 2**64)
    spins = _random(seed, walkers, ham) if start is None else np.repeat(start, R, axis=0)
    state = _walkers(ham, spins, threads)
    free = _free_sites(ham)
    slot = np.tile(np.arange(R), (chains, 1))  # which beta a replica has
    ladder = np.asarray(betas)
    kept = np.empty((chains, draws, N), dtype=np.int8)
    drawn = Drawn(kept, chains * draws * thin * N, np.zeros(R, np.int64), np.zeros(R - 1, np.int64))
    blocks, q = (N + 3) // 4, states_of(ham)

    def step(state: Any, site: int, beta: np.ndarray, words: np.ndarray, heat_bath: bool) -> np.ndarray:
        if q is not None:
            return update(state, site, q, beta, words, heat_bath)
        turn = _turns(state, site, beta, words, heat_bath)
        if turn.any():
            state.flip(site, turn)
        return turn

    for done in range(burn_in + draws * thin):
        words = walker_words(seed, walkers, SITE, (sweep + done) * blocks, blocks)
        beta, wanted = ladder[slot].reshape(-1), done >= burn_in
        for site in range(N):
            turn = step(state, site, beta, words[:, site], heat_bath or free[site])
            if wanted:
                drawn.flips += np.bincount(slot.reshape(-1)[turn], minlength=R)
        if R > 1:
            accepted = _swap(seed, first, sweep + done, slot, state.energy.reshape(chains, R), ladder)
            drawn.swaps += accepted if wanted else 0
        if wanted and (done + 1 - burn_in) % thin == 0:
            where = np.arange(chains) * R + (slot == target).argmax(1)
            drawn.spins[:, (done + 1 - burn_in) // thin - 1] = state.spins[where]
        if progress is not None:
            progress(chains * (done + 1))
    return drawn


def _random(seed: int, walkers: np.ndarray, ham: Any) -> np.ndarray:
    q = states_of(ham)
    return start_spins(seed, walkers, ham.num_sites) if q is None else start_states(seed, walkers, ham.num_sites, q)


def _walkers(ham: Any, spins: np.ndarray, threads: int | None) -> Any:
    if isinstance(ham, Neural):
        return ham.incremental(spins, threads)
    if hasattr(ham, "incremental"):
        return ham.incremental(spins)
    return PairIncremental(ham, spins) if states_of(ham) is None else PottsIncremental(ham, spins)


def _free_sites(ham: Any) -> np.ndarray:
    """Sites without bonds and fields: Metropolis would turn them in every sweep, heat bath draws them."""
    if not is_pairwise(ham):
        return np.zeros(ham.num_sites, dtype=bool)
    return (np.bincount(ham.edges.reshape(-1), minlength=ham.num_sites) == 0) & (ham.fields == 0)


def _turns(state: Incremental, site: int, beta: np.ndarray, words: np.ndarray, heat_bath: bool) -> np.ndarray:
    cost = np.clip(beta * state.difference(site), -700.0, 700.0)
    if not heat_bath:
        return (words >> 1) < np.floor(TRIES * np.exp(-np.maximum(cost, 0.0)) * 2.0**31)
    minority = words < np.floor(2.0**32 / (1.0 + np.exp(np.abs(cost))))
    spin = state.spins[:, site]
    # the logit of +1 is cost times the present spin
    return np.where((cost * spin >= 0) ^ minority, 1, -1) != spin


def _swap(seed: int, first: int, number: int, slot: np.ndarray, energy: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """Exchanges temperatures in `slot` [chains, R]; returns the accepted swaps of each pair."""
    chains, R = slot.shape
    blocks = (R + 3) // 4
    index = np.arange(chains, dtype=np.uint64) + np.uint64(first)
    u = uniforms(walker_words(seed, index, SWAP, number * blocks, blocks))
    accepted, rows = np.zeros(R - 1, np.int64), np.arange(chains)
    for k in range(number % 2, R - 1, 2):
        a, b = (slot == k).argmax(1), (slot == k + 1).argmax(1)
        log_ratio = (betas[k] - betas[k + 1]) * (energy[rows, a] - energy[rows, b])
        swapped = u[:, k] < np.exp(np.minimum(log_ratio, 0.0))
        slot[rows[swapped], a[swapped]] = k + 1
        slot[rows[swapped], b[swapped]] = k
        accepted[k] = swapped.sum()
    return accepted


def geometric_ladder(ham: Any, beta: float) -> list[float]:
    """Rising betas up to `beta`: from where spins are nearly free, with steps that neighbours swap across.

    The lowest is 0.2 over the largest root of sum_j J_ij^2, in a Potts model times (q - 1) / q^2, the variance of
    [s_i = s_j] of free sites, or over T0 of a network's Hamiltonian; neighbours differ by a factor of about
    exp(1.7 / sqrt(N)), for a third of the swaps at a heat capacity of half a unit a site; at least 2, at most 64.
    """
    spread = float(getattr(ham, "T0", 1.0))
    q = states_of(ham)
    if (is_pairwise(ham) or is_potts(ham)) and len(ham.edges):
        square = np.bincount(ham.edges.reshape(-1), weights=np.repeat(ham.couplings**2, 2), minlength=ham.num_sites)
        spread = math.sqrt(float(square.max()) * (1.0 if q is None else (q - 1) / q**2)) or 1.0
    lowest = min(0.2 / spread, beta / 2)
    count = 1 + math.ceil(math.log(beta / lowest) * math.sqrt(ham.num_sites) / 1.7)
    return [*np.geomspace(lowest, beta, min(max(count, 2), 64))[:-1].tolist(), beta]
