"""CUDA cluster updates against numpy twins with the same random words, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.chains import backend_of, swendsen_wang_twin, wolff_twin
from tests.cuda.conftest import Cuda
from tests.mcmc.systems import FERROMAGNETS, SYSTEMS, exact_samples, g_test, probabilities
from vanfast import hamiltonians as H
from vanfast.mcmc import run

LARGER = {
    "square 12x13": (H.IsingSquare(shape=(12, 13)), 0.44),
    "square 20x20 cold": (H.IsingSquare(20), 0.8),  # clusters of most sites
    "cubic 5x4x3": (H.IsingCubic(shape=(5, 4, 3)), 0.2),
    "chain of 300": (H.IsingSquare(shape=(1, 300), boundary="open"), 1.5),
    "mean field": (H.CurieWeiss(33), 1.1),
}
ALL = {name: SYSTEMS[name] for name in (*FERROMAGNETS, "one")} | LARGER


@pytest.fixture(autouse=True)
def on_module(cuda: Cuda):
    with backend_of(cuda.module, cuda.device):
        yield


@pytest.mark.parametrize("name", ALL)
def test_swendsen_wang_is_its_twin(name: str) -> None:
    ham, beta = ALL[name]
    options = {"chains": 6, "sweeps": 4, "burn_in": 1, "seed": 3, "first": 2**32 - 2, "algorithm": "swendsen_wang"}
    got = run(ham, beta, backend="cuda", **options)
    turned = 0
    for chain in range(6):
        expected = swendsen_wang_twin(ham, beta, 3, 2**32 - 2 + chain, 5)
        assert np.array_equal(got.spins[chain], expected[1:])
        turned += int((expected[1:] != expected[:-1]).sum())
    assert got.acceptance == pytest.approx(turned / (6 * 4 * ham.num_sites), rel=1e-12)
    assert got.updates == 6 * 4


@pytest.mark.parametrize("clusters", [None, 3])
@pytest.mark.parametrize("name", ALL)
def test_wolff_is_its_twin(name: str, clusters: int | None) -> None:
    ham, beta = ALL[name]
    options = {"chains": 4, "sweeps": 3, "burn_in": 5, "seed": 3, "first": 7, "algorithm": "wolff"}
    got = run(ham, beta, backend="cuda", clusters=clusters, **options)
    counted = flips = 0
    for chain in range(4):
        spins, per_sweep, built, turned = wolff_twin(ham, beta, 3, 7 + chain, 5, 3, clusters)
        assert np.array_equal(got.spins[chain], spins)
        assert got.clusters_per_sweep[chain] == per_sweep
        counted, flips = counted + built, flips + turned
    assert got.updates == counted
    assert got.acceptance == pytest.approx(flips / (counted * ham.num_sites), rel=1e-12)


@pytest.mark.parametrize("algorithm", ["wolff", "swendsen_wang"])
@pytest.mark.parametrize("name", ["square 3x3", "square 2x3", "free"])
def test_a_sweep_keeps_the_distribution(name: str, algorithm: str) -> None:
    ham, beta = SYSTEMS[name]
    start = exact_samples(ham, beta, 2000, seed=1)
    got = run(ham, beta, chains=2000, sweeps=1, burn_in=0, algorithm=algorithm, start=start, seed=5, backend="cuda")
    assert g_test(got.spins, probabilities(ham, beta)) > 1e-4
    assert 0.02 < (got.spins[:, 0] != start).mean() < 0.98


def test_large_clusters() -> None:
    """More bonds and sites than threads take at once, and chains of hooks as long as the system."""
    for ham, beta in ((H.IsingSquare(shape=(40, 41)), 0.6), (H.IsingSquare(shape=(1, 1500)), 9.0)):
        options = {"chains": 2, "sweeps": 2, "burn_in": 0, "seed": 8}
        got = run(ham, beta, algorithm="swendsen_wang", backend="cuda", **options)
        assert np.array_equal(got.spins[1], swendsen_wang_twin(ham, beta, 8, 1, 2))
        got = run(ham, beta, algorithm="wolff", clusters=2, backend="cuda", **options)
        assert np.array_equal(got.spins[1], wolff_twin(ham, beta, 8, 1, 0, 2, 2)[0])


def test_they_draw_what_the_cpu_draws() -> None:
    """Other words, the same distribution: mean energies of many chains."""
    ham = H.IsingSquare(8)
    for algorithm in ("wolff", "swendsen_wang"):
        a, b = (
            run(ham, 0.44, chains=300, sweeps=1, burn_in=20, algorithm=algorithm, seed=2, backend=backend).energy[:, 0]
            for backend in ("cpu", "cuda")
        )
        assert abs(a.mean() - b.mean()) < 4 * np.hypot(a.std(), b.std()) / np.sqrt(300)


def test_more_sweeps_than_there_are_words_are_refused() -> None:
    with pytest.raises(ValueError, match="sweeps of 18 bonds are more than a seed has random words for"):
        run(H.IsingSquare(3), 0.4, sweeps=2**46, thin=2**46, algorithm="swendsen_wang", backend="cuda")
    with pytest.raises(ValueError, match=r"must be below 2\*\*22"):
        run(H.IsingSquare(3), 0.4, algorithm="wolff", first_sweep=2**22, backend="cuda")
