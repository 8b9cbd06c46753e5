"""The engine's backward pass against autograd in float64, and its independence of threads."""

import copy

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


def test_mixtures_are_left_to_autograd():
    assert vf.Sampler(vf.networks.BernoulliMixture(5, 2), backend="cpu").sample_and_keep(3) is None


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
