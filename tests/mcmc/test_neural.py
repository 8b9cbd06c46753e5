"""Networks as proposals: unbiased whatever the network, chains by the contract."""

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.mcmc.systems import g_test, probabilities
from vanfast.mcmc import neural

torch.set_num_threads(1)
HAM, BETA = vf.hamiltonians.EdwardsAnderson((2, 4), disorder="gaussian", seed=1, field=0.2), 0.4
KINDS = {
    "independence": (neural.independence, {}),
    "heat bath": (neural.mixed, {"algorithm": "heat_bath"}),
    "metropolis": (neural.mixed, {"algorithm": "metropolis", "local_sweeps": 2}),
}


@pytest.fixture(scope="module")
def sampler():
    """A network that is wrong on purpose: an untrained one."""
    net = vf.networks.Dense(8, depth=2, width=2, seed=4)
    return vf.Sampler(net, HAM, threads=1)


@pytest.mark.parametrize("kind", KINDS)
def test_unbiased(sampler, kind):
    chain, options = KINDS[kind]
    got = chain(sampler, BETA, chains=2500, steps=1, burn_in=200 if kind == "independence" else 30, seed=1, **options)
    assert g_test(got.spins, probabilities(HAM, BETA)) > 1e-4
    assert np.array_equal(got.energy[:, 0], HAM.energy(got.spins[:, 0]))
    found = vf.mcmc.measure(chain(sampler, BETA, chains=60, steps=200, burn_in=50, seed=2, **options))
    exact = vf.exact.enumerate(HAM, BETA)
    assert abs(found.energy.value - exact.energy) < 4 * found.energy.error
    assert abs(found.heat_capacity.value - exact.heat_capacity) < 4 * found.heat_capacity.error
    assert 0.02 < got.acceptance < 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_contract(sampler, kind):
    chain, options = KINDS[kind]
    whole = chain(sampler, BETA, chains=40, steps=70, burn_in=4, thin=2, seed=3, **options)
    assert whole.spins.shape == (40, 35, 8)
    part = chain(sampler, BETA, chains=3, first=21, steps=70, burn_in=4, thin=2, seed=3, **options)
    assert np.array_equal(part.spins, whole.spins[21:24])
    assert np.array_equal(part.energy, whole.energy[21:24])


def test_wolff_between_proposals():
    ham = vf.hamiltonians.IsingSquare(L=3)
    sampler = vf.Sampler(vf.networks.Dense(9, seed=1), ham, threads=1)
    got = neural.mixed(sampler, 0.3, algorithm="wolff", chains=2000, steps=1, burn_in=30, seed=1)
    assert g_test(got.spins, probabilities(ham, 0.3)) > 1e-4


def test_the_exact_network_is_always_accepted():
    ham = vf.hamiltonians.SherringtonKirkpatrick(8, seed=1)
    sampler = vf.Sampler(vf.networks.ExactH2(ham, 1.0), ham, threads=1)
    got = neural.independence(sampler, 1.0, chains=50, steps=40, burn_in=1)
    assert got.acceptance > 0.999
    assert vf.mcmc.measure(got).tau_energy.value < 0.6


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"beta": -1.0}, ValueError, "beta"),
        ({"chains": 0}, ValueError, "chains = 0"),
        ({"steps": 5, "thin": 2}, ValueError, "thin = 2 must divide steps = 5"),
        ({"local_sweeps": 0}, ValueError, "local_sweeps = 0"),
        ({"algorithm": "tempering"}, ValueError, "tempering"),
        ({"algorithm": "wolff"}, ValueError, "without fields"),
        ({"sampler": None}, TypeError, "sampler must be"),
        ({"sampler": vf.Sampler(vf.networks.Dense(8))}, ValueError, "no Hamiltonian"),
    ],
)
def test_arguments(sampler, arguments, error, message):
    with pytest.raises(error, match=message):
        neural.mixed(**({"sampler": sampler, "beta": BETA, "chains": 2, "steps": 4, "burn_in": 1} | arguments))


@pytest.mark.parametrize("kind", ["independence", "mixed"])
def test_chains_start_where_they_are_told(kind):
    """At zero temperature nothing leaves the ground state, and others fall towards it."""
    ham = vf.hamiltonians.IsingSquare(L=3)
    sampler = vf.Sampler(vf.networks.MADE(9, (5,), seed=1), ham)
    go = getattr(vf.mcmc.neural, kind)
    up = np.ones((6, 9), dtype=np.int8)
    start = np.concatenate([up[:3], -up[3:]])
    kept = go(sampler, 50.0, chains=6, steps=8, burn_in=3, seed=4, start=start)
    assert (kept.spins == start[:, None]).all()
    assert (kept.energy == -18).all()
    one = go(sampler, 50.0, chains=2, steps=2, burn_in=0, seed=4, start=up[0])
    assert (one.spins == 1).all()
    assert (go(sampler, 50.0, chains=6, steps=1, burn_in=0, seed=4).spins != start[:, None]).any()
    with pytest.raises(ValueError, match="start holds 6 configurations"):
        go(sampler, 50.0, chains=5, start=start)
