"""Mean-field approximations where they are exact, where they are bounds, and in their small-coupling expansions."""

import math

import numpy as np
import pytest

from vanfast.exact import bethe, curie_weiss, enumerate, naive_mean_field, tap
from vanfast.hamiltonians import CurieWeiss, IsingSquare, Pairwise, SherringtonKirkpatrick

METHODS = [naive_mean_field, tap, bethe]


def _tree(sites, seed, field=0.5):
    rng = np.random.default_rng(seed)
    J = np.zeros((sites, sites))
    for site in range(1, sites):
        parent = rng.integers(site)
        J[site, parent] = J[parent, site] = rng.normal()
    return Pairwise(J, field * rng.normal(size=sites))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("beta", [0.1, 1.0, 4.0])
def test_bethe_is_exact_on_trees(seed, beta, same_thermodynamics):
    ham = _tree(12, seed)
    result, exact = bethe(ham, beta), enumerate(ham, beta)
    assert result.converged
    for name in ("log_z", "free_energy", "energy", "entropy"):
        assert getattr(result, name) == pytest.approx(getattr(exact, name), rel=1e-8, abs=1e-8), name
    np.testing.assert_allclose(result.magnetization, exact.magnetization, atol=1e-8)
    np.testing.assert_allclose(result.correlation, exact.correlation[tuple(ham.edges.T)], atol=1e-8)


def test_bethe_on_a_forest_without_fields():
    ham = _tree(12, 3, field=0.0)
    result = bethe(ham, 1.5)
    expected = 12 * math.log(2) + np.log(np.cosh(1.5 * ham.couplings)).sum()
    assert result.log_z == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.2, 0.7, 1.5, 4.0])
@pytest.mark.parametrize("iterations", [1, 3, 10_000])
def test_naive_mean_field_is_an_upper_bound(seed, beta, iterations):
    """At every m, also before it has converged."""
    ham = SherringtonKirkpatrick(12, seed=seed)
    result = naive_mean_field(ham, beta, max_iterations=iterations)
    assert result.free_energy >= enumerate(ham, beta).free_energy - 1e-9
    assert result.converged == (result.residual < 1e-10)
    if iterations > 10:
        assert result.converged


def test_naive_mean_field_solves_its_equations():
    rng = np.random.default_rng(0)
    ham = IsingSquare(shape=(5, 7), coupling=rng.normal(size=(2, 5, 7)), field=rng.normal(size=35))
    result = naive_mean_field(ham, 0.8)
    field = ham.to_dense() @ result.magnetization + ham.fields
    np.testing.assert_allclose(result.magnetization, np.tanh(0.8 * field), atol=1e-8)


def test_naive_mean_field_of_curie_weiss():
    """Exact for many spins; with N spins its field is J (N - 1) / N m."""
    N, beta, h = 400, 1.4, 0.1
    m = 0.9
    for _ in range(200):
        m = math.tanh(beta * ((N - 1) / N * m + h))
    result = naive_mean_field(CurieWeiss(N, J=1.0, h=h), beta)
    np.testing.assert_allclose(result.magnetization, m, atol=1e-8)
    assert result.free_energy / N == pytest.approx(curie_weiss(N, beta, 1.0, h).free_energy / N, abs=2e-3)


