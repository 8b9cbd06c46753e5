"""Every network is a normalised autoregressive distribution, and its log_prob is differentiable."""

import math

import numpy as np
import pytest
import torch

from vanfast.networks import MADE, Dense, PixelCNN


def drawing_order(net):
    return torch.arange(net.num_sites) if net.order is None else net.order


def test_probabilities_sum_to_one(net, all_states):
    states = all_states(net.num_sites)
    assert abs(net.log_prob(states).exp().sum().item() - 1) < 2e-6
    assert abs(net.double().log_prob(states).exp().sum().item() - 1) < 1e-12


def test_log_prob_is_the_sum_of_conditionals(net, all_states):
    net.double()
    s = all_states(net.num_sites)
    x, spins = net.logits(s).detach(), s.double()
    assert x.shape == s.shape
    expected = torch.log(torch.sigmoid(spins * x)).sum(1)
    if net.z2:
        flipped = torch.log(torch.sigmoid(-spins * net.logits(-s).detach())).sum(1)
        expected = torch.log((expected.exp() + flipped.exp()) / 2)
    log_q = net.log_prob(s)
    assert log_q.dtype == torch.float64
    torch.testing.assert_close(log_q.detach(), expected, rtol=1e-12, atol=1e-12)


def test_logits_depend_on_earlier_sites_only(net, random_spins):
    net.double()
    order = drawing_order(net)
    s = random_spins(20, net.num_sites)
    before = net.logits(s).detach()[:, order]
    for p in range(net.num_sites):
        changed = s.clone()
        changed[:, order[p]] *= -1
        after = net.logits(changed).detach()[:, order]
        torch.testing.assert_close(after[:, : p + 1], before[:, : p + 1], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "net",
    [
        Dense(9, depth=1, seed=1),
        Dense(9, depth=4, width=2, residual=True, seed=1),
        MADE(9, hidden=(24, 24), order=[8, 0, 7, 1, 6, 2, 5, 3, 4], seed=1),
        PixelCNN((3, 3), depth=2, width=4, half_kernel=2, seed=1),
        PixelCNN((2, 3), depth=3, width=4, half_kernel=2, residual=True, seed=1),
    ],
    ids=lambda net: f"{type(net).__name__}{net.num_sites}",
)
def test_every_logit_sees_every_earlier_site(net, random_spins):
    net.double()
    order = drawing_order(net)
    s = random_spins(60, net.num_sites)
    before = net.logits(s).detach()[:, order]
    for p in range(net.num_sites - 1):
        changed = s.clone()
        changed[:, order[p]] *= -1
        moved = (net.logits(changed).detach()[:, order] - before).abs().amax(0)
        assert (moved[p + 1 :] > 1e-6).all()


def test_receptive_field_of_one_masked_layer(random_spins):
    net = PixelCNN((7, 9), depth=1, half_kernel=2, z2=False, seed=0).double()
    s = random_spins(1, 63)
    y, x = 4, 4
    reached = set()
    for site in range(63):
        changed = s.clone()
        changed[:, site] *= -1
        if (net.logits(changed) - net.logits(s)).detach().abs()[0, 9 * y + x] > 1e-9:
            reached.add((site // 9 - y, site % 9 - x))
    assert reached == {(dy, dx) for dy in (-2, -1) for dx in range(-2, 3)} | {(0, -2), (0, -1)}


def test_z2_symmetric_networks(net, all_states):
    states = all_states(net.num_sites)
    same = torch.allclose(net.log_prob(states), net.log_prob(-states), rtol=0, atol=1e-9)
    assert same or not net.z2


def test_gradients_in_double_precision(trained, random_spins):
    net = trained.double()
    spins = random_spins(4, net.num_sites)
    names = [name for name, _ in net.named_parameters()]

    def log_prob(*values):
        with torch.nn.utils.stateless._reparametrize_module(net, dict(zip(names, values, strict=True))):
            return net.log_prob(spins)

    assert torch.autograd.gradcheck(log_prob, tuple(net.parameters()))


def test_masked_weights_get_no_gradient_and_do_not_matter(layered, random_spins):
    spins = random_spins(6, layered.num_sites)
    before = layered.log_prob(spins)
    before.sum().backward()
    masks = {name: mask for name, mask in layered.named_buffers() if name.endswith(".mask")}
    assert masks
    for name, mask in masks.items():
        weight = layered.get_parameter(name.removesuffix("mask") + "weight")
        closed = (mask == 0).expand_as(weight)
        assert not weight.grad[closed].any()
        with torch.no_grad():
            weight[closed] = 1e3
    assert torch.equal(layered.log_prob(spins), before)


def test_log_prob_in_the_far_tails():
    net = Dense(2, bias=True)
    with torch.no_grad():
        net.steps[0].layer.bias[:] = torch.tensor([800.0, -45.0])
        net.steps[0].layer.weight.zero_()
    expected = [-math.log1p(math.exp(-45)), -45 - math.log1p(math.exp(-45)), -800 - math.log1p(math.exp(-45))]
    log_q = net.log_prob(torch.tensor([[1, -1], [1, 1], [-1, -1]])).detach().numpy()
    np.testing.assert_allclose(log_q, expected, rtol=1e-15)


def test_spins_of_any_type_and_shape(random_spins):
    net = PixelCNN((3, 4), depth=2, width=3, half_kernel=1)
    spins = random_spins(5, 12)
    expected = net.log_prob(spins)
    for same in (spins.double(), spins.numpy(), spins.view(5, 3, 4), spins.numpy().astype(np.float32)):
        assert torch.equal(net.log_prob(same), expected)
    assert torch.equal(net(spins), expected)
    assert net.log_prob(spins[0]).shape == (1,)
    assert net.log_prob(spins[:0]).shape == (0,)
    assert net.logits(spins[:0]).shape == (0, 12)


@pytest.mark.parametrize("bad", [torch.zeros(2, 12), torch.ones(2, 13), torch.full((2, 12), 2)])
def test_what_is_not_spins_is_refused(bad):
    net = PixelCNN((3, 4), depth=2, width=3, half_kernel=1)
    with pytest.raises(ValueError, match="spins"):
        net.log_prob(bad)
    with pytest.raises(ValueError, match="spins"):
        net.logits(bad)
