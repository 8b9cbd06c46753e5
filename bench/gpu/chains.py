"""Markov chains as targets: sweeps without draws on a GPU, whole runs on the CPU; checked against the CPU before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import vanfast as vf
from vanfast.mcmc import choose, geometric_ladder, run

BETA = {"tempering": 2.0}  # of glasses; of all others the square lattice's critical one
CRITICAL = 0.4407


def chains_run(
    ham: vf.hamiltonians.Hamiltonian, algorithm: str, chains: int, sweeps: int, backend: str
) -> tuple[Callable[[], object], dict[str, Any]]:
    """What is timed, `sweeps` sweeps of all chains (of Wolff's, clusters), and the spins that it tries."""
    beta, options = BETA.get(algorithm, CRITICAL), _options(ham, algorithm)
    updates = chains * sweeps * ham.num_sites * len(options.get("betas", [beta]))
    useful = {"sites": ham.num_sites} if algorithm == "wolff" else {"sites": ham.num_sites, "updates": updates}
    if backend == "cpu":
        schedule = {"chains": chains, "sweeps": sweeps, "burn_in": 0, "thin": sweeps}
        return lambda: run(ham, beta, algorithm=algorithm, **schedule, **options), useful
    check(ham, algorithm)
    from vanfast.mcmc._device_run import find_gpu, sweeper

    return sweeper(_kernel(find_gpu(), ham, algorithm, beta), chains, sweeps), useful


def _options(ham: vf.hamiltonians.Hamiltonian, algorithm: str) -> dict[str, Any]:
    if algorithm == "tempering":
        return {"betas": geometric_ladder(ham, BETA[algorithm])}
    return {"clusters": 1} if algorithm == "wolff" else {}


def _kernel(gpu: Any, ham: vf.hamiltonians.Hamiltonian, algorithm: str, beta: float) -> Any:
    from vanfast.mcmc.device import Clusters, Pairs, Planes

    name, bath = choose(ham, algorithm, backend="cuda"), algorithm != "metropolis"
    if name == "clusters":
        return Clusters(gpu, ham, beta, 1 if algorithm == "wolff" else None)
    if name == "planes":
        return Planes(gpu, ham, beta, bath)
    betas = _options(ham, algorithm).get("betas", [beta])
    return Pairs(gpu, ham, betas, len(betas) - 1, bath, name == "dense")


def check(ham: vf.hamiltonians.Hamiltonian, algorithm: str) -> None:
    """Single spins: the CPU's bytes of the renumbered system. Clusters, whose words are others: its mean energy."""
    from vanfast.mcmc.device import renumbered

    beta = BETA.get(algorithm, CRITICAL)
    options = _options(ham, algorithm) | {"algorithm": algorithm, "seed": 1}
    if choose(ham, algorithm) == "clusters":
        options |= {"chains": 64, "sweeps": 1, "burn_in": 30}
        a, b = (run(ham, beta, backend=name, **options).energy[:, 0] for name in ("cpu", "cuda"))
        assert abs(a.mean() - b.mean()) < 5 * np.hypot(a.std(), b.std()) / 8, "mean energies differ from the CPU's"
        return
    options |= {"chains": 40, "sweeps": 2, "burn_in": 1}
    kernel = choose(ham, algorithm)
    other, site = renumbered(ham, kernel)
    expected = run(other, beta, kernel=kernel, **options).spins
    got = run(ham, beta, backend="cuda", kernel=kernel, **options).spins
    assert np.array_equal(got[:, :, site], expected), "spins differ from the CPU's"
