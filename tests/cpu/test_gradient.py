"""The engine's backward pass against autograd in float64, and its independence of threads."""

import copy

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast import _cpu

ISAS = [isa for isa in _cpu.isas() if isa not in ("amx", "avx512_bf16")]  # distinct in float32


def engine_gradient(net, weight, first=9, **options):
    kept = vf.Sampler(net, backend="cpu", **options).sample_and_keep(len(weight), seed=5, first=first)
    net.zero_grad()
    net.add_gradient(kept.gradient(weight))
    return kept, [parameter.grad for parameter in net.parameters()]


def spins_of(net, count):
    return torch.from_numpy(np.random.default_rng(count).choice(np.array([-1, 1], np.int8), (count, net.num_sites)))


def given_gradient(net, spins, weight, **options):
    kept = vf.Sampler(net, backend="cpu", **options).evaluate_and_keep(spins)
    net.zero_grad()
    net.add_gradient(kept.gradient(weight))
    return kept, [parameter.grad for parameter in net.parameters()]


def test_mixtures_are_left_to_autograd():
    sampler = vf.Sampler(vf.networks.BernoulliMixture(5, 2), backend="cpu")
    assert sampler.sample_and_keep(3) is None
    assert sampler.evaluate_and_keep(torch.ones(3, 5)) is None


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("count", [1, 70])
def test_gradient_of_given_spins_is_that_of_autograd(layered_net, isa, count):
    spins, weight = spins_of(layered_net, count), torch.randn(count, dtype=torch.float64)
    kept, mine = given_gradient(layered_net, spins, weight, isa=isa)
    assert torch.equal(kept.spins, spins)
    assert torch.equal(kept.log_q, vf.Sampler(layered_net, backend="cpu", isa=isa).log_prob(spins))
    truth = copy.deepcopy(layered_net).double()
    (weight * truth.log_prob(spins)).sum().backward()
    largest = max(1.0, *(float(parameter.grad.abs().max()) for parameter in truth.parameters()))
    for ours, parameter in zip(mine, truth.parameters(), strict=True):
        torch.testing.assert_close(ours.double(), parameter.grad, rtol=1e-4, atol=3e-6 * largest)


@pytest.mark.parametrize(
    "net",
    [
        vf.networks.SK(vf.hamiltonians.SherringtonKirkpatrick(17, seed=2), 0.8, k=1, learn_couplings=True),
        vf.networks.SK(vf.hamiltonians.SherringtonKirkpatrick(9, seed=2), 0.8, k=0, z2=True),
        vf.networks.CurieWeissInf(12, seed=1),
        vf.networks.Dense(10, z2=True, prior="star", ham=vf.hamiltonians.CurieWeiss(10), beta=0.7, seed=1),
    ],
    ids=["sk", "sk_z2", "curie_weiss", "prior"],
)
def test_given_spins_of_networks_without_layers_and_with_a_prior(net):
    spins, weight = spins_of(net, 45), torch.randn(45, dtype=torch.float64)
    kept, mine = given_gradient(net, spins, weight)
    mine = [gradient.clone() for gradient in mine]
    net.zero_grad()
    log_q = net.log_prob(spins)
    (weight * log_q).sum().backward()
    torch.testing.assert_close(kept.log_q, log_q.detach(), rtol=1e-4, atol=1e-4)
    for ours, parameter in zip(mine, net.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad, rtol=2e-3, atol=2e-4)


