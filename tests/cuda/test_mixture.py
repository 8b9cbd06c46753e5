"""Mixtures of independent spins drawn by the CUDA kernel, against the float64 reference."""

import functools

import numpy as np
import pytest
import torch

import vanfast as vf
from vanfast.backends.engines.cuda_mixture import CudaMixture
from vanfast.backends.reference import ReferenceProgram
from vanfast.networks.plan import MixturePlan, moved

SEED = 2**40 + 7
CASES = [(1, 1), (17, 1), (33, 2), (2, 3), (31, 8), (20, 11), (9, 64), (12, 70), (5, 300)]  # sites, components


@functools.cache
def plan(sites, components):
    rng = torch.Generator().manual_seed(sites)
    weights = torch.randn(components, generator=rng, dtype=torch.float64).log_softmax(0)
    return MixturePlan(sites, weights, 2 * torch.randn((components, sites), generator=rng))


def engine(cuda, of):
    return CudaMixture(moved(of, cuda.device), cuda.device, cuda.module)


@pytest.mark.parametrize(("sites", "components"), CASES)
def test_samples_are_those_of_the_reference(cuda, sites, components):
    reference = ReferenceProgram(plan(sites, components), False, "fp32")
    drawn = engine(cuda, plan(sites, components)).draw(70, SEED, 2**33 + 5)
    spins = drawn.spins.cpu()
    assert spins.abs().eq(1).all()
    assert (spins != reference.sample(70, SEED, 2**33 + 5)[0]).any(1).sum() <= 1
    torch.testing.assert_close(drawn.log_q.cpu(), reference.log_prob(spins), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("sites", "components"), CASES)
def test_bytes_do_not_depend_on_batch_or_mode(cuda, sites, components):
    one = engine(cuda, plan(sites, components))
    whole, first = one.draw(71, SEED, 2**32 - 3), 0
    assert one.evaluate(whole.spins).log_q.equal(whole.log_q)
    for count in (1, 5, 33, 32):
        part = one.draw(count, SEED, 2**32 - 3 + first)
        assert part.spins.equal(whole.spins[first : first + count])
        assert part.log_q.equal(whole.log_q[first : first + count])
        first += count


def test_step_and_load(cuda):
    one, step = engine(cuda, plan(17, 1)), torch.tensor([2**33], device=cuda.device)
    assert one.draw(5, SEED, 7, step).spins.equal(one.draw(5, SEED, 2**33 + 7).spins)
    other = MixturePlan(17, plan(17, 1).log_weights, -plan(17, 1).logits)
    one.load(moved(other, cuda.device))
    assert one.draw(5, SEED, 7).log_q.equal(engine(cuda, other).draw(5, SEED, 7).log_q)
    assert one.draw(0, SEED, 7).spins.shape == (0, 17)
    with pytest.raises(ValueError, match="spins is"):
        one.evaluate(torch.ones((2, 16), dtype=torch.int8, device=cuda.device))


@pytest.mark.parametrize("components", [2, 9])
def test_probabilities_sum_to_one(cuda, components):
    states = 1 - 2 * ((torch.arange(2**8)[:, None] >> torch.arange(8)) & 1)
    log_q = engine(cuda, plan(8, components)).evaluate(states.to(cuda.device, torch.int8)).log_q
    assert abs(log_q.exp().sum().item() - 1) < 1e-6


def test_tails(cuda):
    """Logits of hundreds, a component that weighs nothing at first, and one that takes over late."""
    logits = torch.tensor([[300.0, -400.0, 200.0, 90.0], [-350.0, 120.0, -100.0, 1.0], [0.5, 0.25, -0.5, 2.0]])
    weights = torch.tensor([0.3, 0.7, 1e-300], dtype=torch.float64).log()
    of = MixturePlan(4, weights, logits)
    states = 1 - 2 * ((torch.arange(16)[:, None] >> torch.arange(4)) & 1).to(torch.int8)
    expected = ReferenceProgram(of, False, "fp32").log_prob(states)
    assert expected.isfinite().all()
    torch.testing.assert_close(
        engine(cuda, of).evaluate(states.to(cuda.device)).log_q.cpu(), expected, rtol=2e-7, atol=2e-6
    )


def test_networks_have_such_plans(cuda):
    """The plans that users' networks give, Z2 aside."""
    for net in (vf.networks.Factorised(12, seed=1), vf.networks.BernoulliMixture(12, 5, seed=1)):
        drawn = engine(cuda, net.plan()).draw(300, 3, 0)
        with torch.no_grad():
            np.testing.assert_allclose(drawn.log_q.cpu(), net.log_prob(drawn.spins.cpu()), atol=1e-5)
