"""Networks whose sizes are multiples of nothing: lanes are 32, panels 8 rows, tiles 16, blocks of sites 8 to 32."""

import pytest
import torch

from vanfast.networks import MADE, BernoulliMixture, Dense, Factorised, PixelCNN

NETWORKS = {
    "conv_depth_1": lambda: PixelCNN((4, 5), depth=1, width=1, half_kernel=1, z2=False),
    "conv_depth_2": lambda: PixelCNN((3, 7), depth=2, width=9, half_kernel=2, z2=False),
    "conv": lambda: PixelCNN((5, 7), depth=3, width=17, half_kernel=2, z2=False),
    "conv_z2": lambda: PixelCNN((5, 3), depth=4, width=5, half_kernel=1, z2=True),
    "conv_residual": lambda: PixelCNN((6, 4), depth=5, width=11, half_kernel=3, residual=True, z2=False),
    "conv_residual_z2_no_bias": lambda: PixelCNN((4, 6), 4, 8, 1, residual=True, bias=False, z2=True),
    "conv_wide": lambda: PixelCNN((4, 4), depth=3, width=64, half_kernel=6, z2=False),
    "conv_one_site": lambda: PixelCNN((1, 1), depth=3, width=2, half_kernel=2, z2=True),
    "conv_one_row": lambda: PixelCNN((1, 33), depth=3, width=3, half_kernel=4, z2=False),
    "conv_one_column": lambda: PixelCNN((31, 1), depth=3, width=3, half_kernel=2, z2=False),
    "dense_one_layer": lambda: Dense(100),
    "dense_one_layer_z2": lambda: Dense(31, z2=True),
    "dense": lambda: Dense(33, depth=3, width=4),
    "dense_wide": lambda: Dense(17, depth=4, width=13),
    "dense_residual": lambda: Dense(20, depth=6, width=2, residual=True),
    "dense_no_bias": lambda: Dense(64, depth=2, width=1, bias=False),
    "dense_one_site": lambda: Dense(1, depth=3, width=2),
    "made": lambda: MADE(31, hidden=(40, 23)),
    "made_random_ordered": lambda: MADE(37, (70, 9), "random", order=torch.randperm(37).tolist(), z2=True, seed=3),
    "made_relu": lambda: MADE(10, hidden=(130,), activation="relu", bias=False),
    "factorised": lambda: Factorised(35),
    "mixture": lambda: BernoulliMixture(33, components=5),
    "mixture_z2": lambda: BernoulliMixture(12, components=3, z2=True),
}


def build(name: str):
    torch.manual_seed(sum(map(ord, name)))
    net = NETWORKS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


MIXTURES = ("factorised", "mixture", "mixture_z2")


@pytest.fixture(params=NETWORKS)
def net(request):
    return build(request.param)


@pytest.fixture(params=[name for name in NETWORKS if name not in MIXTURES])
def layered_net(request):
    """A network of linear layers: with products to round, and with a backward pass in the engine."""
    return build(request.param)
