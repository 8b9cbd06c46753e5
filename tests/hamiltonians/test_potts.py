"""Potts energies against loops, Ising's, and enumeration; configurations and what is refused."""

import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

import vanfast as vf
from vanfast.exact import enumerate_states, q_states
from vanfast.hamiltonians import EdwardsAnderson, IsingSquare, IsingTriangular, Pairwise, Potts, from_config, from_name


def by_loops(ham, states):
    energy = np.zeros(len(states))
    for n, s in enumerate(states):
        for (i, j), J in zip(ham.edges, ham.couplings, strict=True):
            energy[n] -= J * (s[i] == s[j])
        energy[n] -= sum(ham.state_fields[k] for k in s)
    return energy


def random_pairs(N):
    J = np.triu(np.random.default_rng(N).normal(size=(N, N)), 1)
    return J + J.T


SYSTEMS = {
    "square": lambda: Potts(5, q=3),
    "open_rectangle": lambda: Potts(
        shape=(3, 7), q=4, coupling=-0.5, boundary=["open", "periodic"], field=[0, 1, -2, 0.5]
    ),
    "chain": lambda: Potts(shape=(33,), q=7, coupling=2.0),
    "cubic": lambda: Potts(shape=(2, 3, 4), q=2, coupling=[1.0, 0.5, -1.0]),
    "dense": lambda: Potts.on(Pairwise(random_pairs(17)), q=5),
    "sparse": lambda: Potts.on(Pairwise(scipy.sparse.csr_array(random_pairs(6))), q=3, field=[0.1, 0.2, 0.3]),
    "glass": lambda: Potts.on(EdwardsAnderson((4, 4), seed=3), q=127),
    "triangular": lambda: Potts.on(IsingTriangular(4), q=3),
    "no_bonds": lambda: Potts(1, q=2),
}


@pytest.fixture(params=SYSTEMS)
def ham(request):
    return SYSTEMS[request.param]()


@pytest.mark.parametrize("count", [0, 1, 63, 130])
def test_energies_are_the_sum_over_bonds(ham, count):
    states = np.random.default_rng(count).integers(0, ham.q, (count, ham.num_sites)).astype(np.int8)
    energy = ham.energy(states, threads=2)
    assert energy.dtype == np.float64
    np.testing.assert_allclose(energy, by_loops(ham, states), rtol=1e-13, atol=1e-12)
    assert np.array_equal(ham.energy(states.astype(np.float32).reshape(-1, *ham.shape)), energy)
    tensor = ham.energy(torch.from_numpy(states))
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), energy)
    for cut in (7, 64):
        parts = [ham.energy(states[n : n + cut]) for n in range(0, count, cut)]
        assert np.array_equal(np.concatenate([*parts, []]), energy)


def test_more_equal_bonds_than_a_byte_counts():
    ham = Potts(40, q=3)
    assert ham.energy(np.ones((3, 1600), np.int8)).tolist() == [-3200.0] * 3


