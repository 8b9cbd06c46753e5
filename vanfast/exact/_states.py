"""All configurations of a system with their Boltzmann weights, by batches of energies that the Hamiltonian tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from vanfast.exact._result import weigh

CHUNK = 1 << 16  # configurations at a time


class EnergySystem(Protocol):
    """What is read of a Hamiltonian that is known by its energies alone."""

    @property
    def num_sites(self) -> int: ...
    def energy(self, spins: np.ndarray, threads: int | None = None) -> np.ndarray: ...


class WeighedStates:
    """Configurations 0 .. total - 1; iterating gives them in pieces, int8 [., N], with probabilities, float64 [.].

    Attributes:
        values: the arguments of a `Thermodynamics`.
        ground_energy: the lowest energy.

    Args:
        part: configurations first .. end - 1, where `end` may lie beyond the last.

    Raises:
        FloatingPointError: an energy that is not finite.
    """

    def __init__(
        self,
        ham: EnergySystem,
        beta: float,
        total: int,
        part: Callable[[int, int], np.ndarray],
        threads: int | None,
    ) -> None:
        self._pieces, self._part, self._beta = range(0, total, CHUNK), part, beta
        self._energy = np.empty(total)
        for n in self._pieces:
            energy = ham.energy(part(n, n + CHUNK), threads)
            finite = np.isfinite(energy)
            if not finite.all():
                where = int(np.argmin(finite))
                raise FloatingPointError(f"energies must be finite, configuration {n + where} has {energy[where]}")
            self._energy[n : n + CHUNK] = energy
        self.values, self._probability = weigh(ham.num_sites, beta, self._energy, -beta * self._energy)
        self.ground_energy = float(self._energy.min())

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for n in self._pieces:
            yield self._part(n, n + CHUNK), self._probability[n : n + CHUNK]

    def log_prob(self) -> np.ndarray:
        """ln p of every configuration, float64 [total]."""
        log_prob: np.ndarray = -self._beta * self._energy - self.values["log_z"]
        return log_prob
