"""A network as a Hamiltonian: energies, differences of flips, what it shares with other systems and what not."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.mcmc.systems import strong
from tests.mcmc.test_masked import MASKED, SMALL
from vanfast.hamiltonians import IsingSquare, Neural

NETS = {**MASKED, **SMALL, "in order": lambda: vf.networks.MADE(9, (5,), order=[4, 0, 8, 2, 6, 1, 7, 3, 5], seed=1)}


def some_spins(num_sites, count=45, seed=0):
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), (count, num_sites))


@pytest.mark.parametrize("name", NETS)
def test_energy(name):
    net = strong(NETS[name]())
    ham = Neural(net, 1.7)
    spins = some_spins(net.num_sites)
    with torch.no_grad():
        expected = -1.7 * net.double().log_prob(spins).numpy()
    assert ham.num_sites == net.num_sites
    np.testing.assert_allclose(ham.energy(spins), expected, rtol=2e-6, atol=2e-5)
    assert np.array_equal(ham.energy(spins[:7], threads=1), ham.energy(spins)[:7])
    as_tensor = ham.energy(torch.from_numpy(spins).reshape(-1, *ham.shape))
    assert as_tensor.dtype == torch.float64
    assert np.array_equal(as_tensor.numpy(), ham.energy(spins))
    assert ham.energy(spins[:0]).shape == (0,)
    assert ham.energy(spins[0]).shape == (1,)


@pytest.mark.parametrize("name", NETS)
def test_differences_of_single_flips(name):
    net = strong(NETS[name]())
    ham = Neural(net, 0.6)
    spins = some_spins(net.num_sites, 37)
    with torch.no_grad():
        exact = -0.6 * net.double().log_prob(spins).numpy()
        turned = np.repeat(spins[:, None], net.num_sites, 1) * (1 - 2 * np.eye(net.num_sites, dtype=np.int8))
        expected = -0.6 * net.log_prob(turned.reshape(-1, net.num_sites)).numpy().reshape(37, -1) - exact[:, None]
    found = ham.differences(spins)
    assert found.shape == (37, net.num_sites)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=5e-5)
    assert np.array_equal(ham.differences(spins[:3], threads=1), found[:3])
    walkers = ham.incremental(spins)
    for site in {0, net.num_sites // 2, net.num_sites - 1}:
        np.testing.assert_allclose(walkers.difference(site), expected[:, site], rtol=2e-6, atol=5e-5)
    where = spins[:, 0] > 0
    walkers.flip(0, where)
    assert np.array_equal(walkers.energy, ham.energy(walkers.spins))
    assert np.array_equal(walkers.spins[:, 0], np.where(where, -spins[:, 0], spins[:, 0]))
    assert np.array_equal(walkers.spins[:, 1:], spins[:, 1:])


@pytest.mark.parametrize("isa", vf._cpu.isas())
def test_differences_on_every_instruction_set(isa):
    from vanfast.networks.plan import layer_arrays

    net = strong(vf.networks.MADE(41, (30, 19), seed=1))
    spins = some_spins(41, 70)
    plan = net.plan()
    found = vf._cpu.flip_changes(41, layer_arrays(plan), None, False, spins, 2, isa)
    with torch.no_grad():
        net.double()
        for site in range(41):
            turned = spins.copy()
            turned[:, site] *= -1
            exact = (net.log_prob(turned) - net.log_prob(spins)).numpy()
            np.testing.assert_allclose(found[:, site], exact, rtol=3e-6, atol=5e-5)


def test_it_is_a_copy():
    net = vf.networks.MADE(6, (4,), seed=1)
    ham, spins = Neural(net), some_spins(6)
    before = ham.energy(spins)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    assert np.array_equal(ham.energy(spins), before)
    assert not any(parameter.requires_grad for parameter in ham.net.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize(
    "name", ["made wide", "dense blocks", "pixelcnn", "sk", "mixture", "prior", "float64", "in order"]
)
def test_it_is_described_and_stored(name, tmp_path):
    ham = Neural(strong(NETS[name]()), 2.5)
    spins = some_spins(ham.num_sites)
    config = json.loads(json.dumps(ham.config()))
    again = vf.hamiltonians.from_config(config, ham.arrays())
    assert isinstance(again, Neural)
    assert (again.T0, again.shape, again.config()) == (2.5, ham.shape, ham.config())
    assert np.array_equal(again.energy(spins), ham.energy(spins))
    for twin in (copy.deepcopy(ham), pickle.loads(pickle.dumps(ham))):
        assert np.array_equal(twin.energy(spins), ham.energy(spins))
    assert type(ham.net).__name__ in ham.describe()
    assert "T0=2.5" in repr(ham)
    with vf.store.SampleWriter(
        tmp_path / "s.npz", count=45, num_sites=ham.num_sites, seed=0, hamiltonian=ham, has_log_q=False
    ) as writer:
        writer.write(spins, None, ham.energy(spins))
    stored = vf.store.load_samples(tmp_path / "s.npz")
    assert np.array_equal(stored.hamiltonian.energy(stored.spins).numpy(), stored.energy.numpy())


def test_shape_and_symmetry():
    ham = Neural(vf.networks.MADE(12, (5,), z2=True, seed=1), shape=(3, 4))
    assert (ham.shape, ham.is_z2_symmetric, ham.is_pairwise) == ((3, 4), True, False)
    spins = some_spins(12)
    np.testing.assert_allclose(ham.energy(-spins), ham.energy(spins), atol=1e-6)
    assert not Neural(vf.networks.MADE(12, seed=1)).is_z2_symmetric
    assert Neural(vf.networks.PixelCNN((2, 3), 2, 2, 2, seed=1)).shape == (2, 3)


@pytest.mark.parametrize("name", ["edges", "couplings", "fields", "num_edges", "native"])
def test_it_has_no_pairs(name):
    with pytest.raises(AttributeError, match="not made of pairs"):
        getattr(Neural(vf.networks.MADE(4, seed=1)), name)


def test_what_needs_pairs_refuses_it(tmp_path):
    ham = Neural(vf.networks.MADE(4, seed=1))
    for what in (lambda: vf.exact.tap(ham, 1.0), lambda: vf.exact.transfer_matrix(ham, 1.0), ham.to_dense):
        with pytest.raises(AttributeError, match="not made of pairs"):
            what()
    with pytest.raises(TypeError, match="ham must be made of pairs to be written, got Neural"):
        vf.hamiltonians.save(ham, tmp_path / "j.txt")
    assert list(tmp_path.iterdir()) == []


def broken():
    net = vf.networks.MADE(4, seed=1)
    next(net.parameters()).data[0, 0] = float("nan")
    return net


def overflowing():
    net = vf.networks.MADE(4, (3,), seed=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1e30)
    return net


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: vf.mcmc.run(Neural(overflowing()), 1.0, chains=2, sweeps=1),
            FloatingPointError,
            "activations overflow",
        ),
        (lambda: Neural(IsingSquare(L=2)), TypeError, "net must be a vanfast.networks.Network, got IsingSquare"),
        (lambda: Neural(vf.networks.MADE(4), 0.0), ValueError, "T0 must be positive, not 0.0"),
        (lambda: Neural(vf.networks.MADE(4), -1), ValueError, "T0 must be positive"),
        (lambda: Neural(vf.networks.MADE(4), float("nan")), ValueError, "T0 must be finite"),
        (lambda: Neural(vf.networks.MADE(4), "hot"), TypeError, "T0 must hold real numbers"),
        (lambda: Neural(vf.networks.MADE(4), shape=(2, 3)), ValueError, r"shape \(2, 3\) has 6 sites, but net has 4"),
        (lambda: Neural(broken()), FloatingPointError, "not finite"),
        (lambda: Neural(vf.networks.MADE(4)).energy(np.zeros((2, 4))), ValueError, r"only \+1 and -1"),
        (lambda: Neural(vf.networks.MADE(4)).energy(np.ones((2, 5))), ValueError, "spins has shape"),
        (lambda: Neural(vf.networks.MADE(4)).energy(np.ones((2, 4)), threads=0), ValueError, "threads must be"),
        (lambda: Neural(vf.networks.MADE(4)).differences(np.ones((2, 5))), ValueError, "spins has shape"),
        (lambda: Neural(vf.networks.MADE(4)).differences(np.ones(4), threads=0), ValueError, "threads must be"),
        (
            lambda: vf.hamiltonians.from_config({"class": "Neural", "network": {"class": "MADE", "N": 3}, "T0": 1.0}),
            ValueError,
            "does not fit its arrays",
        ),
        (lambda: vf.hamiltonians.from_config({"class": "Neural", "T0": 1.0}), ValueError, "'class' is one of"),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_sampling_and_training_on_it(tmp_path):
    """Energies beside samples, and variational training: at beta = 1 / T0 the free energy is 0 and p is the answer."""
    ham = Neural(strong(vf.networks.MADE(8, (6,), seed=1), scale=0.4), 2.5)
    net = vf.networks.MADE(8, (16,), seed=2)
    batch = vf.Sampler(net, ham).sample(50, seed=1)
    assert np.array_equal(batch.energy.numpy(), ham.energy(batch.spins.numpy()))
    slow = vf.Sampler(vf.networks.MADE(8, (16,), seed=2), ham, backend="reference").sample(50, seed=1)
    assert np.array_equal(slow.energy.numpy(), ham.energy(slow.spins.numpy()))
    trained = vf.train(net, ham, beta=0.4, steps=300, batch=300, seed=0, learning_rate=0.01, out=tmp_path / "run")
    states = vf.exact.states(8)
    with torch.no_grad():
        log_q = trained.net.log_prob(states).numpy()
    divergence = float(np.exp(log_q) @ (log_q - ham.log_prob(states).numpy()))
    assert 0 <= divergence < 0.02
    assert trained.history[0].loss > 0.1
    again = vf.train(
        vf.networks.MADE(8, (16,), seed=2),
        ham,
        beta=0.4,
        steps=300,
        batch=300,
        seed=0,
        learning_rate=0.01,
        out=tmp_path / "run",
        resume=True,
    )
    assert again.step == 300
    assert isinstance(again.hamiltonian, Neural)


def test_the_exact_network_draws_the_true_system():
    """A network that is the Boltzmann distribution: its Hamiltonian is the true one but for a constant, at any beta."""
    true = IsingSquare(L=3)
    ham = Neural(vf.networks.ExactH2(true, 0.3), 1 / 0.3, shape=(3, 3))
    spins = some_spins(9)
    constant = ham.energy(spins) - true.energy(spins)
    assert np.ptp(constant) < 1e-5
    chains = vf.mcmc.run(ham, 0.45, chains=300, sweeps=60, burn_in=30, thin=3, algorithm="heat_bath", seed=1)
    found, exact = vf.mcmc.measure(chains, true), vf.exact.enumerate(true, 0.45)
    assert abs(found.energy.value - exact.energy) < 4 * found.energy.error
    assert abs(found.heat_capacity.value - exact.heat_capacity) < 4 * found.heat_capacity.error
    own = vf.mcmc.measure(chains)
    assert own.energy.value == pytest.approx(found.energy.value + constant.mean(), abs=1e-4)
    assert own.abs_magnetization == found.abs_magnetization
    with pytest.raises(ValueError, match="spins has shape"):
        vf.mcmc.measure(chains, IsingSquare(L=4))