@pytest.mark.parametrize("field", [None, [0.3, -0.4]])
def test_two_states_are_ising_spins(field):
    """[s = t] = (1 + s t) / 2, so J becomes J / 2 and the energy moves by half of all couplings."""
    h = 0.0 if field is None else (field[1] - field[0]) / 2
    ising = IsingSquare(shape=(3, 4), coupling=[0.5, -0.35], field=h)
    potts = Potts(shape=(3, 4), q=2, coupling=[1.0, -0.7], field=field)
    spins = vf.exact.states(12)[::7]
    shift = potts.couplings.sum() / 2 + (0.0 if field is None else 12 * sum(field) / 2)
    np.testing.assert_allclose(potts.energy((spins + 1) // 2), ising.energy(spins) - shift, atol=1e-12)
    a, b = vf.exact.enumerate(ising, 0.9), enumerate_states(potts, 0.9, log_prob=True)
    assert b.log_z == pytest.approx(a.log_z + 0.9 * shift, rel=1e-12)
    assert b.energy == pytest.approx(a.energy - shift, rel=1e-12)
    for name in ("entropy", "heat_capacity"):
        assert getattr(b, name) == pytest.approx(getattr(a, name), rel=1e-10)
    np.testing.assert_allclose(b.marginal[:, 1] - b.marginal[:, 0], a.magnetization, atol=1e-12)
    np.testing.assert_allclose(2 * b.agreement - 1, a.correlation, atol=1e-12)
    assert b.ground_energy == pytest.approx(a.ground_energy - shift)


def test_chain_in_closed_form():
    """Z of a ring: (e^b + q - 1)^N + (q - 1) (e^b - 1)^N."""
    q, N, beta = 4, 9, 0.8
    found = enumerate_states(Potts(shape=(N,), q=q), beta, log_prob=True)
    z = (np.exp(beta) + q - 1) ** N + (q - 1) * (np.exp(beta) - 1) ** N
    assert found.log_z == pytest.approx(np.log(z), rel=1e-13)
    assert np.exp(found.log_prob).sum() == pytest.approx(1, abs=1e-12)
    assert found.ground_energy == -N
    np.testing.assert_allclose(found.marginal, 1 / q, atol=1e-13)
    assert set(found.to_json()) >= {"log_z", "energy_per_site"}


def test_enumeration_in_pieces_with_weights_of_the_states():
    ham = Potts(shape=(11,), q=3, field=[0.5, 0.0, -0.2], boundary="open")  # 177147 states, three pieces
    found = enumerate_states(ham, 1.1, log_prob=True)
    states = q_states(11, 3)
    p = np.exp(found.log_prob)
    assert len(states) == len(p) == 3**11
    np.testing.assert_allclose([(p @ (states == k)) for k in range(3)], found.marginal.T, rtol=1e-10)
    np.testing.assert_allclose(p @ (states[:, 2] == states[:, 7]), found.agreement[2, 7], rtol=1e-10)
    assert found.energy == pytest.approx(p @ ham.energy(states), rel=1e-12)
    assert found.entropy == pytest.approx(-(p @ found.log_prob), rel=1e-12)


def test_rebuilt_from_its_config(ham):
    import json

    config, arrays = json.loads(json.dumps(ham.config())), ham.arrays()
    again = from_config(config, arrays)
    assert type(again) is Potts
    assert (again.q, again.shape) == (ham.q, ham.shape)
    states = np.random.default_rng(0).integers(0, ham.q, (9, ham.num_sites))
    ham.energy(states)
    for other in (again, pickle.loads(pickle.dumps(ham))):
        assert np.array_equal(other.energy(states), ham.energy(states))
    assert again.config() == ham.config()
    assert repr(ham.q) in ham.describe()


def test_by_name():
    assert from_name("potts", L=4, q=5, coupling=2.0).energy(np.zeros((1, 16))).tolist() == [-64.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either L or shape"),
        ({"L": 3, "shape": (3, 3)}, "give either L or shape"),
        ({"L": 0}, "L must be an integer of at least 1"),
        ({"L": 3, "q": 1}, "q must be an integer of at least 2, not 1"),
        ({"L": 3, "q": 128}, "q must be at most 127"),
        ({"L": 3, "q": 3, "field": [1, 2]}, r"field has shape \[2\], expected \[3\]"),
        ({"L": 3, "q": 2, "field": [1, np.nan]}, "field must be finite"),
        ({"L": 3, "coupling": np.inf}, "coupling must be finite"),
        ({"L": 3, "boundary": "free"}, "boundary must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Potts(**arguments)


def test_bad_configurations_and_misuse(tmp_path):
    ham = Potts(2, q=3)
    with pytest.raises(ValueError, match=r"states 0 .. 2, found 3 at configuration 1, site 2"):
        ham.energy(np.array([[0, 1, 2, 0], [0, 0, 3, 0]], dtype=np.int8))
    with pytest.raises(ValueError, match=r"found -1\.0 at configuration 0, site 3"):
        ham.energy(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    with pytest.raises(ValueError, match="threads must be at least 1"):
        ham.energy(np.zeros((1, 4)), threads=0)
    with pytest.raises(TypeError, match="system must be"):
        Potts.on(np.zeros((3, 3)))
    for use in (
        lambda: vf.exact.enumerate(ham, 1.0),
        lambda: vf.networks.ExactH2(ham, 1.0),
        lambda: vf.networks.Dense(4, prior="star", ham=ham, beta=1.0),
        lambda: vf.hamiltonians.save(ham, tmp_path / "potts.txt"),
        lambda: vf.exact.naive_mean_field(ham, 1.0),
    ):
        with pytest.raises(TypeError, match=r"has sites of q = 3 states.* takes spins \+-1 only"):
            use()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"at most 2\*\*24 configurations, 16 sites of 3 states"):
        enumerate_states(Potts(4, q=3), 1.0)
    with pytest.raises(ValueError, match="beta must be positive"):
        enumerate_states(ham, 0.0)
