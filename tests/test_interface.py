"""The interface that users and outside checks rely on: names and arguments may be added, not lost."""

import inspect

import numpy as np
import pytest
import torch

import vanfast as vf

NEEDED = object()
# Promised arguments in their order, with their defaults; NEEDED: no default is promised.
PROMISED = {
    "hamiltonians.IsingSquare": {"L": NEEDED, "coupling": 1.0, "boundary": "periodic", "shape": NEEDED},
    "hamiltonians.IsingTriangular": {"L": NEEDED, "coupling": 1.0, "boundary": "periodic", "shape": NEEDED},
    "hamiltonians.IsingCubic": {"L": NEEDED, "coupling": 1.0, "boundary": "periodic", "shape": NEEDED},
    "hamiltonians.Pairwise": {"J": NEEDED, "h": None},
    "hamiltonians.load": {"path": NEEDED},
    "hamiltonians.SherringtonKirkpatrick": {"N": NEEDED, "seed": 1},
    "hamiltonians.Hopfield": {"patterns": NEEDED},
    "hamiltonians.CurieWeiss": {"N": NEEDED, "J": 1, "h": 0},
    "hamiltonians.EdwardsAnderson": {"shape": NEEDED, "disorder": NEEDED, "seed": 0},
    "networks.PixelCNN": {
        **{"shape": NEEDED, "depth": NEEDED, "width": NEEDED, "half_kernel": NEEDED},
        **{"residual": False, "bias": True, "z2": True},
    },
    "networks.Dense": {"N": NEEDED, "depth": 1, "width": 1, "residual": False, "bias": True, "z2": False},
    "networks.MADE": {"N": NEEDED, "hidden": NEEDED},
    "networks.CategoricalMADE": {"N": NEEDED, "q": NEEDED, "hidden": (180, 120), "order": None, "symmetry": None},
    "hamiltonians.Potts": {"L": NEEDED, "q": 3, "coupling": 1.0, "boundary": "periodic", "shape": NEEDED},
    "observables.block_sums": {"spins": NEEDED, "shape": NEEDED, "block": 2, "stride": 1},
    "networks.ExactH2": {"ham": NEEDED, "beta": NEEDED},
    "networks.CurieWeissN": {"ham": NEEDED, "beta": NEEDED},
    "networks.CurieWeissInf": {"N": NEEDED},
    "networks.OneParameter": {"N": NEEDED},
    "networks.SK": {"ham": NEEDED, "beta": NEEDED, "k": 1, "start": "physics"},
    "networks.SK.at": {"beta": NEEDED},
    "Sampler": {"net": NEEDED, "ham": None, "backend": "auto", "precision": "fp32", "threads": None},
    "Sampler.sample": {"count": NEEDED, "seed": 0, "first": 0},
    "train": {"net": NEEDED, "ham": NEEDED, "beta": NEEDED, "steps": 1000, "batch": 1000, "seed": 0},
    "load": {"path": NEEDED},
    "exact.kaufman": {"L": NEEDED, "beta": NEEDED},
    "exact.enumerate": {"ham": NEEDED, "beta": NEEDED},
}
BY_KEYWORD = {
    *("hamiltonians.IsingSquare", "hamiltonians.IsingTriangular", "hamiltonians.IsingCubic"),
    *("hamiltonians.Potts", "networks.CategoricalMADE"),
}
BY_POSITION = {"hamiltonians.load", "load"}  # the promise does not name their argument


@pytest.mark.parametrize("name", PROMISED)
def test_arguments(name):
    target = vf
    for step in name.split("."):
        target = getattr(target, step)
    parameters = {key: value for key, value in inspect.signature(target).parameters.items() if key != "self"}
    promised = PROMISED[name]
    if name in BY_POSITION:
        promised = dict(zip(parameters, promised.values(), strict=False))
    assert {*promised} <= {*parameters}
    for argument, default in promised.items():
        assert default is NEEDED or parameters[argument].default == default, argument
    positional = [key for key, value in parameters.items() if value.kind is not value.KEYWORD_ONLY]
    assert name in BY_KEYWORD or positional[: len(promised)] == [*promised]
    added = [value for key, value in parameters.items() if key not in promised]
    assert all(value.default is not value.empty for value in added), "an added argument must have a default"


def test_the_example_of_the_design(tmp_path):
    ham = vf.hamiltonians.IsingSquare(L=4, coupling=1.0, boundary="periodic")
    assert (ham.num_sites, ham.shape) == (16, (4, 4))
    assert vf.hamiltonians.IsingSquare(shape=(3, 5)).shape == (3, 5)
    assert ham.energy(torch.ones(2, 16, dtype=torch.int8)).tolist() == [-32.0, -32.0]

    net = vf.networks.PixelCNN(shape=(4, 4), depth=3, width=4, half_kernel=2, residual=False, bias=True, z2=True)
    assert net.num_parameters() == 617  # full 5 x 5 kernels, biases and slopes
    batch = vf.Sampler(net, ham, backend="auto", precision="fp32", threads=None).sample(50, seed=0, first=0)
    assert batch.spins.dtype == torch.int8
    assert batch.spins.shape == (50, 16)
    assert batch.log_q.dtype == batch.energy.dtype == torch.float64
    assert batch.log_q.shape == batch.energy.shape == (50,)
    assert torch.equal(batch.energy, ham.energy(batch.spins))
    log_prob = net.log_prob(batch.spins)
    assert log_prob.requires_grad
    torch.testing.assert_close(log_prob.detach(), batch.log_q, rtol=1e-5, atol=1e-5)

    run = vf.train(net, ham, beta=0.44, steps=3, batch=20, seed=0)
    assert run is not None
    exact = vf.exact.kaufman(4, 0.44)
    counted = vf.exact.enumerate(ham, 0.44)
    for name in ("log_z", "energy", "heat_capacity"):
        assert getattr(exact, name) == pytest.approx(getattr(counted, name), rel=1e-12)
    assert counted.magnetization.shape == (16,)
    assert counted.correlation.shape == (16, 16)


def test_every_other_system_and_network(tmp_path):
    couplings = tmp_path / "couplings.txt"
    couplings.write_text("0 1 1.0\n1 2 -1.0\n")
    J = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
    systems = [
        vf.hamiltonians.load(str(couplings)),
        vf.hamiltonians.Pairwise(J, h=None),
        vf.hamiltonians.IsingTriangular(L=3, coupling=-1.0),
        vf.hamiltonians.IsingCubic(L=2),
        vf.hamiltonians.SherringtonKirkpatrick(5, seed=1),
        vf.hamiltonians.Hopfield([[1, -1, 1, 1]]),
        vf.hamiltonians.CurieWeiss(4, J=1, h=0),
        vf.hamiltonians.EdwardsAnderson((3, 3), disorder="pm", seed=0),
        vf.hamiltonians.EdwardsAnderson((3, 3), disorder="gaussian"),
    ]
    for ham in systems:
        N = ham.num_sites
        for net in (vf.networks.Dense(N), vf.networks.MADE(N, hidden=(18, 12))):
            batch = vf.Sampler(net, ham).sample(7)
            assert batch.energy.tolist() == ham.energy(batch.spins).tolist()
    assert np.array_equal(systems[0].to_dense(), J)
