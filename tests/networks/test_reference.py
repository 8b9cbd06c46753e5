"""The reference backend: naive sampling by the contract, with frequencies equal to q and the exact ln q."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from vanfast.backends import get
from vanfast.networks import BernoulliMixture, Dense, PixelCNN
from vanfast.random import draw_spins, random_words
from vanfast.sampler import Sampler


def g_test(states, probabilities):
    """p value of the G statistic of observed states against probabilities, cells of few expected counts pooled."""
    observed = np.bincount(states, minlength=len(probabilities)).astype(float)
    expected = probabilities * len(states)
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    seen = observed > 0
    g = 2 * (observed[seen] * np.log(observed[seen] / expected[seen])).sum()
    return chi2.sf(g, max(1, len(expected) - 1))


def index_of(spins):
    return ((spins.numpy() < 0) << np.arange(spins.shape[1])[::-1]).sum(1)


def test_frequencies_are_q(net, all_states):
    batch = Sampler(net, backend="reference").sample(8192, seed=12)
    q = net.log_prob(all_states(net.num_sites)).exp().detach().numpy()
    assert g_test(index_of(batch.spins), q / q.sum()) > 1e-3


def test_the_frequency_test_sees_a_small_error(all_states):
    net = Dense(6, seed=1)
    spins = Sampler(net, backend="reference").sample(8192, seed=12).spins
    with torch.no_grad():
        net.steps[0].layer.bias[3] += 0.3
    q = net.log_prob(all_states(6)).exp().detach().numpy()
    assert g_test(index_of(spins), q / q.sum()) < 1e-6


def test_replay_of_the_contract(net):
    batch = Sampler(net, backend="reference").sample(40, seed=2**63 + 5, first=2**32 - 20)
    net.double()
    order = np.arange(net.num_sites) if net.order is None else net.order.numpy()
    words = random_words(2**63 + 5, 2**32 - 20, 40, net.num_sites)
    spins = np.ones((40, net.num_sites), dtype=np.int8)
    for p, site in enumerate(order):
        spins[:, site] = draw_spins(net.logits(spins)[:, site].detach().numpy(), words[:, p])
    if net.z2:
        flip = random_words(2**63 + 5, 2**32 - 20, 40, 1, stream=1) < 2**31
        assert flip.any()
        assert not flip.all()
        spins = np.where(flip, -spins, spins)
    assert np.array_equal(batch.spins.numpy(), spins)
    torch.testing.assert_close(batch.log_q, net.log_prob(spins).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_samples_do_not_depend_on_the_batch(precision):
    net = PixelCNN((3, 5), depth=3, width=4, half_kernel=2, seed=3)
    sampler = Sampler(net, backend="reference", precision=precision)
    whole = sampler.sample(200, seed=9, first=30)
    assert whole.spins.shape == (200, 15)
    for count in (1, 7, 63, 100):
        for first in (30, 63, 64, 101):
            part = sampler.sample(count, seed=9, first=first)
            run = slice(first - 30, first - 30 + count)
            assert torch.equal(part.spins, whole.spins[run])
            assert torch.equal(part.log_q, whole.log_q[run])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    again = sampler.sample(100, seed=9, first=30)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert torch.equal(again.log_q, whole.log_q[:100])
    assert not torch.equal(sampler.sample(200, seed=10, first=30).spins, whole.spins)


def test_log_prob_of_given_spins(net, random_spins):
    sampler = Sampler(net, backend="reference")
    batch = sampler.sample(70, seed=1)
    assert torch.equal(sampler.log_prob(batch.spins), batch.log_q)
    net.double()
    for count in (0, 1, 65):
        spins = random_spins(count, net.num_sites)
        torch.testing.assert_close(sampler.log_prob(spins), net.log_prob(spins).detach(), rtol=1e-12, atol=1e-12)


def bf16(x):
    """Rounds float32 to bf16, ties to even, by its bits."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return rounded.astype(np.uint32).view(np.float32).astype(np.float64)


def prelu(z, slope):
    return np.where(z > 0, z, slope * z)


def test_bf16_rounds_weights_and_inputs_of_linear_layers(random_spins):
    net = Dense(9, depth=3, width=3, residual=True, seed=4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    spins = random_spins(30, 9)
    first, channel, masked, last = (
        (layer.weight.numpy(), layer.bias.numpy().astype(float), layer.slope) for layer in net.plan().layers
    )
    z0 = spins.numpy() @ bf16(first[0]).T + first[1]
    z1 = bf16(z0) @ bf16(channel[0]).T + channel[1]
    z2 = bf16(prelu(z1, masked[2].numpy())) @ bf16(masked[0]).T + masked[1] + z0
    x = bf16(prelu(z2, last[2].numpy())) @ bf16(last[0]).T + last[1]
    expected = -np.log1p(np.exp(-spins.numpy() * x)).sum(1)
    log_q = Sampler(net, backend="reference", precision="bf16").log_prob(spins).numpy()
    np.testing.assert_allclose(log_q, expected, rtol=1e-12)
    assert np.abs(log_q - net.log_prob(spins).detach().numpy()).max() > 1e-5


def test_bf16_distributions_are_normalised(layered, all_states):
    sampler = Sampler(layered, backend="reference", precision="bf16")
    assert abs(sampler.log_prob(all_states(layered.num_sites)).exp().sum().item() - 1) < 1e-12


def test_refusals():
    backend = get("reference")
    assert backend.unavailable() is None
    assert "tf32" in backend.refuses(Dense(3), "tf32")
    assert "BernoulliMixture has no matrix products" in backend.refuses(BernoulliMixture(3), "bf16")
    assert backend.refuses(Dense(3), "bf16") is None
    with pytest.raises(ValueError, match="isa = 'avx2'"):
        Sampler(Dense(3), backend="reference", isa="avx2")
