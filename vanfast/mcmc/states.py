"""Monte Carlo of sites with q states in Python: the rules of the C++ kernels, and what a Hamiltonian has to tell.

One random word decides on a site. Heat bath draws it from p(k) ~ exp(-beta E(k)) by the rule of `random.draw_states`.
Metropolis takes word (q - 1) as 64 bits: the high half h proposes the state k + 1 + h mod q, the low half decides on it
as a word does on the turn of a spin, with the same pauses. For q = 2 both are the rules of spins, states 0 and 1 in
place of -1 and +1.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from vanfast.mcmc._tables import TRIES, neighbours
from vanfast.random import draw_states


class StateIncremental(Protocol):
    """Walkers of sites with q states whose energies follow changes of single sites; B walkers at once.

    Attributes:
        spins: int8 [B, N], the present states.
        energy: float64 [B], their energies.
    """

    @property
    def spins(self) -> np.ndarray: ...
    @property
    def energy(self) -> np.ndarray: ...
    def cost(self, site: int, states: np.ndarray) -> np.ndarray:
        """E with `states` int8 [B] at `site`, less E: float64 [B]; 0 where they are the present ones."""
        ...

    def assign(self, site: int, states: np.ndarray) -> None:
        """Puts `states` int8 [B] at `site`."""
        ...


class StateHamiltonian(Protocol):
    """What the driver needs of a Hamiltonian of sites with q states."""

    num_sites: int
    q: int

    def incremental(self, spins: np.ndarray) -> StateIncremental:
        """Walkers that start at states int8 [B, N]."""
        ...


class PottsIncremental:
    """The energy of a site's bonds to its neighbours, -sum_j J_ij [k = s_j] - h_k, summed at every visit."""

    def __init__(self, ham: Any, spins: np.ndarray) -> None:
        self._rows, self._fields = neighbours(ham), ham.state_fields
        self.spins, self.energy = spins.copy(), ham.energy(spins)

    def _own(self, site: int, states: np.ndarray) -> np.ndarray:
        bonds = slice(self._rows.start[site], self._rows.start[site + 1])
        agree = self.spins[:, self._rows.neighbour[bonds]] == states[:, None]
        own: np.ndarray = -(agree @ self._rows.coupling[bonds]) - self._fields[states]
        return own

    def cost(self, site: int, states: np.ndarray) -> np.ndarray:
        return self._own(site, states) - self._own(site, self.spins[:, site])

    def assign(self, site: int, states: np.ndarray) -> None:
        self.energy = self.energy + self.cost(site, states)
        self.spins[:, site] = states


def update(
    state: StateIncremental, site: int, q: int, beta: np.ndarray, words: np.ndarray, heat_bath: bool
) -> np.ndarray:
    """One attempt at `site` of every walker; returns which of them changed, bool [B]."""
    old = state.spins[:, site].copy()
    new = _drawn(state, site, q, beta, words) if heat_bath else _proposed(state, site, q, beta, words)
    changed: np.ndarray = new != old
    if changed.any():
        state.assign(site, new)
    return changed


def _drawn(state: StateIncremental, site: int, q: int, beta: np.ndarray, words: np.ndarray) -> np.ndarray:
    logits = [-beta * state.cost(site, np.full(len(beta), k, dtype=np.int8)) for k in range(q)]
    return draw_states(np.stack(logits, axis=1), words)


def _proposed(state: StateIncremental, site: int, q: int, beta: np.ndarray, words: np.ndarray) -> np.ndarray:
    old = state.spins[:, site]
    product = words.astype(np.uint64) * np.uint64(q - 1)
    high, low = (product >> np.uint64(32)).astype(np.int64), product & np.uint64(0xFFFFFFFF)
    new = ((old + 1 + high) % q).astype(np.int8)
    cost = np.clip(beta * state.cost(site, new), 0.0, 700.0)
    return np.where(low >> np.uint64(1) < np.floor(TRIES * np.exp(-cost) * 2.0**31), new, old)
