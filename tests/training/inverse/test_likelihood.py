"""Exact maximum likelihood and pseudo-likelihood: the outside check, known couplings, L1, maxima at infinity."""

import numpy as np
import pytest

import vanfast as vf
from tests.training.inverse.conftest import exact_moments, random_system
from vanfast.training import Moments, inverse_ising
from vanfast.training.data import as_samples
from vanfast.training.inverse.maximum_likelihood import log_likelihood, walsh_hadamard
from vanfast.training.inverse.pseudo_likelihood import pseudo_likelihood
from vanfast.training.inverse.quasi_newton import minimise


@pytest.mark.parametrize("method", ["mle", "plm"])
def test_outside_check(three_spins, method):
    spins, counts = three_spins
    found = inverse_ising(spins, method, counts=counts)
    values = found.J[[0, 0, 1], [1, 2, 2]]
    np.testing.assert_allclose(values, [0.0997578, 0.2011192, 0.2999732], atol=5e-8)
    np.testing.assert_allclose(found.h, [-0.000561, 0.000265, -0.001309], atol=5e-7)
    assert found.converged
    assert found.history[-1].difference < 1e-9


@pytest.mark.parametrize(("num_sites", "beta"), [(2, 1.0), (7, 0.5), (7, 2.0), (12, 3.0)])
def test_mle_finds_known_couplings(num_sites, beta):
    J, h = random_system(num_sites, seed=num_sites, fields=0.3)
    found = inverse_ising(exact_moments(J, h, beta), "mle", beta)
    np.testing.assert_allclose(found.J, J, atol=1e-7)
    np.testing.assert_allclose(found.h, h, atol=1e-7)
    values = [step.objective for step in found.history]
    assert values == sorted(values) or np.diff(values).min() > -1e-12
    assert found.history[-1].difference <= 1e-10


def test_mle_is_the_maximum():
    moments = exact_moments(*random_system(5, seed=1, fields=0.4))
    found = inverse_ising(moments, "mle")
    best = log_likelihood(moments, found.J, found.h)
    assert best == pytest.approx(found.history[-1].objective, abs=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(5):
        change = np.triu(rng.normal(size=(5, 5)), 1) * 1e-3
        assert log_likelihood(moments, found.J + change + change.T, found.h) < best


def test_transform_gives_averages_of_all_products():
    states = vf.exact.states(4).astype(float)
    p = np.random.default_rng(0).dirichlet(np.ones(16))
    found = walsh_hadamard(p)
    for mask in range(16):
        sites = [k for k in range(4) if mask >> k & 1]
        assert found[mask] == pytest.approx(p @ states[:, sites].prod(1), abs=1e-15)


def test_plm_of_the_exact_distribution_is_exact():
    J, h = random_system(6, seed=2, fields=0.4)
    exact = vf.exact.enumerate(vf.hamiltonians.Pairwise(J, h), 1.0, log_prob=True)
    found = inverse_ising(vf.exact.states(6), "plm", counts=np.exp(exact.log_prob))
    np.testing.assert_allclose(found.J, J, atol=1e-7)
    np.testing.assert_allclose(found.h, h, atol=1e-7)


def glauber(J, beta, count, sweeps=200, seed=0):
    """Samples of many chains in parallel."""
    rng = np.random.default_rng(seed)
    spins = rng.choice([-1.0, 1.0], size=(count, len(J)))
    for _ in range(sweeps):
        for i in range(len(J)):
            up = 1 / (1 + np.exp(-2 * beta * spins @ J[i]))
            spins[:, i] = np.where(rng.random(count) < up, 1, -1)
    return spins.astype(np.int8)


def test_plm_with_l1_finds_a_sparse_graph():
    n = 40
    J = np.zeros((n, n))
    ring = np.arange(n)
    J[ring, (ring + 1) % n] = J[(ring + 1) % n, ring] = 0.6
    spins = glauber(J, 1.0, 1500)
    plain, sparse = inverse_ising(spins, "plm"), inverse_ising(spins, "plm", l1=0.12)
    bonds, others = J > 0, (J == 0) & ~np.eye(n, dtype=bool)
    assert plain.converged
    assert sparse.converged
    assert (plain.J[others] != 0).all()
    assert (sparse.J[others] == 0).mean() > 0.98
    assert sparse.J[bonds].min() > 0.3
    assert plain.error(J) < 0.06
    assert inverse_ising(spins, "plm", l1=10.0).J.any() == np.False_


def test_minimise_meets_the_conditions_of_an_l1_optimum():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(30, 8))
    matrix, vector, penalty = A.T @ A / 30, rng.normal(size=8), np.full(8, 0.5)
    values = []
    x, converged, reach = minimise(
        lambda x: (float(x @ matrix @ x / 2 - vector @ x), matrix @ x - vector),
        np.zeros(8),
        penalty,
        1e-10,
        500,
        lambda value, slope: values.append(value),
    )
    gradient = matrix @ x - vector
    assert converged
    assert reach < 1e-8
    assert 0 < (x == 0).sum() < 8
    np.testing.assert_allclose(gradient[x != 0], -0.5 * np.sign(x[x != 0]), atol=1e-9)
    assert np.abs(gradient[x == 0]).max() <= 0.5 + 1e-9
    assert np.diff(values).max() < 1e-12


def test_maxima_at_infinity_are_refused():
    # Three spins that are never all equal: every combination of two occurs, and yet <s1 s2 + s1 s3 + s2 s3> = -1.
    spins = np.array([[1, 1, -1], [1, -1, 1], [1, -1, -1], [-1, 1, 1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])
    with pytest.raises(ValueError, match="no finite couplings have these moments"):
        inverse_ising(spins, "mle")
    with pytest.raises(ValueError, match="no finite maximum"):
        inverse_ising(spins, "plm")
    assert np.isfinite(inverse_ising(spins, "mle", regularizer=0.05).J).all()
    for l1 in (0.02, 1e-4, 1e-6):
        found = inverse_ising(spins, "plm", l1=l1)
        assert found.converged
        assert len(found.history) < 50
        assert np.isfinite(found.J).all()


def test_plm_that_runs_out_of_steps_is_not_taken_for_a_maximum_at_infinity():
    samples = as_samples(np.random.default_rng(0).choice([-1, 1], size=(400, 30)))
    _, _, history, converged = pseudo_likelihood(samples, max_steps=2)
    assert (len(history), converged) == (3, False)
    assert pseudo_likelihood(samples)[3]


def test_limits():
    with pytest.raises(ValueError, match="at most 20 spins, the data have 21"):
        inverse_ising(Moments(np.zeros(21), np.eye(21)), "mle")
    with pytest.raises(ValueError, match="'plm' needs samples, got moments"):
        inverse_ising(Moments(np.zeros(3), np.eye(3)), "plm")
    with pytest.raises(ValueError, match="regularizer does not fit method 'plm'"):
        inverse_ising(np.eye(3), "plm", regularizer=0.1)
    with pytest.raises(ValueError, match="l1 belongs to method 'plm'"):
        inverse_ising(Moments(np.zeros(3), np.eye(3)), "mle", l1=0.1)
