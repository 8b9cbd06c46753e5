"""Small networks of every kind, with parameters far from their special initial values."""

import itertools

import pytest
import torch

from vanfast.networks import MADE, BernoulliMixture, Dense, Factorised, PixelCNN

CONVOLUTIONS = {
    "conv": lambda: PixelCNN((3, 3), depth=2, width=3, half_kernel=1, z2=False),
    "conv_z2": lambda: PixelCNN((2, 5), depth=3, width=4, half_kernel=2, z2=True),
    "conv_residual": lambda: PixelCNN((3, 3), depth=4, width=3, half_kernel=1, residual=True, z2=False),
    "conv_residual_z2_no_bias": lambda: PixelCNN((4, 2), 5, 2, 1, residual=True, bias=False, z2=True),
    "conv_depth_1": lambda: PixelCNN((3, 4), depth=1, width=7, half_kernel=1, z2=False),
    "conv_width_1": lambda: PixelCNN((3, 3), depth=3, width=1, half_kernel=1, z2=True),
    "conv_one_site": lambda: PixelCNN((1, 1), depth=3, width=2, half_kernel=2, z2=False),
    "conv_one_row": lambda: PixelCNN((1, 5), depth=2, width=3, half_kernel=2, z2=False),
    "conv_one_column": lambda: PixelCNN((5, 1), depth=2, width=3, half_kernel=1, z2=True),
    "conv_kernel_past_lattice": lambda: PixelCNN((3, 2), depth=3, width=3, half_kernel=6, residual=True, z2=False),
}
MASKED = {
    "dense_one_layer": lambda: Dense(10),
    "dense": lambda: Dense(9, depth=3, width=4, z2=True),
    "dense_width_1": lambda: Dense(7, depth=3, width=1),
    "dense_no_bias": lambda: Dense(8, depth=2, width=3, bias=False),
    "dense_residual": lambda: Dense(8, depth=5, width=2, residual=True),
    "dense_residual_no_bias_z2": lambda: Dense(7, depth=3, width=3, residual=True, bias=False, z2=True),
    "dense_one_site": lambda: Dense(1, depth=3, width=2),
    "dense_two_sites": lambda: Dense(2, depth=2, width=2, z2=True),
    "made": lambda: MADE(9, hidden=(13, 7)),
    "made_random_ordered": lambda: MADE(8, (17, 9), "random", order=[5, 2, 7, 0, 1, 6, 3, 4], z2=True, seed=3),
    "made_relu": lambda: MADE(10, hidden=(30,), activation="relu", bias=False),
    "made_no_hidden": lambda: MADE(6, hidden=(), order=[3, 0, 5, 1, 4, 2]),
    "made_width_1": lambda: MADE(5, hidden=(1, 1), z2=True),
    "made_one_site": lambda: MADE(1, hidden=(4,)),
}
MIXTURES = {
    "factorised": lambda: Factorised(8),
    "factorised_z2": lambda: Factorised(5, z2=True),
    "mixture": lambda: BernoulliMixture(9, components=4),
    "mixture_z2": lambda: BernoulliMixture(6, components=3, z2=True),
    "mixture_one_site": lambda: BernoulliMixture(1, components=2),
}
LAYERED = CONVOLUTIONS | MASKED
NETWORKS = LAYERED | MIXTURES


def build(name):
    torch.manual_seed(sum(map(ord, name)))
    net = NETWORKS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return net


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    torch.set_num_threads(1)


@pytest.fixture(params=NETWORKS)
def net(request):
    return build(request.param)


@pytest.fixture(params=LAYERED)
def layered(request):
    return build(request.param)


@pytest.fixture(params=[*CONVOLUTIONS])
def conv(request):
    return build(request.param)


@pytest.fixture(params=[*MASKED])
def masked(request):
    return build(request.param)


@pytest.fixture
def all_states():
    def states(num_sites):
        return torch.tensor(list(itertools.product((1, -1), repeat=num_sites)), dtype=torch.int8)

    return states


@pytest.fixture
def random_spins():
    def spins(count, num_sites, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return (torch.randint(0, 2, (count, num_sites), generator=generator) * 2 - 1).to(torch.int8)

    return spins
