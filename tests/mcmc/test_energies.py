"""Observables against Kaufman, enumeration and each other, and the coverage of their error bars."""

import numpy as np
import pytest

import vanfast as vf
from vanfast.hamiltonians import CurieWeiss, EdwardsAnderson, Hopfield, IsingCubic, IsingSquare, SherringtonKirkpatrick
from vanfast.mcmc import ALGORITHMS, measure, measure_series, run


def deviations(found, exact):
    """Distances in errors."""
    return [(getattr(found, name).value - value) / getattr(found, name).error for name, value in exact.items()]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_square_lattice_against_kaufman(algorithm):
    ham, beta = IsingSquare(L=8), 0.42
    exact = vf.exact.kaufman(8, beta)
    got = run(ham, beta, chains=256, sweeps=600, burn_in=300, thin=2, algorithm=algorithm, seed=1)
    found = measure(got)
    wanted = {"energy": exact.energy, "heat_capacity": exact.heat_capacity}
    assert np.abs(deviations(found, wanted)).max() < 4
    assert abs(found.geweke) < 4
    assert found.energy.error < 0.005 * abs(exact.energy)


def test_algorithms_agree_on_the_magnetization():
    ham, beta = IsingSquare(shape=(6, 10)), 0.44
    found = [
        measure(run(ham, beta, chains=200, sweeps=400, burn_in=300, algorithm=algorithm, seed=2))
        for algorithm in ALGORITHMS
    ]
    for name in ("abs_magnetization", "magnetization_squared", "energy", "heat_capacity"):
        values, errors = np.array([getattr(one, name) for one in found]).T
        mean = (values / errors**2).sum() / (1 / errors**2).sum()
        assert (((values - mean) / errors) ** 2).sum() < 20, name  # four degrees of freedom


@pytest.mark.parametrize(
    ("ham", "beta"),
    [
        (IsingSquare(L=4), 0.44),
        (EdwardsAnderson((4, 4), seed=3, boundary="open", field=0.2), 0.8),
        (IsingCubic(shape=(2, 2, 4)), 0.2),
        (SherringtonKirkpatrick(16, seed=1), 1.5),
        (CurieWeiss(14, h=0.05), 0.9),
        (Hopfield(vf.hamiltonians.random_patterns(2, 15, seed=1)), 1.2),
    ],
)
def test_against_enumeration(ham, beta):
    exact = vf.exact.enumerate(ham, beta, log_prob=True)
    m = vf.exact.states(ham.num_sites).mean(1)
    p = np.exp(exact.log_prob)
    wanted = {
        "energy": exact.energy,
        "heat_capacity": exact.heat_capacity,
        "magnetization": p @ m,
        "abs_magnetization": p @ np.abs(m),
        "magnetization_squared": p @ m**2,
    }
    for algorithm in ALGORITHMS:
        if vf.mcmc.kernels.refuses(ham, algorithm, "clusters") and algorithm in ("wolff", "swendsen_wang"):
            continue
        found = measure(run(ham, beta, chains=300, sweeps=400, burn_in=400, thin=4, algorithm=algorithm, seed=4))
        assert np.abs(deviations(found, wanted)).max() < 4, algorithm


@pytest.mark.parametrize(("chains", "draws", "repeats"), [(60, 100, 300), (2, 1000, 2000)])
def test_error_bars_cover(chains, draws, repeats):
    """Errors against the spread of repeated runs, and distances from exact values in errors; by chains and by blocks.

    Blocks of ten autocorrelation times without the correction give squares of errors that are 0.93 of the spread, and
    squared distances of 1.1.
    """
    ham, beta = IsingSquare(L=4), 0.4
    exact = vf.exact.enumerate(ham, beta, log_prob=True)
    size = np.exp(exact.log_prob) @ np.abs(vf.exact.states(16).mean(1))
    wanted = np.array([exact.energy, exact.heat_capacity, size])
    got = run(ham, beta, chains=chains * repeats, sweeps=draws, burn_in=100, algorithm="heat_bath", seed=8)
    m = got.spins.sum(2, dtype=int) / 16
    found = []
    for k in range(repeats):
        rows = slice(k * chains, (k + 1) * chains)
        one = measure_series(got.energy[rows], m[rows], beta, 16)
        found.append([one.energy, one.heat_capacity, one.abs_magnetization])
    value, error = np.moveaxis(np.array(found), 2, 0)
    spread = value.var(0, ddof=1)
    squares = (error**2).mean(0) / spread, ((value - wanted) ** 2 / error**2).mean(0)
    slack = 4 * np.sqrt(2 / repeats)
    np.testing.assert_allclose(squares, 1, atol=slack)
    if chains == 2:
        assert squares[0].min() > 0.96
        assert squares[1].max() < 1.07
    assert (np.abs((value - wanted).mean(0)) < 4 * np.sqrt(spread / repeats)).all()


def test_tempering_crosses_what_single_spins_do_not():
    """Two wells: from one corner a cold chain sees one of them, replicas see both."""
    ham, beta = IsingSquare(L=6), 1.0
    up = np.ones(36, dtype=np.int8)
    cold = run(ham, beta, chains=64, sweeps=300, burn_in=0, start=up, algorithm="heat_bath", seed=1)
    tempered = run(ham, beta, chains=64, sweeps=300, burn_in=300, start=up, algorithm="tempering", seed=1)
    assert (cold.spins.mean(2) > 0).mean() > 0.99
    assert 0.3 < (tempered.spins[:, -1].mean(1) > 0).mean() < 0.7
    assert tempered.betas[-1] == beta
    assert len(tempered.swap_acceptance) == len(tempered.betas) - 1
    assert tempered.swap_acceptance.min() > 0.05
