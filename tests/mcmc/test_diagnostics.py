"""Autocorrelation times, blocking and Geweke's check on series whose answers are known."""

import numpy as np
import pytest

from vanfast.hamiltonians import IsingSquare
from vanfast.mcmc import autocorrelation, blocking, geweke, measure, run


def autoregressive(phi, chains, draws, seed=0):
    """x_t = phi x_{t-1} + noise, stationary with variance 1: tau = 1/2 (1 + phi) / (1 - phi)."""
    noise = np.random.default_rng(seed).normal(size=(chains, draws))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0]
    for t in range(1, draws):
        x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * noise[:, t]
    return x


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.3])
def test_autocorrelation_time(phi):
    exact = max(0.5, 0.5 * (1 + phi) / (1 - phi))
    found = autocorrelation(autoregressive(phi, 20, 5000))
    assert abs(found.tau.value - exact) < 4 * found.tau.error + 0.01 * exact  # the window cuts a part off
    assert found.rho[:2] == pytest.approx([1.0, phi], abs=0.03)
    assert autocorrelation(autoregressive(phi, 1, 5000)[0]).tau.value == pytest.approx(exact, rel=0.25)


def test_chains_apart_have_long_times():
    apart = autoregressive(0.2, 4, 300) + 10 * np.arange(4)[:, None]
    found = autocorrelation(apart)
    assert found.tau.value > 50
    assert np.isnan(found.tau.error)
    assert autocorrelation(np.full((2, 50), 3.7)).tau == (0.5, 0.0)


@pytest.mark.parametrize("phi", [0.0, 0.8])
@pytest.mark.parametrize("shape", [(1, 8192), (16, 700)])
def test_blocking_errors(phi, shape):
    chains, draws = shape
    exact = np.sqrt((1 + phi) / (1 - phi) / (chains * draws))
    found = [blocking(autoregressive(phi, *shape, seed=seed)) for seed in range(20)]
    assert np.mean([one.mean.error for one in found]) == pytest.approx(exact, rel=0.15)
    assert np.mean([(one.mean.value / one.mean.error) ** 2 for one in found]) < 2.2
    assert all(one.converged for one in found)
    assert found[0].lengths[:4].tolist() == [1, 2, 4, 8]


def test_blocking_says_when_chains_are_too_short():
    found = blocking(autoregressive(0.999, 1, 256))
    assert not found.converged
    assert np.isnan(blocking([1.0]).mean.error)


def test_geweke():
    still = autoregressive(0.7, 40, 400)
    assert geweke(still).equilibrated
    scores = np.array([geweke(autoregressive(0.7, 40, 400, seed)).pooled for seed in range(40)])
    assert 0.5 < (scores**2).mean() < 1.8
    moving = still + 3 * np.exp(-np.arange(400) / 30)
    assert not geweke(moving).equilibrated
    assert geweke(moving).pooled > 5
    one = geweke(moving[0] + 5 * np.exp(-np.arange(400) / 30))
    assert one.z.shape == (1,)
    assert not one.equilibrated
    assert geweke(np.ones((3, 50))).equilibrated
    with pytest.raises(ValueError, match="at least 20"):
        geweke(np.ones(19))
    with pytest.raises(ValueError, match=r"begin = 0\.6"):
        geweke(np.ones(50), begin=0.6)


def test_a_quench_is_noticed():
    ham = IsingSquare(L=16)
    fresh = measure(run(ham, 0.6, chains=64, sweeps=100, burn_in=0, seed=1))
    assert fresh.geweke > 5


def test_measure_of_little():
    ham = IsingSquare(L=2)
    one = measure(run(ham, 0.3, chains=1, sweeps=1, burn_in=5))
    assert np.isnan(one.energy.error)
    assert "energy_per_site_error" not in one.to_json()
    single = measure(run(ham, 0.3, chains=30, sweeps=1, burn_in=5))
    assert single.energy.error > 0
    assert np.isnan(single.tau_energy.value)
    assert single.errors_by_chains["energy"] == single.energy.error
    many = measure(run(ham, 0.3, chains=3, sweeps=900, burn_in=5, algorithm="heat_bath"))
    assert many.errors_by_blocks["energy"] == many.energy.error
    assert many.to_json()["chains"] == 3


@pytest.mark.parametrize("values", [[], [[]], np.ones((2, 2, 2)), [[1.0, np.nan]]])
def test_series_that_do_not_fit(values):
    with pytest.raises(ValueError, match="values"):
        autocorrelation(values)
