"""Whole networks through the Triton kernels: log q of given spins, and gradients, against float64."""

import gc
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.triton.twins import PRECISIONS, error, leaves, network, random_spins
from vanfast.backends.engines import backward
from vanfast.backends.engines.backward import evaluate, forward, gradient
from vanfast.networks import MADE, BernoulliMixture, Dense, PixelCNN
from vanfast.networks.plan import MaskedPlan, moved

NETWORKS = {
    "conv": lambda: PixelCNN((2, 4), depth=3, width=17, half_kernel=2, z2=False),
    "conv_residual": lambda: PixelCNN((2, 2), depth=5, width=3, half_kernel=1, residual=True, z2=False),
    "conv_residual_no_bias": lambda: PixelCNN((1, 3), 4, 5, 6, residual=True, bias=False, z2=False),
    "conv_depth_1": lambda: PixelCNN((3, 3), depth=1, width=2, half_kernel=1, z2=False),
    "conv_width_1": lambda: PixelCNN((3, 1), depth=3, width=1, half_kernel=2, z2=False),
    "conv_one_site": lambda: PixelCNN((1, 1), depth=3, width=2, half_kernel=2, z2=False),
    "dense_one_layer": lambda: Dense(33),
    "dense_residual": lambda: Dense(13, depth=6, width=3, residual=True),
    "dense_no_bias": lambda: Dense(17, depth=3, width=5, bias=False),
    "dense_one_site": lambda: Dense(1, depth=3, width=1),
    "made_random_ordered": lambda: MADE(11, (40, 9), "random", order=[*range(10, -1, -1)], seed=3),
    "made_relu": lambda: MADE(10, hidden=(13,), activation="relu"),
}
# An activation next to the middle of two rounded numbers may go either way: a few in a network, of relative size 2^-8.
LOG_Q = {"fp32": 1e-6, "tf32": 3e-4, "bf16": 2e-3}
GRADIENT = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 5e-3}


@pytest.fixture(params=NETWORKS)
def net(request):
    torch.manual_seed(sum(map(ord, request.param)))
    net = NETWORKS[request.param]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def drawing_order(plan, spins):
    return spins if getattr(plan, "order", None) is None else spins[:, plan.order.cpu()]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_log_q_and_gradient(net, precision, device):
    batch, plan = 33, net.plan()
    spins, weight = drawing_order(plan, random_spins(batch, net.num_sites)), torch.randn(batch, dtype=torch.float64)
    tensors = leaves(plan)
    expected = network(plan, tensors, spins, precision)
    log_q = functional.logsigmoid(spins * expected[-1]).sum(1)
    (weight * log_q).sum().backward()

    there = moved(plan, device)
    got_log_q, kept = evaluate(there, spins.to(device), precision)
    assert len(kept) == len(expected)
    for ours, theirs in zip(kept, expected, strict=True):
        assert error(ours, theirs) < LOG_Q[precision]
    torch.testing.assert_close(got_log_q.cpu(), log_q.detach(), rtol=0, atol=LOG_Q[precision] * net.num_sites)

    found = gradient(there, spins.to(device), kept, weight.to(device), precision)
    for layer, tensor, ours in zip(plan.layers, tensors, found, strict=True):
        for name, ours_of in vars(ours).items():
            assert (ours_of is None) == (getattr(layer, name, None) is None), name
            if ours_of is not None:
                closed = (tensor[name].detach() == 0) if name == "weight" else torch.zeros_like(tensor[name]).bool()
                assert ours_of.dtype == torch.float32
                assert bool((ours_of.cpu()[closed] == 0).all()), name
                assert error(ours_of, tensor[name].grad.masked_fill(closed, 0)) < GRADIENT[precision], name


def test_the_networks_take_these_gradients(net, device):
    spins, weight = random_spins(7, net.num_sites), torch.randn(7, dtype=torch.float64)
    plan = net.plan()
    ordered, there = drawing_order(plan, spins).to(device), moved(plan, device)
    kept = forward(there, ordered, "fp32")
    net.add_gradient(gradient(there, ordered, kept, weight.to(device), "fp32"))
    mine = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net.double()
    (weight * net.log_prob(spins)).sum().backward()
    largest = max(float(parameter.grad.abs().max()) for parameter in net.parameters())
    for ours, parameter in zip(mine, net.parameters(), strict=True):
        torch.testing.assert_close(ours.double().cpu(), parameter.grad, rtol=1e-4, atol=1e-6 * max(largest, 1.0))


def test_no_weight_no_gradient(device):
    plan = moved(Dense(5, depth=2, width=2).plan(), device)
    spins = random_spins(9, 5).to(device)
    kept = forward(plan, spins, "bf16")
    for layer in gradient(plan, spins, kept, torch.zeros(9, dtype=torch.float64, device=device), "bf16"):
        assert all(bool((tensor == 0).all()) for tensor in vars(layer).values() if tensor is not None)


def test_a_skip_over_the_first_layer_adds_the_spins(device):
    plan = Dense(6, depth=2, width=1).plan()
    plan = MaskedPlan(6, None, (plan.layers[0], replace(plan.layers[1], skip=True)))
    spins, tensors = random_spins(8, 6), leaves(plan)
    expected, there = network(plan, tensors, spins, "fp32"), moved(plan, device)
    kept = forward(there, spins.to(device), "fp32")
    assert error(kept[-1], expected[-1]) < 1e-6
    weight = torch.randn(8, dtype=torch.float64)
    (weight * functional.logsigmoid(spins * expected[-1]).sum(1)).sum().backward()
    found = gradient(there, spins.to(device), kept, weight.to(device), "fp32")
    assert error(found[0].weight, tensors[0]["weight"].grad * (tensors[0]["weight"] != 0)) < 1e-5


def test_windows_are_made_once_for_a_network(device, monkeypatch):
    made, new = [], backward._new_windows
    monkeypatch.setattr(backward, "_new_windows", lambda plan: made.append(plan) or new(plan))
    net = Dense(6, depth=2, width=2).to(device)
    for _ in range(2):
        found = backward._windows(net.plan())
    assert len(made) == 1
    assert torch.equal(found[0].end, new(net.plan())[0].end)
    plan = net.plan()
    fewer = replace(plan.layers[0], degree=torch.zeros_like(plan.layers[0].degree))
    other = backward._windows(replace(plan, layers=(fewer, plan.layers[1])))  # with the degrees of the same last layer
    assert not other[0].end.any()
    before = len(backward._KNOWN)
    del net, plan, fewer, other
    made.clear()
    gc.collect()
    assert len(backward._KNOWN) == before - 1


def test_other_arguments_are_refused(device):
    plan, spins = moved(Dense(5, depth=2, width=2).plan(), device), random_spins(2, 5).to(device)
    weight = torch.ones(2, dtype=torch.float64, device=device)
    with pytest.raises(ValueError, match="kept has 1 pre-activations, the plan 2"):
        gradient(plan, spins, forward(plan, spins, "fp32")[:1], weight, "fp32")
    mixture = BernoulliMixture(5, 2).plan()
    with pytest.raises(TypeError, match="plan is a MixturePlan"):
        forward(mixture, spins, "fp32")
    with pytest.raises(TypeError, match="plan is a MixturePlan"):
        gradient(mixture, spins, (), weight, "fp32")
