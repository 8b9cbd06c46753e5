"""What a Monte Carlo run gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Chains:
    """Configurations of independent Markov chains, in the order in which they were drawn.

    Attributes:
        spins: int8 [chains, draws, N], +-1 or states 0 .. q - 1.
        energy: float64 [chains, draws].
        beta: inverse temperature of the draws.
        algorithm, kernel, backend, seed, first: how they were made; chain c has the index first + c.
        burn_in, thin: sweeps before the first draw, and from one to the next.
        acceptance: share of attempted changes that were made; of cluster updates, the share of spins that one turns; of
            networks' proposals, the share that was accepted.
        updates: attempted flips, clusters or proposals, behind `acceptance`.
        betas: all temperatures of the ladder, rising; (beta,) without tempering.
        beta_acceptance: acceptance at each of them, [R].
        swap_acceptance: share of accepted swaps of neighbours, [R - 1]; NaN where a pair was not tried.
        clusters_per_sweep: of each chain by Wolff's algorithm, int64 [chains]; None otherwise.
        q: number of states of a site; None for spins.
    """

    spins: np.ndarray
    energy: np.ndarray
    beta: float
    algorithm: str
    kernel: str
    seed: int
    first: int
    burn_in: int
    thin: int
    acceptance: float
    updates: int
    betas: tuple[float, ...]
    beta_acceptance: np.ndarray
    swap_acceptance: np.ndarray
    clusters_per_sweep: np.ndarray | None = None
    q: int | None = None
    backend: str = "cpu"

    @property
    def num_chains(self) -> int:
        return self.spins.shape[0]

    @property
    def num_draws(self) -> int:
        return self.spins.shape[1]

    @property
    def num_sites(self) -> int:
        return self.spins.shape[2]

    def __len__(self) -> int:
        """Configurations of all chains together."""
        return self.num_chains * self.num_draws
