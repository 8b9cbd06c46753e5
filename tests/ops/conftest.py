"""Small networks of every kind, and Hamiltonians of every kind of energy, for the operations."""

import numpy as np
import pytest
import torch

from vanfast import hamiltonians
from vanfast.networks import MADE, BernoulliMixture, Dense, Factorised, PixelCNN

NETWORKS = {
    "conv": lambda: PixelCNN((2, 3), depth=2, width=3, half_kernel=1, z2=False),
    "conv_residual_z2": lambda: PixelCNN((3, 2), depth=4, width=3, half_kernel=1, residual=True, z2=True),
    "dense": lambda: Dense(6, depth=2, width=2, bias=False),
    "dense_residual_z2": lambda: Dense(6, depth=3, width=2, residual=True, z2=True),
    "made_ordered_z2": lambda: MADE(6, hidden=(7, 5), degrees="random", order=[4, 2, 0, 5, 1, 3], z2=True, seed=3),
    "made_relu": lambda: MADE(6, hidden=(9,), activation="relu"),
    "factorised_z2": lambda: Factorised(6, z2=True),
    "mixture": lambda: BernoulliMixture(6, components=3),
}
HAMILTONIANS = {
    "lattice": lambda: hamiltonians.IsingSquare(shape=(2, 3), coupling=[1.0, -0.5]),
    "sherrington_kirkpatrick": lambda: hamiltonians.SherringtonKirkpatrick(6, seed=4),
    "curie_weiss": lambda: hamiltonians.CurieWeiss(6, J=0.7, h=0.2),
    "pairwise": lambda: hamiltonians.Pairwise(np.ones((6, 6)) - np.eye(6), h=np.arange(6.0)),
    "hopfield": lambda: hamiltonians.Hopfield(hamiltonians.random_patterns(2, 6, seed=1)),
}
LAYERED = [name for name in NETWORKS if name not in ("factorised_z2", "mixture")]


def build(name):
    torch.manual_seed(len(name))
    net = NETWORKS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return net


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=NETWORKS)
def net(request):
    return build(request.param)


@pytest.fixture(params=LAYERED)
def layered(request):
    return build(request.param)


@pytest.fixture
def dense():
    return build("dense")


@pytest.fixture(params=HAMILTONIANS)
def ham(request):
    return HAMILTONIANS[request.param]()


@pytest.fixture
def spins():
    generator = torch.Generator().manual_seed(0)
    return (torch.randint(0, 2, (23, 6), generator=generator) * 2 - 1).to(torch.int8)
