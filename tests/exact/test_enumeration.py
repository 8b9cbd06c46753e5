"""The C++ enumeration against plain numpy."""

import math

import numpy as np
import pytest

from vanfast.exact import enumerate, states
from vanfast.hamiltonians import CurieWeiss, IsingSquare, IsingTriangular, Pairwise, SherringtonKirkpatrick


def _random(sites, seed=0, field=0.5):
    rng = np.random.default_rng(seed)
    couplings = np.triu(rng.normal(size=(sites, sites)), 1)
    return Pairwise(couplings + couplings.T, field * rng.normal(size=sites))


# 9 to 13 sites: around the number of sites that one chunk of the enumeration holds
@pytest.mark.parametrize("sites", [1, 2, 3, 9, 10, 11, 13])
@pytest.mark.parametrize("beta", [0.05, 0.7, 40.0])
def test_equals_brute_force(sites, beta, brute_force, same_thermodynamics):
    ham = _random(sites, seed=sites)
    result, expected = enumerate(ham, beta, log_prob=True), brute_force(ham, beta)
    same_thermodynamics(result, expected)
    np.testing.assert_allclose(result.magnetization, expected.magnetization, atol=1e-13)
    np.testing.assert_allclose(result.correlation, expected.correlation, atol=1e-13)
    np.testing.assert_allclose(result.log_prob, expected.log_prob, atol=1e-11)
    assert result.ground_energy == pytest.approx(expected.energies.min(), abs=1e-12)


def test_order_of_states():
    ham = _random(6)
    table = states(6)
    assert table.dtype == np.int8
    assert table.shape == (64, 6)
    np.testing.assert_array_equal(table[0b000101], [1, -1, 1, -1, -1, -1])
    result = enumerate(ham, 0.8, log_prob=True)
    np.testing.assert_allclose(result.log_prob, -0.8 * ham.energy(table) - result.log_z, atol=1e-12)
    assert np.exp(result.log_prob).sum() == pytest.approx(1)
    assert enumerate(ham, 0.8).log_prob is None


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (4, 4)])
def test_lattices(shape, brute_force, same_thermodynamics):
    for ham in (IsingSquare(shape=shape, field=0.2), IsingTriangular(shape=shape, coupling=-1.0)):
        same_thermodynamics(enumerate(ham, 0.44), brute_force(ham, 0.44))


def test_threads_do_not_change_a_bit():
    ham = SherringtonKirkpatrick(16, seed=2)
    one, two, five = (enumerate(ham, 1.1, threads=threads, log_prob=True) for threads in (1, 2, 5))
    for other in (two, five):
        assert one.to_json() == other.to_json()
        np.testing.assert_array_equal(one.magnetization, other.magnetization)
        np.testing.assert_array_equal(one.correlation, other.correlation)
        np.testing.assert_array_equal(one.log_prob, other.log_prob)


def test_symmetric_system_has_no_magnetization():
    result = enumerate(SherringtonKirkpatrick(12, seed=1), 2.0)
    np.testing.assert_allclose(result.magnetization, 0, atol=1e-14)
    np.testing.assert_array_equal(result.correlation, result.correlation.T)
    np.testing.assert_array_equal(np.diag(result.correlation), 1)


def test_low_temperature_keeps_the_entropy():
    result = enumerate(IsingSquare(4), 5000.0)
    assert result.entropy == math.log(2)
    assert result.energy == -32
    assert result.heat_capacity == 0


def test_twenty_four_sites(same_thermodynamics):
    from vanfast.exact import curie_weiss

    same_thermodynamics(enumerate(CurieWeiss(24, J=1.2, h=0.1), 0.9), curie_weiss(24, 0.9, 1.2, 0.1))


def test_refuses():
    with pytest.raises(ValueError, match="at most 24 sites, this Hamiltonian has 25"):
        enumerate(IsingSquare(5), 1.0)
    with pytest.raises(ValueError, match="beta must be positive"):
        enumerate(IsingSquare(2), -0.1)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        enumerate(IsingSquare(2), 0.1, threads=0)
    with pytest.raises(ValueError, match=r"num_sites must be in \[1, 24\]"):
        states(25)
