"""The star prior in the Triton kernels: alone for given spins, in the scans, and in the forward pass."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.star_systems import NETWORKS, drawing_order, logits_of, network
from vanfast.backends.engines import triton_conv, triton_masked
from vanfast.backends.engines.backward import evaluate
from vanfast.backends.engines.triton_conv import TritonConv
from vanfast.backends.engines.triton_masked import TritonMasked
from vanfast.backends.engines.triton_star import shared_star
from vanfast.hamiltonians import Pairwise
from vanfast.kernels.star_prior import add_star_prior
from vanfast.networks.plan import ConvPlan, moved
from vanfast.networks.prior import StarPrior
from vanfast.random import draw_spins, random_words

SEED, FIRST, COUNT = 2**40 + 7, 2**33 + 5, 11  # the rest of a tile of 16
DRAWN = ["open", "cold", "any system", "one column", "conv one site", "one layer z2", "dense one site", "made cold"]
SOME = ["any system", "one row", "one layer z2"]


def engine_of(net, device, precision="fp32"):
    """Blocks of 5 sites, so that small masked networks have several."""
    plan = moved(net.plan(), device)
    if isinstance(plan, ConvPlan):
        return TritonConv(plan, precision, device)
    return TritonMasked(plan, precision, device, block=5)


def bytes_of(drawn):
    return [tensor.cpu().numpy().tobytes() for tensor in (drawn.spins, drawn.log_q, *drawn.kept)]


def random_spins(count, sites):
    return torch.from_numpy(np.random.default_rng(3).choice(np.int8([-1, 1]), (count, sites)))


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_given_spins(name, device):
    """Against the plain PyTorch twin in float64, added to what was there."""
    prior = network(name).prior
    spins = random_spins(37 if name == "any system" else 5, prior.ham.num_sites)
    logits = torch.randn(spins.shape)
    expected = logits + prior.logits(spins, torch.float64)
    found = logits.to(device)
    add_star_prior(shared_star(prior.plan(), device), spins.to(device), found)
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-6, atol=3e-5 if "cold" in name else 3e-6)


def test_pairs_of_all_sizes(device):
    """2 artanh(tanh K tanh f) of weak and strong, both signs, in a system of pairs: its tails are not cut."""
    sizes = [*itertools.product((1e-4, 0.03, 1.0, 2.5, 40.0, 1e4), (0.0, 1e-3, 0.1, 7.0, 40.0, 1e4), (1, -1))]
    coupling, field, sign = torch.tensor(sizes, dtype=torch.float64).T
    pairs, zero = len(sizes), torch.zeros(len(sizes), dtype=torch.float64)
    edges = torch.arange(2 * pairs).view(2, -1).T.numpy()
    prior = StarPrior(Pairwise.from_edges(2 * pairs, edges, sign * coupling, torch.cat([zero, field]).numpy()), 1.0)
    spins, found = torch.ones((1, 2 * pairs), dtype=torch.int8), torch.zeros((1, 2 * pairs), device=device)
    add_star_prior(shared_star(prior.plan(), device), spins.to(device), found)
    first, second = (found.cpu() - prior.logits(spins, torch.float64)).abs()[0].split(pairs)
    assert (first <= 3e-7 * (1 + torch.minimum(field, coupling))).all()
    assert (second <= 3e-7 * (1 + field + coupling)).all()


@pytest.mark.parametrize("name", DRAWN)
def test_draws_are_those_of_the_reference(name, device):
    net = network(name)
    engine = engine_of(net, device)
    drawn = engine.draw(COUNT, SEED, FIRST, keep=True)
    spins = drawn.spins.cpu()
    logits, in_order = logits_of(net, spins), drawing_order(net.plan(), spins)
    torch.testing.assert_close(drawn.kept[-1].cpu().double(), logits, rtol=2e-6, atol=4e-6)
    expected = functional.logsigmoid(in_order * logits).sum(1)
    torch.testing.assert_close(drawn.log_q.cpu(), expected, rtol=2e-6, atol=5e-6)
    words = random_words(SEED, FIRST, COUNT, net.num_sites)
    assert (draw_spins(logits.numpy(), words) != in_order.numpy()).sum() <= 1
    assert bytes_of(engine.evaluate(drawn.spins, keep=True)) == bytes_of(drawn)


@pytest.mark.parametrize("name", SOME)
def test_forward_gives_the_logits_that_scans_keep(name, device):
    net = network(name)
    drawn = engine_of(net, device).draw(COUNT, SEED, FIRST, keep=True)
    plan = moved(net.plan(), device)
    log_q, kept = evaluate(plan, drawing_order(plan, drawn.spins).contiguous(), "fp32")
    torch.testing.assert_close(log_q, drawn.log_q, rtol=2e-6, atol=5e-6)
    for ours, theirs in zip(kept, drawn.kept, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=5e-6)


@pytest.mark.parametrize("name", ["one row", "one layer z2"])
def test_bf16_leaves_the_prior_alone(name, device):
    net = network(name)
    drawn = engine_of(net, device, "bf16").draw(COUNT, SEED, FIRST, keep=True)
    error = (drawn.kept[-1].cpu() - logits_of(net, drawn.spins.cpu(), "bf16")).abs()
    assert float(error.median()) < 2e-6
    assert float(error.max()) < 0.03


@pytest.mark.parametrize("name", ["one row", "one layer z2"])
def test_bytes_do_not_depend_on_how_samples_are_drawn(name, device, monkeypatch):
    engine = engine_of(network(name), device)
    whole, start = engine.draw(40, SEED, FIRST), 0
    for cut in (1, 22, 17):
        part = engine.draw(cut, SEED, FIRST + start)
        assert torch.equal(part.spins, whole.spins[start : start + cut])
        assert torch.equal(part.log_q, whole.log_q[start : start + cut])
        start += cut
    for module in (triton_conv, triton_masked):
        monkeypatch.setattr(module, "STATE_BYTES", 1)  # a tile at a time
    assert bytes_of(engine.draw(40, SEED, FIRST)) == bytes_of(whole)


@pytest.mark.parametrize("name", ["one row", "one layer z2"])
def test_the_prior_moves_in_place(name, device):
    net = network(name)
    engine = engine_of(net, device)
    before, held = bytes_of(engine.draw(9, SEED, 0)), [t.data_ptr() for t in vars(engine._star.star).values()]
    beta = net.prior.beta
    net.follow(beta / 3)
    engine.load_prior(net.prior.plan())
    assert bytes_of(engine.draw(9, SEED, 0)) == bytes_of(engine_of(net, device).draw(9, SEED, 0)) != before
    net.follow(beta)
    engine.load(moved(net.plan(), device))
    assert bytes_of(engine.draw(9, SEED, 0)) == before
    assert [t.data_ptr() for t in vars(engine._star.star).values()] == held


def test_probabilities_add_up_to_one(device):
    for name in ("one row", "dense one site"):
        net = network(name)
        states = torch.tensor(list(itertools.product((1, -1), repeat=net.num_sites)), dtype=torch.int8)
        assert abs(float(engine_of(net, device).evaluate(states.to(device)).log_q.exp().sum()) - 1) < 2e-6


def test_wrong_arguments_are_named(device):
    star = shared_star(network("open").prior.plan(), device)
    spins, logits = torch.ones((3, 15), dtype=torch.int8, device=device), torch.zeros((3, 15), device=device)
    for given, message in (
        ((spins[:, :14], logits), r"spins has shape \[3, 14\]"),
        ((spins, logits[:2]), r"logits has shape \[2, 15\]"),
        ((spins.T.contiguous().T, logits), "spins must be contiguous"),
    ):
        with pytest.raises(ValueError, match=message):
            add_star_prior(star, *given)
    with pytest.raises(TypeError, match="logits has dtype"):
        add_star_prior(star, spins, logits.double())
    with pytest.raises(ValueError, match="running has shape"):
        star.arguments(star.running(40), 3)


@pytest.mark.parametrize("name", ["open", "one layer"])
def test_no_samples(name, device):
    assert engine_of(network(name), device).draw(0, SEED, 0, keep=True).log_q.shape == (0,)
