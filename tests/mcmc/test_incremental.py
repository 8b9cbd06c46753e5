"""A Hamiltonian that is not made of pairs, through incremental(spins)."""

import numpy as np
import pytest

from tests.mcmc.systems import g_test
from vanfast.exact import states
from vanfast.mcmc import IncrementalHamiltonian, measure, run


class Triples:
    """E = -K sum_i s_i s_{i+1} s_{i+2} - h sum_i s_i on a ring."""

    def __init__(self, num_sites, K, h):
        self.num_sites, self.shape, self.K, self.h = num_sites, (num_sites,), K, h

    def energy(self, spins):
        s = np.asarray(spins, dtype=float)
        return -self.K * (s * np.roll(s, -1, 1) * np.roll(s, -2, 1)).sum(1) - self.h * s.sum(1)

    def incremental(self, spins):
        return TripleWalkers(self, spins.copy())


class TripleWalkers:
    def __init__(self, ham, spins):
        self.ham, self.spins, self.energy = ham, spins, ham.energy(spins)

    def difference(self, site):
        s, n = self.spins.astype(float), self.ham.num_sites
        triples = sum(s[:, (site + a) % n] * s[:, (site + a + 1) % n] * s[:, (site + a + 2) % n] for a in (-2, -1, 0))
        return 2 * self.ham.K * triples + 2 * self.ham.h * s[:, site]

    def flip(self, site, where):
        self.energy = self.energy + np.where(where, self.difference(site), 0.0)
        self.spins[where, site] *= -1


@pytest.mark.parametrize("algorithm", ["metropolis", "heat_bath", "tempering"])
def test_three_spin_interactions(algorithm):
    ham: IncrementalHamiltonian = Triples(7, 0.6, 0.2)
    every = states(7)
    p = np.exp(-0.9 * ham.energy(every))
    p /= p.sum()
    got = run(ham, 0.9, chains=3000, burn_in=80, sweeps=1, algorithm=algorithm, seed=1)
    assert got.kernel == "incremental"
    assert g_test(got.spins, p) > 1e-4
    assert np.allclose(got.energy[:, 0], ham.energy(got.spins[:, 0]))
    found = measure(run(ham, 0.9, chains=60, burn_in=80, sweeps=100, algorithm=algorithm, seed=2))
    assert abs(found.energy.value - p @ ham.energy(every)) < 4 * found.energy.error


def test_chains_of_an_incremental_run():
    ham = Triples(6, 1.0, 0.0)
    whole = run(ham, 0.7, chains=20, sweeps=6, thin=2, burn_in=3, seed=1)
    part = run(ham, 0.7, chains=5, first=12, sweeps=6, thin=2, burn_in=3, seed=1)
    assert np.array_equal(part.spins, whole.spins[12:17])
    shares = []
    run(ham, 0.7, chains=5, sweeps=6, burn_in=2, progress=shares.append)
    assert shares == pytest.approx(np.arange(1, 9) / 8)