def test_drawn_and_given_spins_have_the_same_gradients_bytes(layered_net):
    weight = torch.randn(64, dtype=torch.float64)
    kept, drawn = engine_gradient(layered_net, weight, first=0)
    if not layered_net.z2:  # what the symmetry flipped is scored the other way round
        for a, b in zip(drawn, given_gradient(layered_net, kept.spins, weight)[1], strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()
    one, many = (given_gradient(layered_net, kept.spins, weight, threads=threads)[1] for threads in (1, 3))
    for a, b in zip(one, many, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_given_spins_may_change_before_their_gradient_is_taken():
    net = vf.networks.Dense(9, depth=2, width=2, seed=1)
    spins, weight = spins_of(net, 40), torch.randn(40, dtype=torch.float64)
    before = [gradient.clone() for gradient in given_gradient(net, spins, weight)[1]]
    kept = vf.Sampler(net, backend="cpu").evaluate_and_keep(spins)
    spins.fill_(1)
    net.zero_grad()
    net.add_gradient(kept.gradient(weight))
    for a, parameter in zip(before, net.parameters(), strict=True):
        assert torch.equal(a, parameter.grad)
    assert vf.Sampler(net, backend="cpu").evaluate_and_keep(spins[:0]) is None
    spins[3, 2] = 0
    with pytest.raises(ValueError, match="found 0 at configuration 3, site 2"):
        vf.Sampler(net, backend="cpu").evaluate_and_keep(spins)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("count", [1, 70])
def test_gradient_is_that_of_autograd(layered_net, isa, count):
    weight = torch.randn(count, dtype=torch.float64)
    kept, mine = engine_gradient(layered_net, weight, isa=isa)
    truth = copy.deepcopy(layered_net).double()
    (weight * truth.log_prob(kept.spins)).sum().backward()
    largest = max(1.0, *(float(parameter.grad.abs().max()) for parameter in truth.parameters()))
    for ours, parameter in zip(mine, truth.parameters(), strict=True):
        torch.testing.assert_close(ours.double(), parameter.grad, rtol=1e-4, atol=3e-6 * largest)


def test_keeping_changes_no_sample(layered_net):
    sampler = vf.Sampler(layered_net, backend="cpu")
    kept, plain = sampler.sample_and_keep(37, seed=5, first=9), sampler.sample(37, seed=5, first=9)
    assert torch.equal(kept.spins, plain.spins)
    assert torch.equal(kept.log_q, plain.log_q)


def test_threads_do_not_change_the_gradients_bytes(layered_net):
    weight = torch.randn(900, dtype=torch.float64)
    _, one = engine_gradient(layered_net, weight, threads=1)
    for threads in (2, 5):
        for a, b in zip(one, engine_gradient(layered_net, weight, threads=threads)[1], strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()


def test_gradients_add_up_and_respect_frozen_parameters():
    torch.manual_seed(0)
    net = vf.networks.Dense(9, depth=3, width=2, residual=True)
    weight = torch.randn(40, dtype=torch.float64)
    kept, once = engine_gradient(net, weight)
    net.add_gradient(kept.gradient(weight))
    for parameter, gradient in zip(net.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)
    frozen = next(net.parameters())
    frozen.requires_grad_(False)
    frozen.grad = None
    net.add_gradient(kept.gradient(weight))
    assert frozen.grad is None
    with pytest.raises(ValueError, match="layers"):
        net.add_gradient(kept.gradient(weight)[:-1])


def test_bf16_gradient_is_close_to_the_float_one():
    torch.manual_seed(0)
    net = vf.networks.PixelCNN((5, 5), depth=4, width=12, half_kernel=2, residual=True, z2=True)
    weight = torch.randn(300, dtype=torch.float64)
    kept, mine = engine_gradient(net, weight, precision="bf16")
    net.zero_grad()
    (weight * net.log_prob(kept.spins)).sum().backward()
    ours = torch.cat([g.flatten() for g in mine])
    exact = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert 0 < float((ours - exact).norm() / exact.norm()) < 0.03


def test_the_module_checks_what_it_is_given():
    net = vf.networks.Dense(4, depth=2, width=2)
    engine = vf.Sampler(net, backend="cpu").program._engine
    _, _, _, _, kept = engine.sample(40, 0, keep=True)
    drawn, weight = torch.ones(40, 4, dtype=torch.int8).numpy(), torch.ones(40, dtype=torch.float64).numpy()
    engine.gradient(drawn, weight, 0, kept)
    with pytest.raises(ValueError, match="kept must have 2 arrays"):
        engine.gradient(drawn, weight, 0, kept[:1])
    with pytest.raises(ValueError, match="wrong shape"):
        engine.gradient(drawn, weight, 31, kept)
    with pytest.raises(ValueError, match=r"weight must be \[count\]"):
        engine.gradient(drawn, weight[:39], 0, kept)
    with pytest.raises(ValueError, match=r"spins must be \[count, num_sites\]"):
        engine.evaluate(drawn[:, :3], keep=True)
    with pytest.raises(ValueError, match="keeps no activations"):
        vf.Sampler(vf.networks.Factorised(4), backend="cpu").program._engine.evaluate(drawn, keep=True)
