"""Log-probabilities in float64, their gradients, and Z2 with the words of the contract."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.triton.twins import error, random_spins
from vanfast.kernels.log_prob import log_prob, logit_gradient, symmetrize
from vanfast.random import flip_signs

SIZES = [(1, 1), (5, 2), (63, 33), (17, 64), (3, 1024)]


def far_logits(*shape: int) -> torch.Tensor:
    """Both tails: from 1e-8 to 1e5, and zeros."""
    sign = torch.randn(*shape).sign()
    logits = sign * torch.exp(torch.empty(*shape).uniform_(-18, 11))
    logits.view(-1)[::7] = 0
    return logits


@pytest.mark.parametrize(("count", "sites"), SIZES)
@pytest.mark.parametrize("far", [False, True])
def test_log_prob_is_exact(count, sites, far, device):
    logits, spins = far_logits(count, sites) if far else torch.randn(count, sites), random_spins(count, sites)
    got = log_prob(logits.to(device), spins.to(device))
    assert got.dtype == torch.float64
    expected = functional.logsigmoid(spins * logits.double()).sum(1)
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-13, atol=1e-12)


def test_log_prob_keeps_what_is_small(device):
    logits = torch.tensor([[30.0], [80.0]], device=device)
    got = log_prob(logits, torch.ones(2, 1, dtype=torch.int8, device=device))
    torch.testing.assert_close(got.cpu(), -torch.exp(-logits[:, 0].double().cpu()), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("count", "sites"), SIZES)
@pytest.mark.parametrize("far", [False, True])
def test_gradient_is_that_of_autograd(count, sites, far, device):
    logits, spins = far_logits(count, sites) if far else torch.randn(count, sites), random_spins(count, sites)
    weight = torch.randn(count, dtype=torch.float64)
    leaf = logits.double().requires_grad_()
    (weight * functional.logsigmoid(spins * leaf).sum(1)).sum().backward()
    got = logit_gradient(logits.to(device), spins.to(device), weight.to(device))
    torch.testing.assert_close(got.cpu().double(), leaf.grad, rtol=2e-6, atol=1e-37)
    assert error(got, leaf.grad) < 1e-6


@pytest.mark.parametrize("first", [0, 2**32 - 20, 2**63 - 9])
@pytest.mark.parametrize("step", [None, 7])
def test_symmetrize(first, step, device):
    count, sites, seed = 70, 67, 2**40 + 3
    spins, a, b = random_spins(count, sites), *(-50 * torch.rand(2, count, dtype=torch.float64))
    b[3], a[4] = a[3], a[4] - 2000
    a[5] = b[5] = a[6] = -torch.inf  # what overflowed stays visible, as -inf
    given = spins.clone().to(device)
    offset = None if step is None else torch.tensor([step], device=device)
    got = symmetrize(given, a.to(device), b.to(device), seed, first, offset)
    torch.testing.assert_close(got.cpu(), torch.logaddexp(a, b) - np.log(2), rtol=1e-14, atol=1e-14)
    signs = torch.from_numpy(flip_signs(seed, first + (step or 0), count))
    assert 20 < int((signs < 0).sum()) < 50
    assert torch.equal(given.cpu(), spins * signs[:, None])


def test_arguments_are_checked(device):
    logits, spins = torch.ones(3, 4, device=device), torch.ones(3, 4, dtype=torch.int8, device=device)
    with pytest.raises(TypeError, match=r"logits has dtype torch\.float64"):
        log_prob(logits.double(), spins)
    with pytest.raises(ValueError, match=r"spins has shape \[3, 3\]"):
        log_prob(logits, spins[:, 1:])
    with pytest.raises(ValueError, match="logits must be contiguous"):
        log_prob(logits.T.contiguous().T, spins)
    with pytest.raises(TypeError, match=r"weight has dtype torch\.float32"):
        logit_gradient(logits, spins, logits[:, 0])
    with pytest.raises(ValueError, match="spins must be contiguous"):
        symmetrize(spins[:, 1:], *torch.zeros(2, 3, dtype=torch.float64, device=device), 0, 0)
