"""Twins of the CUDA Markov chains: the CPU's kernel on a system with its sites renumbered, and clusters in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch

from vanfast.backends import cuda as backend
from vanfast.mcmc import Chains, run
from vanfast.mcmc._words import CLUSTER, start_spins, walker_words
from vanfast.mcmc.device import renumbered


@contextmanager
def backend_of(module: ModuleType, device: torch.device) -> Iterator[None]:
    """Chains of backend "cuda" run by this module."""
    before = backend.BACKEND
    backend.BACKEND = backend.CudaBackend(module, device)
    try:
        yield
    finally:
        backend.BACKEND = before


def cpu_twin(ham: Any, beta: float, kernel: str, start: Any = None, **options: Any) -> tuple[Chains, np.ndarray]:
    """The CPU's chains of the system with its sites numbered as the GPU tries them, and those sites."""
    other, site = renumbered(ham, kernel)
    moved = None if start is None else np.asarray(start)[..., site]
    return run(other, beta, kernel=kernel, start=moved, **options), site


def _bonds(ham: Any, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Bonds [M, 2] by number and their thresholds."""
    ends = np.sort(ham.edges, axis=1)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    probability = -np.expm1(-2 * beta * ham.couplings[order])
    return ends[order], np.minimum(probability * 2.0**32, 2.0**32 - 1).astype(np.uint64)


def _smallest_sites(N: int, ends: np.ndarray) -> np.ndarray:
    """The smallest site that every site is connected with."""
    label = np.arange(N)
    while True:
        low = np.minimum(label[ends[:, 0]], label[ends[:, 1]])
        new = label.copy()
        np.minimum.at(new, ends[:, 0], low)
        np.minimum.at(new, ends[:, 1], low)
        if np.array_equal(new, label):
            return label
        label = new


def swendsen_wang_twin(
    ham: Any, beta: float, seed: int, index: int, sweeps: int, start: np.ndarray | None = None, first_sweep: int = 0
) -> np.ndarray:
    """Spins after every sweep of one chain, [sweeps, N]."""
    N, (ends, threshold) = ham.num_sites, _bonds(ham, beta)
    one = np.array([index], dtype=np.uint64)
    spins = (start_spins(seed, one, N)[0] if start is None else start).copy()
    bond_blocks, sign_blocks = -(-len(ends) // 4), -(-N // 128)
    found = []
    for sweep in range(first_sweep, first_sweep + sweeps):
        words = walker_words(seed, one, CLUSTER, sweep * (bond_blocks + sign_blocks), bond_blocks + sign_blocks)[0]
        equal = spins[ends[:, 0]] == spins[ends[:, 1]]
        label = _smallest_sites(N, ends[equal & (words[: len(ends)] < threshold)])
        signs = words[4 * bond_blocks :]
        spins[(signs[label // 32] >> (label % 32).astype(np.uint32) & 1) == 1] *= -1
        found.append(spins.copy())
    return np.array(found)


def wolff_twin(
    ham: Any, beta: float, seed: int, index: int, burn_in: int, sweeps: int, asked: int | None = None
) -> tuple[np.ndarray, int, int, int]:
    """Spins after every sweep behind the burn-in [sweeps, N], clusters of a sweep; clusters and turned spins then."""
    N, (ends, threshold) = ham.num_sites, _bonds(ham, beta)
    one = np.array([index], dtype=np.uint64)
    spins, blocks = start_spins(seed, one, N)[0], 1 + -(-len(ends) // 4)
    built = burnt = burnt_flips = counted = flips = 0
    per_sweep, found = 0, []
    for done in range(burn_in + sweeps):
        learns = done < (burn_in + 1) // 2
        if not learns and not per_sweep:
            per_sweep = asked or (max(1, (N * burnt + burnt_flips // 2) // burnt_flips) if burnt_flips else 1)
        wanted = (asked or 0) if learns else per_sweep
        clusters = turned = 0
        while clusters < wanted if wanted else turned < N:
            words = walker_words(seed, one, CLUSTER, built * blocks, blocks)[0]
            site = int(words[0]) * N >> 32
            alone = not (ends == site).any()
            if not (alone and words[1] >> 31):
                equal = spins[ends[:, 0]] == spins[ends[:, 1]]
                label = _smallest_sites(N, ends[equal & (words[4 : 4 + len(ends)] < threshold)])
                cluster = label == label[site]
                spins[cluster] *= -1
                turned += int(cluster.sum())
            built, clusters = built + 1, clusters + 1
        if learns:
            burnt, burnt_flips = burnt + clusters, burnt_flips + turned
        if done >= burn_in:
            counted, flips = counted + clusters, flips + turned
            found.append(spins.copy())
    return np.array(found), per_sweep, counted, flips
