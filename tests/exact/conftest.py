"""Independent sums over all states, in plain numpy."""

import numpy as np
import pytest


class Sums:
    """Boltzmann averages of a Hamiltonian by its dense couplings, or by the energies of all states where these are
    given; site i of state k is +1 where bit i of k is set."""

    def __init__(self, ham, beta, energies=None):
        sites = ham.num_sites
        self.states = 2.0 * (np.arange(2**sites)[:, None] >> np.arange(sites) & 1) - 1
        self.energies = self._by_couplings(ham) if energies is None else energies
        exponent = -beta * self.energies
        top = exponent.max()
        self.log_z = top + np.log(np.exp(exponent - top).sum())
        self.log_prob = exponent - self.log_z
        p = np.exp(self.log_prob)
        self.energy = p @ self.energies
        self.heat_capacity = beta**2 * (p @ (self.energies - self.energy) ** 2)
        self.entropy = -p @ self.log_prob
        self.free_energy = -self.log_z / beta
        self.magnetization = p @ self.states
        self.correlation = self.states.T @ (self.states * p[:, None])

    def _by_couplings(self, ham):
        sites = ham.num_sites
        couplings = np.zeros((sites, sites))
        for (i, j), coupling in zip(ham.edges, ham.couplings, strict=True):
            couplings[i, j] += coupling
        return -np.einsum("bi,bi->b", self.states @ couplings, self.states) - self.states @ ham.fields


@pytest.fixture
def brute_force():
    return Sums


@pytest.fixture
def same_thermodynamics():
    """Checks two results against each other, absolute per site but for the size of the numbers."""

    def check(result, expected, tolerance=1e-11):
        for name in ("log_z", "free_energy", "energy", "entropy", "heat_capacity"):
            assert getattr(result, name) == pytest.approx(getattr(expected, name), rel=tolerance, abs=tolerance), name

    return check