@pytest.mark.parametrize(
    ("method", "order"), [(naive_mean_field, 2), (tap, 3), (bethe, 3)]
)  # first power of beta at which beta F is wrong
def test_order_of_the_expansion_in_the_couplings(method, order):
    """Halving beta divides the error of beta F by 2^order where all loops, also of three bonds, are present."""
    ham = Pairwise(np.full((8, 8), 0.4) - 0.4 * np.eye(8))
    errors = []
    for beta in (0.02, 0.01):
        errors.append(method(ham, beta).log_z - enumerate(ham, beta).log_z)
    assert abs(errors[0] / errors[1]) == pytest.approx(2**order, rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_energy_is_the_derivative(method):
    """U = d(beta F) / d beta: each solution is stationary, so only the explicit beta counts."""
    rng = np.random.default_rng(2)
    J = np.triu(rng.normal(size=(10, 10)) * 0.3, 1)
    ham = Pairwise(J + J.T, 0.4 * rng.normal(size=10))
    step = 1e-4
    low, high = (method(ham, 0.9 + sign * step) for sign in (-1, 1))
    result = method(ham, 0.9)
    assert result.converged
    assert result.energy == pytest.approx((low.log_z - high.log_z) / (2 * step), abs=1e-6)
    assert result.free_energy == pytest.approx(result.energy - result.entropy / 0.9, abs=1e-10)
    assert result.log_z == pytest.approx(-0.9 * result.free_energy, abs=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_ferromagnet_orders_at_low_temperature(method):
    ham = IsingSquare(6)
    assert np.abs(method(ham, 0.15).magnetization).max() < 1e-6
    cold = method(ham, 1.0)
    assert cold.converged
    assert np.abs(cold.magnetization).min() > 0.99
    assert cold.free_energy / 36 == pytest.approx(-2.0, abs=0.05)


def test_bethe_and_tap_improve_on_naive_mean_field():
    ham = SherringtonKirkpatrick(16, seed=4)
    exact = enumerate(ham, 0.5).free_energy
    errors = [abs(method(ham, 0.5).free_energy - exact) for method in METHODS]
    assert max(errors[1:]) < 0.2 * errors[0]


def test_tells_when_it_did_not_converge():
    ham = SherringtonKirkpatrick(20, seed=1)
    glass = bethe(ham, 3.0, max_iterations=300)
    assert not glass.converged
    assert glass.iterations == 300
    assert glass.residual > 1e-10
    assert math.isfinite(glass.free_energy)
    assert glass.to_json()["converged"] is False


def test_tap_avoids_the_unphysical_solution():
    """A spin glass at beta = 2: m = 0 solves the equations but fails Plefka's condition."""
    ham = SherringtonKirkpatrick(200, seed=1)
    assert tap(ham, 0.5).plefka > 0
    paramagnet = -200 * math.log(2) / 2 - 0.5 * 2 * (ham.couplings**2).sum()
    assert tap(ham, 2.0, starts=3, max_iterations=2000).free_energy > paramagnet + 1


def test_same_seed_same_result():
    ham = SherringtonKirkpatrick(30, seed=1)
    for method in METHODS:
        a, b = (method(ham, 0.9, seed=7, starts=3) for _ in range(2))
        assert a.free_energy == b.free_energy
        np.testing.assert_array_equal(a.magnetization, b.magnetization)


@pytest.mark.parametrize("method", METHODS)
def test_systems_without_bonds_are_exact(method):
    ham = Pairwise(np.zeros((3, 3)), np.array([0.1, -0.4, 2.0]))
    assert method(ham, 1.3).log_z == pytest.approx(enumerate(ham, 1.3).log_z, abs=1e-12)


def test_large_systems_are_multiplied_by_bonds():
    """Above the size that is kept as a matrix: same equations, same solution as a small torus."""
    for method in METHODS:
        large, small = (method(IsingSquare(L), 0.6, starts=2) for L in (46, 8))
        assert large.free_energy / 46**2 == pytest.approx(small.free_energy / 8**2, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 0.0}, "beta must be positive"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"starts": 0}, "starts must be at least 1"),
    ],
)
def test_refuses(method, arguments, message):
    with pytest.raises(ValueError, match=message):
        method(IsingSquare(3), **{"beta": 1.0, **arguments})


@pytest.mark.parametrize("method", [tap, bethe])
def test_refuses_damping(method):
    with pytest.raises(ValueError, match="damping must be in"):
        method(IsingSquare(3), 1.0, damping=1.0)
