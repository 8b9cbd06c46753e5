"""Counts, initialisation, seeds, arguments."""

import math

import pytest
import torch

from vanfast.networks import MADE, BernoulliMixture, Dense, Factorised, PixelCNN, from_config


@pytest.mark.parametrize(
    ("net", "count"),
    [
        (PixelCNN((16, 16), 3, 64, 6), 714_113),
        (PixelCNN((16, 16), 6, 64, 3, residual=True), 826_369),
        (Dense(256, 3, 4), 1_577_216),
        (Dense(256, 6, 2, residual=True), 2_366_720),
        (PixelCNN((16, 16), 1, 1, 1), 10),
        (MADE(256), 256 * 180 + 180 * 120 + 120 * 256 + 180 + 120 + 256 + 180 + 120),
        (Factorised(7), 7),
        (BernoulliMixture(7, 3), 24),
    ],
)
def test_number_of_parameters(net, count):
    assert net.num_parameters() == count


def test_number_of_active_parameters():
    assert PixelCNN(16, 1, 1, 1).num_active_parameters() == 5
    assert Dense(20, bias=False).num_active_parameters() == 190
    assert Dense(100, bias=False).num_active_parameters() == 4950
    assert Dense(20, 2, 5, bias=False).num_active_parameters() == 2000 + 100
    assert PixelCNN((8, 8), 3, 4, 2).num_active_parameters() == (4 * 12 + 4) + (16 * 13 + 4) + (4 * 13 + 1) + 8
    assert Dense(6, 3, 2, residual=True).num_active_parameters() == (30 + 12) + (24 + 12 + 12) + (84 + 12) + (
        42 + 6 + 12
    )
    assert MADE(4, hidden=(3,)).num_active_parameters() == (6 + 3) + 3 + (6 + 4)


def test_active_parameters_are_those_a_mask_leaves(layered):
    free = sum(p.numel() for name, p in layered.named_parameters() if not name.endswith("layer.weight"))
    for step in layered.stack:
        free += int((step.layer.masked_weight() != 0).sum())
    assert layered.num_active_parameters() == free


def test_initialisation_is_torchs_with_the_masking_gain():
    net = PixelCNN((8, 8), depth=2, width=64, half_kernel=3, seed=0)
    last = net.steps[1].layer
    fan_in, gain = 64 * 49, math.sqrt(49 / 25)
    open_weights = last.weight[last.mask.expand_as(last.weight) > 0]
    assert open_weights.abs().max() <= gain / math.sqrt(fan_in)
    assert open_weights.abs().max() > 0.99 * gain / math.sqrt(fan_in)
    assert net.steps[0].layer.bias.abs().max() <= 1 / 7
    dense = Dense(200, seed=0).steps[0].layer
    bound = math.sqrt(200 * 200 / (200 * 199 / 2)) / math.sqrt(200)
    assert 0.99 * bound < dense.weight.abs().max() <= bound
    assert torch.equal(dense.weight, dense.weight.tril(-1))
    # The gain keeps the variance of an unmasked layer: var = fan_in * bound^2 / 3 = 1/3 for +-1 inputs, on average.
    assert abs((dense.weight**2).sum() / 200 - 1 / 3) < 0.02
    for slope in (net.steps[1].slope, MADE(5).steps[1].slope):
        assert (slope == 0.5).all()
    assert (MADE(5, activation="relu").steps[1].slope == 0).all()
    assert all("slope" not in name for name, _ in MADE(5, activation="relu").named_parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda **seed: PixelCNN((4, 4), 3, 4, 2, residual=True, **seed),
        lambda **seed: Dense(8, 3, 2, residual=True, **seed),
        lambda **seed: MADE(8, (5,), degrees="random", **seed),
        lambda **seed: BernoulliMixture(8, 3, **seed),
        lambda **seed: Factorised(8, **seed),
    ],
)
def test_seeds(make):
    def values(net):
        return torch.cat([p.detach().ravel() for p in net.parameters()])

    state = torch.get_rng_state()
    assert torch.equal(values(make(seed=4)), values(make(seed=4)))
    assert not torch.equal(values(make(seed=4)), values(make(seed=2**64 - 1)))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(11)
    first = values(make())
    torch.manual_seed(11)
    assert torch.equal(values(make()), first)


def test_config_builds_the_same_network(net):
    twin = from_config(net.config())
    assert twin.config() == net.config()
    twin.load_state_dict(net.state_dict())
    spins = torch.ones(1, net.num_sites)
    assert torch.equal(twin.log_prob(spins), net.log_prob(spins))


@pytest.mark.parametrize(
    "config", [None, [], {}, {"class": "Unknown"}, {"class": "Dense"}, {"class": "Dense", "N": 3, "colour": 1}]
)
def test_config_errors(config):
    with pytest.raises((ValueError, TypeError), match=r"class|argument"):
        from_config(config)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PixelCNN((4, 0)), ValueError, r"shape\[1\] = 0"),
        (lambda: PixelCNN((4, 4, 4)), ValueError, "shape"),
        (lambda: PixelCNN("44"), TypeError, "shape"),
        (lambda: PixelCNN(4.0), TypeError, "shape = 4.0"),
        (lambda: PixelCNN(4, depth=0), ValueError, "depth = 0"),
        (lambda: PixelCNN(4, width=-1), ValueError, "width = -1"),
        (lambda: PixelCNN(4, half_kernel=0), ValueError, "half_kernel = 0"),
        (lambda: PixelCNN(4, residual=1), TypeError, "residual = 1"),
        (lambda: PixelCNN(4, z2="yes"), TypeError, "z2 = 'yes'"),
        (lambda: PixelCNN(4, seed=-1), ValueError, "seed = -1"),
        (lambda: PixelCNN(4, seed=2**64), ValueError, "seed"),
        (lambda: Dense(0), ValueError, "N = 0"),
        (lambda: Dense(True), TypeError, "N = True"),
        (lambda: Dense(4, depth=1.5), TypeError, "depth = 1.5"),
        (lambda: Dense(4, bias=None), TypeError, "bias = None"),
        (lambda: MADE(4, hidden=(3, 0)), ValueError, r"hidden\[1\] = 0"),
        (lambda: MADE(4, hidden=5), TypeError, "hidden = 5"),
        (lambda: MADE(4, degrees="even"), ValueError, "degrees = 'even'"),
        (lambda: MADE(4, hidden=(2,), degrees=[[1]]), ValueError, "degrees"),
        (lambda: MADE(4, hidden=(2,), degrees=[[1, 4]]), ValueError, r"degrees\[0\] holds 4"),
        (lambda: MADE(4, order=[0, 1, 2, 2]), ValueError, "order"),
        (lambda: MADE(4, order=[0, 1, 2]), ValueError, "order"),
        (lambda: MADE(4, activation="tanh"), ValueError, "activation = 'tanh'"),
        (lambda: Factorised(-3), ValueError, "N = -3"),
        (lambda: BernoulliMixture(4, components=0), ValueError, "components = 0"),
    ],
)
def test_arguments_out_of_range(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_shape_may_be_one_side():
    assert PixelCNN(5).shape == (5, 5)
    assert PixelCNN([3, 7]).shape == (3, 7)
    assert PixelCNN(torch.Size([3, 7])).num_sites == 21
