"""Enumeration of Hamiltonians that are not made of pairs, against sums over -T0 ln p by hand."""

import math

import numpy as np
import pytest
import torch

from tests.mcmc.systems import strong
from tests.mcmc.test_masked import SMALL
from vanfast.exact import curie_weiss, enumerate, enumerate_states, states
from vanfast.hamiltonians import Hamiltonian, IsingSquare, Neural, Potts
from vanfast.networks import MADE, ExactH2


@pytest.mark.parametrize("beta", [0.2, 0.4, 3.0])
@pytest.mark.parametrize("name", SMALL)
def test_networks(name, beta, brute_force, same_thermodynamics):
    net = strong(SMALL[name]())
    ham = Neural(net, 2.5)
    found = enumerate(ham, beta, log_prob=True)
    with torch.no_grad():
        energies = -2.5 * net.double().log_prob(states(net.num_sites)).numpy()
    expected = brute_force(ham, beta, energies)
    same_thermodynamics(found, expected, tolerance=2e-5)  # energies are float32 but for sums
    np.testing.assert_allclose(found.magnetization, expected.magnetization, atol=2e-5)
    np.testing.assert_allclose(found.correlation, expected.correlation, atol=2e-5)
    np.testing.assert_allclose(found.log_prob, expected.log_prob, atol=2e-4)
    assert found.ground_energy == pytest.approx(energies.min(), rel=1e-5, abs=1e-5)
    # with the energies that it was told the sums are exact
    own = brute_force(ham, beta, ham.energy(states(net.num_sites)))
    same_thermodynamics(found, own)
    np.testing.assert_allclose(found.magnetization, own.magnetization, atol=1e-13)
    np.testing.assert_allclose(found.correlation, own.correlation, atol=1e-13)
    np.testing.assert_allclose(found.log_prob, own.log_prob, atol=1e-11)
    assert enumerate(ham, beta).log_prob is None


def test_at_its_own_temperature_it_is_the_network():
    ham = Neural(strong(MADE(10, (12,), seed=1)), 1.6)
    found = enumerate(ham, 1 / 1.6, log_prob=True)
    assert found.log_z == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(found.log_prob, ham.log_prob(states(10)).numpy(), atol=2e-6)


def test_the_exact_network_is_the_true_system(same_thermodynamics):
    true = IsingSquare(L=3)
    found, exact = enumerate(Neural(ExactH2(true, 0.3), 1 / 0.3), 0.45), enumerate(true, 0.45)
    assert found.heat_capacity == pytest.approx(exact.heat_capacity, rel=1e-5)
    assert found.entropy == pytest.approx(exact.entropy, rel=1e-5)
    np.testing.assert_allclose(found.correlation, exact.correlation, atol=1e-5)


def test_in_several_pieces_and_threads(brute_force, same_thermodynamics):
    """2^17 states are two pieces."""
    ham = Neural(strong(MADE(17, (9,), seed=1), scale=0.3), 1.5)
    one, two = (enumerate(ham, 0.7, log_prob=True, threads=threads) for threads in (1, 2))
    assert one.to_json() == two.to_json()
    np.testing.assert_array_equal(one.log_prob, two.log_prob)
    np.testing.assert_array_equal(one.correlation, two.correlation)
    own = brute_force(ham, 0.7, ham.energy(states(17)))
    same_thermodynamics(one, own)
    np.testing.assert_allclose(one.correlation, own.correlation, atol=1e-12)
    np.testing.assert_array_equal(np.diag(one.correlation), 1)


class Triples(Hamiltonian):
    """E = -sum_i s_i s_{i+1} s_{i+2} on a ring."""

    is_pairwise = False

    def __init__(self, num_sites):
        self.num_sites, self.shape = num_sites, (num_sites,)

    def energy(self, spins, threads=None):
        s = np.asarray(spins, dtype=float)
        return -(s * np.roll(s, -1, 1) * np.roll(s, -2, 1)).sum(1)


def test_any_energies():
    found = enumerate(Triples(9), 0.8)
    # eigenvalues of the transfer matrix over (s_i, s_{i+1}) with entries exp(beta s s' s'')
    transfer = np.zeros((4, 4))
    for a, b, c in np.ndindex(2, 2, 2):
        transfer[2 * a + b, 2 * b + c] = math.exp(0.8 * (1 - 2 * a) * (1 - 2 * b) * (1 - 2 * c))
    assert found.log_z == pytest.approx(math.log(np.trace(np.linalg.matrix_power(transfer, 9))), rel=1e-13)
    assert found.ground_energy == -9


def test_states_in_parts():
    whole = states(7)
    np.testing.assert_array_equal(np.concatenate([states(7, 0, 50), states(7, 50, 51), states(7, 51, 999)]), whole)
    assert states(24, 2**24 - 2, 2**25).sum(1).tolist() == [22, 24]


@pytest.mark.parametrize("beta", [50.0, 1e6, 1e14])
def test_low_temperatures_keep_the_entropy(beta):
    assert enumerate(Triples(6), beta).entropy == pytest.approx(math.log(4), rel=1e-12)
    assert enumerate_states(Potts(2, q=3), beta).entropy == pytest.approx(math.log(3), rel=1e-12)
    assert curie_weiss(8, min(beta, 1e6), 1.0).entropy == pytest.approx(math.log(2), rel=1e-9)


def test_refuses():
    with pytest.raises(ValueError, match="at most 24 sites, this Hamiltonian has 25"):
        enumerate(Neural(MADE(25, seed=1)), 1.0)
    with pytest.raises(ValueError, match="beta must be positive"):
        enumerate(Neural(MADE(3, seed=1)), 0.0)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        enumerate(Neural(MADE(3, seed=1)), 1.0, threads=0)

    class Hard(Triples):
        def energy(self, spins, threads=None):
            return np.where(spins[:, 0] > 0, np.inf, super().energy(spins))

    with pytest.raises(FloatingPointError, match="energies must be finite, configuration 1 has inf"):
        enumerate(Hard(4), 1.0)
