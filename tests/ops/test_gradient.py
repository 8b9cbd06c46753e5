"""Derivatives of log_prob: those of the network's own, first ones by an operation and second ones by torch."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import vanfast as vf
from vanfast.ops import description


def gradients(net, log_q, weight):
    return torch.autograd.grad((weight * log_q).sum(), list(net.parameters()))


@pytest.fixture
def weight():
    return torch.randn(23, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_gradient_is_that_of_the_networks_log_prob(net, spins, weight):
    mine = gradients(net, vf.ops.log_prob(net, spins), weight)
    for a, b in zip(mine, gradients(net, net.log_prob(spins), weight), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def double_log_prob(net, spins):
    text = description.of_network(net)
    return lambda *parameters: torch.ops.vanfast.log_prob(list(parameters), text, spins, "fp32")


def test_gradcheck_in_float64(net, spins):
    net = net.double()
    assert gradcheck(double_log_prob(net, spins[:5]), tuple(net.parameters()), raise_exception=True)


def test_second_derivatives(net, spins):
    net = net.double()
    assert gradgradcheck(double_log_prob(net, spins[:2]), tuple(net.parameters()), raise_exception=True)


def test_gradient_of_the_rounded_network_is_the_engines(layered, weight):
    kept = vf.Sampler(layered, backend="cpu", precision="bf16").sample_and_keep(23, seed=2)
    layered.zero_grad()
    layered.add_gradient(kept.gradient(weight))
    engine = [parameter.grad for parameter in layered.parameters()]
    mine = gradients(layered, vf.ops.log_prob(layered, kept.spins, precision="bf16"), weight)
    unrounded = gradients(layered, layered.log_prob(kept.spins), weight)
    scale = max(float(g.abs().max()) for g in engine)
    for a, b in zip(mine, engine, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * scale)
    assert max(float((a - b).abs().max()) for a, b in zip(mine, unrounded, strict=True)) > 1e-4 * scale


def test_frozen_parameters_have_no_gradient(net, spins):
    first, *others = net.parameters()
    first.requires_grad_(False)
    log_q = vf.ops.log_prob(net, spins)
    assert log_q.requires_grad == bool(others)
    if others:
        found = torch.autograd.grad(log_q.sum(), others, create_graph=True)
        vf.ops.log_prob(net, spins).sum().backward()
        for a, parameter in zip(found, others, strict=True):
            torch.testing.assert_close(a, parameter.grad)
    assert first.grad is None


def test_samples_and_energies_have_no_gradient(net, spins):
    drawn, log_q = torch.ops.vanfast.sample(list(net.parameters()), description.of_network(net), 5, 0, 0, "fp32")
    assert not drawn.requires_grad
    assert not log_q.requires_grad
    text = '{"class":"Pairwise","couplings":{"array":"couplings"},"edges":{"array":"edges"},"h":null,"num_sites":6}'
    couplings = torch.ones(1, dtype=torch.float64, requires_grad=True)
    assert not torch.ops.vanfast.energy([couplings, torch.tensor([[0, 1]])], text, spins).requires_grad
    assert not vf.ops.energy(vf.hamiltonians.CurieWeiss(6), spins.float().requires_grad_()).requires_grad


def test_reinforce_as_training_does_it():
    torch.manual_seed(0)
    net, ham = vf.networks.Dense(8, depth=2, width=2), vf.hamiltonians.SherringtonKirkpatrick(8)
    spins, log_q = vf.ops.sample(net, 50, seed=3)
    reward = 0.7 * vf.ops.energy(ham, spins) + log_q
    ((reward - reward.mean()) / 50 * vf.ops.log_prob(net, spins)).sum().backward()
    mine = [parameter.grad for parameter in net.parameters()]
    from vanfast.training.step import accumulate_gradient, draw

    sampler = vf.Sampler(net, ham, backend="cpu")
    accumulate_gradient(sampler, draw(sampler, 50, 3, 0, None), 0.7, None)
    for a, parameter in zip(mine, net.parameters(), strict=True):
        torch.testing.assert_close(a, parameter.grad, rtol=1e-4, atol=1e-5)
