"""Small networks of every kind, with parameters far from their special initial values."""

import itertools

import numpy as np
import pytest
import torch

from vanfast.hamiltonians import CurieWeiss, EdwardsAnderson, Pairwise, SherringtonKirkpatrick
from vanfast.networks import (
    MADE,
    SK,
    BernoulliMixture,
    CurieWeissInf,
    CurieWeissN,
    Dense,
    ExactH2,
    Factorised,
    OneParameter,
    PixelCNN,
)

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


def random_pairs(N, seed=0):
    """A system with couplings of all sizes, and fields."""
    rng = np.random.default_rng(seed)
    J = np.triu(rng.normal(0, N**-0.5, (N, N)), 1)
    return Pairwise(J + J.T, rng.normal(0, 0.5, N))


NESTED = {
    "sk_rs": lambda: SK(random_pairs(9), 0.8, k=0),
    "sk_1rsb": lambda: SK(random_pairs(8), 0.8),
    "sk_3rsb": lambda: SK(random_pairs(6), 1.3, k=3, dtype=torch.float64),
    "sk_small_z2": lambda: SK(SherringtonKirkpatrick(7), 0.8, k=2, start="small", z2=True),
    "sk_sparse": lambda: SK(EdwardsAnderson((3, 3), seed=2, boundary="open"), 0.7, sparse=True),
    "sk_learnt": lambda: SK(random_pairs(7), 0.8, learn_couplings=True),
    "sk_learnt_small": lambda: SK(SherringtonKirkpatrick(5), 1.0, k=0, start="small", learn_couplings=True, z2=True),
    "sk_one_site": lambda: SK(random_pairs(1), 0.8),
    "sk_two_sites": lambda: SK(random_pairs(2), 0.8),
}
OF_THE_MAGNETIZATION = {
    "one_parameter": lambda: OneParameter(8),
    "curie_weiss_inf": lambda: CurieWeissInf(9, beta=1.4),
    "curie_weiss_inf_one_site": lambda: CurieWeissInf(1),
}
FIXED = {
    "curie_weiss_n": lambda: CurieWeissN(CurieWeiss(9, J=1.1, h=0.2), 1.2),
    "curie_weiss_one_site": lambda: CurieWeissN(CurieWeiss(1, h=-0.3), 0.7),
    "exact_h2": lambda: ExactH2(random_pairs(9), 1.2),
    "exact_h2_one_site": lambda: ExactH2(random_pairs(1), 1.2),
}
LAYERED = CONVOLUTIONS | MASKED
NETWORKS = LAYERED | MIXTURES
H2ARNN = NESTED | OF_THE_MAGNETIZATION
TRAINED = NETWORKS | H2ARNN
ALL = TRAINED | FIXED


def build(name):
    torch.manual_seed(sum(map(ord, name)))
    net = ALL[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return net


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    torch.set_num_threads(1)


@pytest.fixture(params=ALL)
def net(request):
    return build(request.param)


@pytest.fixture(params=TRAINED)
def trained(request):
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
