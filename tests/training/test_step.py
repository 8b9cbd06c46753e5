"""The gradient estimate against the exact gradient of the variational free energy, and its independence of pieces."""

import dataclasses
import itertools

import pytest
import torch

from vanfast import Sampler
from vanfast.hamiltonians import EdwardsAnderson
from vanfast.networks import Dense, PixelCNN
from vanfast.training.step import accumulate_gradient, draw, effective_sample_size

BETA = 0.7


def system():
    return EdwardsAnderson((2, 3), disorder="gaussian", seed=1, boundary="open", field=0.2)


def all_spins(count):
    return torch.tensor(list(itertools.product((-1, 1), repeat=count)), dtype=torch.int8)


def gradient(net):
    return torch.cat([parameter.grad.flatten().double() for parameter in net.parameters()])


def nets():
    yield Dense(6, depth=2, width=2, seed=3).double()
    yield Dense(6, depth=1, z2=True, seed=3).double()
    yield PixelCNN(shape=(2, 3), depth=2, width=3, half_kernel=1, z2=True, seed=3).double()


@pytest.mark.parametrize("net", list(nets()), ids=["dense", "one-layer-z2", "pixelcnn-z2"])
def test_estimate_agrees_with_the_exact_gradient(net):
    ham, spins = system(), all_spins(6)
    log_q = net.log_prob(spins)
    net.zero_grad()
    (log_q.exp() * (BETA * ham.energy(spins) + log_q)).sum().backward()
    exact = gradient(net)
    estimates = []
    batch = 4000
    sampler = Sampler(net, ham, backend="reference")
    for k in range(8):
        accumulate_gradient(sampler, draw(sampler, batch, 5, k * batch, None), BETA, None)
        estimates.append(gradient(net) * batch / (batch - 1))  # the baseline's own bias
    estimates = torch.stack(estimates)
    error = estimates.std(0) / len(estimates) ** 0.5
    deviation = ((estimates.mean(0) - exact).abs() / (error + 1e-9)).sort().values
    assert float(exact.abs().max()) > 0.05
    assert float(deviation[int(0.9 * len(deviation))]) < 4.0
    torch.testing.assert_close(estimates.mean(0), exact, atol=0.03, rtol=0)


@pytest.mark.parametrize("micro_batch", [1, 7, 64, 99, 100, 1000])
def test_micro_batches_change_nothing_but_rounding(micro_batch):
    net, ham = Dense(6, depth=2, width=2, seed=3).double(), system()
    sampler = Sampler(net, ham, backend="reference")
    whole = draw(sampler, 100, 1, 300, None)
    pieces = draw(sampler, 100, 1, 300, micro_batch)
    assert torch.equal(whole.spins, pieces.spins)
    assert torch.equal(whole.log_q, pieces.log_q)
    assert torch.equal(whole.energy, pieces.energy)
    reward = accumulate_gradient(sampler, whole, BETA, None)
    expected = gradient(net)
    assert torch.equal(accumulate_gradient(sampler, pieces, BETA, micro_batch), reward)
    torch.testing.assert_close(gradient(net), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("z2", [False, True])
@pytest.mark.parametrize("micro_batch", [None, 50])
def test_the_engines_backward_pass_gives_the_same_gradient(z2, micro_batch):
    net = PixelCNN(shape=(3, 4), depth=3, width=5, half_kernel=2, z2=z2, residual=True, seed=2)
    sampler = Sampler(net, EdwardsAnderson((3, 4)), backend="cpu")
    batch = draw(sampler, 130, 3, 21, micro_batch)
    assert (batch.kept is None) == (micro_batch is not None)
    reward = accumulate_gradient(sampler, batch, BETA, micro_batch)
    mine = gradient(net)
    net.zero_grad()
    ((reward - reward.mean()) / len(reward) * net.log_prob(batch.spins)).sum().backward()
    assert float(gradient(net).abs().max()) > 1e-2
    torch.testing.assert_close(mine, gradient(net), rtol=1e-4, atol=1e-6)


def test_the_baseline_removes_a_constant():
    net, ham = Dense(6, seed=3).double(), system()
    sampler = Sampler(net, ham, backend="reference")
    batch = draw(sampler, 50, 0, 0, None)
    accumulate_gradient(sampler, batch, BETA, None)
    expected = gradient(net)
    shifted = dataclasses.replace(batch, energy=batch.energy + 1000.0)
    accumulate_gradient(sampler, shifted, BETA, None)
    torch.testing.assert_close(gradient(net), expected, rtol=1e-9, atol=1e-11)


def test_effective_sample_size():
    assert effective_sample_size(torch.full((10,), -3.0)) == pytest.approx(1.0)
    weights = torch.tensor([1.0, 2.0, 3.0, 0.5], dtype=torch.float64)
    expected = float(weights.sum() ** 2 / (weights**2).sum()) / 4
    assert effective_sample_size(weights.log() - 500.0) == pytest.approx(expected)


def test_a_sampler_without_energies_is_refused():
    with pytest.raises(ValueError, match="Hamiltonian"):
        draw(Sampler(Dense(6, seed=1), backend="reference"), 4, 0, 0, None)
