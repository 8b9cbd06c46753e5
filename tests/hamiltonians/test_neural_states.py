"""A network over sites of q states as a Hamiltonian."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.mcmc.state_systems import LARGE, SMALL
from tests.mcmc.systems import strong
from vanfast.hamiltonians import IsingSquare, Neural, Potts
from vanfast.networks import CategoricalMADE
from vanfast.training.known import known_values, quick_method

NETS = {**SMALL, **LARGE, "double": lambda: CategoricalMADE(5, 3, (4,), seed=1).double()}


def some_states(ham, count=37, seed=0):
    return np.random.default_rng(seed).integers(0, ham.q, (count, ham.num_sites)).astype(np.int8)


def changed(states, site, k):
    there = states.copy()
    there[:, site] = k
    return there


@pytest.mark.parametrize("name", NETS)
def test_energy_and_differences(name):
    ham = Neural(strong(NETS[name](), scale=0.4), 1.7)
    states = some_states(ham)
    exact = copy.deepcopy(ham.net).double()
    with torch.no_grad():
        energy = -1.7 * exact.log_prob(states).numpy()
        np.testing.assert_allclose(ham.energy(states), energy, rtol=2e-6, atol=2e-5)
        found = ham.differences(states)
        assert found.shape == (37, ham.num_sites, ham.q)
        for site in range(min(ham.num_sites, 20)):
            for k in range(0, ham.q, 1 + ham.q // 12):
                expected = -1.7 * exact.log_prob(changed(states, site, k)).numpy() - energy
                np.testing.assert_allclose(found[:, site, k], expected, rtol=2e-6, atol=1e-4)
    assert (np.take_along_axis(found, states[..., None].astype(np.int64), 2) == 0).all()
    assert np.array_equal(ham.differences(states[:3], threads=1), found[:3])


@pytest.mark.parametrize("isa", vf._cpu.isas())
def test_differences_on_every_instruction_set(isa):
    ham = Neural(strong(CategoricalMADE(19, 4, (30, 21), symmetry="cyclic", seed=1), scale=0.4))
    states = some_states(ham, 70)
    found = vf._cpu.flip_changes(*ham.masked_arrays(), states, 2, isa)
    with torch.no_grad():
        exact = copy.deepcopy(ham.net).double()
        before = exact.log_prob(states).numpy()
        for site in range(19):
            for k in range(4):
                expected = exact.log_prob(changed(states, site, k)).numpy() - before
                np.testing.assert_allclose(found[:, site, k], expected, rtol=3e-6, atol=5e-5)


def test_walkers_by_whole_evaluations():
    ham = Neural(strong(SMALL["five states"]()), 0.6)
    states = some_states(ham)
    walkers, to = ham.incremental(states), (states[:, 2] + 3) % 5
    differences = np.take_along_axis(ham.differences(states)[:, 2], to[:, None].astype(np.int64), 1)[:, 0]
    np.testing.assert_allclose(walkers.cost(2, to), differences, atol=5e-5)
    walkers.assign(2, to)
    assert np.array_equal(walkers.spins[:, 2], to)
    assert np.array_equal(walkers.energy, ham.energy(walkers.spins))
    assert np.array_equal(np.delete(walkers.spins, 2, 1), np.delete(states, 2, 1))


@pytest.mark.parametrize("name", ["in another order", "reflection", "double"])
def test_it_is_described_and_stored(name, tmp_path):
    ham = Neural(strong(NETS[name]()), 2.5)
    states = some_states(ham)
    again = vf.hamiltonians.from_config(json.loads(json.dumps(ham.config())), ham.arrays())
    for twin in (again, copy.deepcopy(ham), pickle.loads(pickle.dumps(ham))):
        assert (twin.q, twin.T0, twin.config()) == (ham.q, 2.5, ham.config())
        assert np.array_equal(twin.energy(states), ham.energy(states))
    assert f"of {ham.q} states, -2.5 ln p of CategoricalMADE" in ham.describe()
    with vf.store.SampleWriter(
        tmp_path / "s.npz", count=37, num_sites=ham.num_sites, seed=0, hamiltonian=ham, has_log_q=False, q=ham.q
    ) as writer:
        writer.write(states, None, ham.energy(states))
    stored = vf.store.load_samples(tmp_path / "s.npz")
    assert np.array_equal(stored.hamiltonian.energy(stored.spins).numpy(), stored.energy.numpy())


def test_sums_over_all_states():
    """At beta = 1 / T0 the distribution is the network's own: ln Z = 0; at others its power."""
    ham = Neural(strong(SMALL["in another order"]()), 1.7)
    own = vf.exact.enumerate_states(ham, 1 / 1.7, log_prob=True)
    assert own.log_z == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        log_p = ham.net.log_prob(vf.exact.q_states(6, 3)).numpy()
    assert own.log_prob == pytest.approx(log_p, abs=1e-4)
    p = np.exp(2 * log_p) / np.exp(2 * log_p).sum()
    assert vf.exact.enumerate_states(ham, 2 / 1.7).energy == pytest.approx(-1.7 * p @ log_p, abs=1e-4)


def test_a_trained_network_predicts_other_temperatures():
    """Learnt at one temperature from samples of a Potts model; at another its chains give the true energy."""
    true = Potts(shape=(2, 3), q=3)
    p = np.exp(vf.exact.enumerate_states(true, 0.5, log_prob=True).log_prob)
    data = vf.exact.q_states(6, 3)[np.random.default_rng(1).choice(729, 40_000, p=p / p.sum())]
    net = CategoricalMADE(6, 3, (60, 60), symmetry="permutation", seed=1)
    ham = Neural(vf.fit(net, data, epochs=6, batch=500, learning_rate=5e-3, seed=1, progress=False).net, 2.0)
    for beta in (0.35, 0.7):
        chains = vf.mcmc.run(ham, beta, chains=200, sweeps=60, burn_in=20, algorithm="heat_bath", seed=1)
        found, exact = vf.mcmc.measure(chains, true), vf.exact.enumerate_states(true, beta)
        assert found.energy.value == pytest.approx(exact.energy, rel=0.03)
    assert abs(exact.energy - vf.exact.enumerate_states(true, 0.5).energy) > 0.1 * abs(exact.energy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 6), 3), r"spins must hold only the states 0 \.\. 2, found 3"),
        (np.full((2, 6), -1), "spins must hold only the states"),
        (np.full((2, 6), 0.5), "spins must hold only the states"),
        (np.zeros((2, 5)), "spins has shape"),
    ],
)
def test_wrong_states(values, message):
    ham = Neural(SMALL["three states"]())
    for what in (ham.energy, ham.differences):
        with pytest.raises(ValueError, match=message):
            what(values)


def test_what_is_made_of_spins_refuses_it():
    ham = Neural(SMALL["three states"]())
    with pytest.raises(TypeError, match="q = 3 states, enumerate takes spins"):
        vf.exact.enumerate(ham, 1.0)
    with pytest.raises(ValueError, match=r"spins|states|sites"):
        vf.Sampler(vf.networks.MADE(6), ham)
    with pytest.raises(ValueError, match=r"\+1 and -1"):
        vf.mcmc.measure(vf.mcmc.run(ham, 1.0, chains=2, sweeps=2), IsingSquare(shape=(2, 3)))


def test_exact_values_are_found_for_networks_over_states():
    ham = Neural(SMALL["three states"](), 2.0)
    assert quick_method(ham) == "enumeration"
    assert known_values(ham, 0.5).log_z == pytest.approx(0, abs=1e-5)
    assert quick_method(Neural(vf.networks.CategoricalMADE(9, 3, (4,), seed=1))) is None
