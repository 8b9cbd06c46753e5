"""Sampling by Triton: prefixes and scans of all kinds of networks against the slow truth."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.networks.conftest import FIXED, H2ARNN, LAYERED, NETWORKS, build
from vanfast.backends.engines import triton_conv, triton_masked
from vanfast.backends.engines.triton_conv import TritonConv
from vanfast.backends.engines.triton_masked import TritonMasked
from vanfast.backends.engines.triton_mixture import TritonMixture
from vanfast.backends.engines.triton_nest import TritonNest
from vanfast.backends.engines.triton_table import TritonTable
from vanfast.backends.reference import ReferenceProgram, activate, conv_logits, identity, masked_logits, to_bf16
from vanfast.networks import PixelCNN
from vanfast.networks.plan import ConvPlan, MagnetizationPlan, MaskedPlan, MixturePlan, NestPlan, PrefixPlan, moved

SEED, FIRST, COUNT = 2**40 + 7, 2**33 + 5, 13  # tiles are of 16 and begin at multiples of 16: the first is cut in both
ROUNDED = ["conv_z2", "conv_residual", "conv_width_1", "conv_depth_1", "dense_residual", "made_random_ordered"]


def engine_of(plan, device, precision="fp32"):
    """Blocks of 3 sites, so that small masked networks have several."""
    plan = moved(plan, device)
    if isinstance(plan, ConvPlan):
        return TritonConv(plan, precision, device)
    if isinstance(plan, MixturePlan):
        return TritonMixture(plan, device)
    if isinstance(plan, NestPlan):
        return TritonNest(plan, device)
    if isinstance(plan, MagnetizationPlan | PrefixPlan):
        return TritonTable(plan, device)
    return TritonMasked(plan, precision, device, block=3)


def logits_of(plan, spins, rounded=identity):
    """float64 logits in drawing order of raster spins."""
    if isinstance(plan, ConvPlan):
        return conv_logits(plan, spins.double(), rounded)
    if not isinstance(plan, MaskedPlan):
        return ReferenceProgram(plan, False, "fp32").logits(spins)
    return masked_logits(plan, (spins if plan.order is None else spins[:, plan.order]).double(), rounded)


def equal_bytes(a, b):
    return a.cpu().numpy().tobytes() == b.cpu().numpy().tobytes()


@pytest.mark.parametrize("name", [*NETWORKS, *H2ARNN, *FIXED])
def test_samples_are_those_of_the_reference(name, device):
    plan = build(name).float().plan()
    engine, reference = engine_of(plan, device), ReferenceProgram(plan, False, "fp32")
    drawn = engine.draw(COUNT, SEED, FIRST)
    spins, log_q = drawn.spins.cpu(), drawn.log_q.cpu()
    truth, _, _ = reference.sample(COUNT, SEED, FIRST)
    assert (spins != truth).any(1).sum() <= 1
    torch.testing.assert_close(log_q, reference.log_prob(spins), rtol=1e-6, atol=3e-6)
    assert drawn.kept == ()

    scored = engine.evaluate(drawn.spins, keep=True)
    assert equal_bytes(scored.log_q, drawn.log_q)
    assert equal_bytes(scored.spins, drawn.spins)
    if isinstance(plan, MixturePlan):
        assert scored.kept == ()
    else:
        torch.testing.assert_close(scored.kept[-1].cpu().double(), logits_of(plan, spins), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("name", ROUNDED)
def test_bf16_is_the_rounded_network(name, device):
    plan = build(name).plan()
    engine, reference = engine_of(plan, device, "bf16"), ReferenceProgram(plan, False, "bf16")
    drawn = engine.draw(COUNT, SEED, FIRST, keep=True)
    spins = drawn.spins.cpu()
    truth, _, _ = reference.sample(COUNT, SEED, FIRST)
    assert (spins != truth).any(1).sum() <= 1
    error = (drawn.kept[-1].cpu() - logits_of(plan, spins, to_bf16)).abs()
    assert error.median() < 1e-6  # sums in float32 move a few roundings of activations
    assert error.max() < 0.03
    assert (logits_of(plan, spins) - drawn.kept[-1].cpu()).abs().max() > 1e-4, "as if nothing had been rounded"
    assert equal_bytes(engine.evaluate(drawn.spins).log_q, drawn.log_q)


@pytest.mark.parametrize("name", ["conv_residual", "dense"])
def test_tf32_rounds_less_than_bf16(name, device):
    plan = build(name).plan()
    drawn = engine_of(plan, device, "tf32").draw(COUNT, SEED, FIRST, keep=True)
    error = (drawn.kept[-1].cpu() - logits_of(plan, drawn.spins.cpu())).abs()
    assert 1e-6 < error.max() < 5e-3


def conv_kept(plan, spins):
    """All pre-activations, channels last, float64, the last the logits."""
    z, kept, k = spins.double().view(-1, 1, *plan.shape), [], plan.half_kernel
    for layer in plan.layers:
        hidden = z
        if layer.pointwise is not None:
            bias = None if layer.pointwise_bias is None else layer.pointwise_bias.double()
            hidden = torch.nn.functional.conv2d(z, layer.pointwise.double()[:, :, None, None], bias)
            kept.append(hidden.permute(0, 2, 3, 1))
        bias = None if layer.bias is None else layer.bias.double()
        padded = torch.nn.functional.pad(activate(hidden, layer.slope), (k, k, k, 0))
        out = torch.nn.functional.conv2d(padded, layer.weight.double(), bias)
        z = out + z if layer.residual else out
        kept.append(z.permute(0, 2, 3, 1))
    return [*kept[:-1], kept[-1].flatten(1)]


def masked_kept(plan, spins):
    z, before, kept = (spins if plan.order is None else spins[:, plan.order]).double(), None, []
    for layer in plan.layers:
        out = activate(z, layer.slope) @ layer.weight.double().T + (0 if layer.bias is None else layer.bias.double())
        z, before = out + before if layer.skip else out, z
        kept.append(z)
    return kept


@pytest.mark.parametrize("name", ["conv_z2", "conv_residual_z2_no_bias", "dense_residual", "made_random_ordered"])
def test_kept_are_the_pre_activations(name, device):
    plan = build(name).plan()
    drawn = engine_of(plan, device).draw(COUNT, SEED, FIRST, keep=True)
    twin = (conv_kept if isinstance(plan, ConvPlan) else masked_kept)(plan, drawn.spins.cpu())
    assert len(drawn.kept) == len(twin)
    for ours, truth in zip(drawn.kept, twin, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.cpu().double(), truth, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("name", ["conv", "dense", "mixture", "sk_1rsb", "curie_weiss_n"])
def test_bytes_do_not_depend_on_how_samples_are_drawn(name, device, monkeypatch):
    engine = engine_of(build(name).plan(), device)
    whole = engine.draw(40, SEED, FIRST)
    start = 0
    for cut in (1, 22, 17):
        part = engine.draw(cut, SEED, FIRST + start)
        assert equal_bytes(part.spins, whole.spins[start : start + cut])
        assert equal_bytes(part.log_q, whole.log_q[start : start + cut])
        start += cut
    stepped = engine.draw(9, SEED, FIRST - 3, step=torch.tensor([10], device=device))
    assert equal_bytes(stepped.spins, whole.spins[7:16])
    assert equal_bytes(stepped.log_q, whole.log_q[7:16])
    for module in (triton_conv, triton_masked):
        monkeypatch.setattr(module, "STATE_BYTES", 1)  # a tile at a time
    parts = engine.draw(40, SEED, FIRST)
    assert equal_bytes(parts.spins, whole.spins)
    assert equal_bytes(parts.log_q, whole.log_q)


@pytest.mark.parametrize(
    "name", ["conv_z2", "made_random_ordered", "mixture_z2", "sk_learnt", "exact_h2", "curie_weiss_inf"]
)
def test_probabilities_add_up_to_one(name, device):
    """And those of all states are the reference's. The samples with the first and last indices of all are drawn."""
    net = build(name) if name != "conv_z2" else PixelCNN((2, 3), 3, 4, 2, z2=False, seed=1)
    plan = net.plan()
    engine = engine_of(plan, device)
    states = torch.tensor(list(itertools.product((1, -1), repeat=plan.num_sites)), dtype=torch.int8)
    log_q = engine.evaluate(states.to(device)).log_q.cpu()
    assert abs(log_q.exp().sum() - 1) < 1e-6
    torch.testing.assert_close(log_q, ReferenceProgram(plan, False, "fp32").log_prob(states), rtol=1e-6, atol=3e-6)
    for first in (0, 2**64 - 5):
        truth, _, _ = ReferenceProgram(plan, False, "fp32").sample(5, 2**64 - 1, first)
        assert (engine.draw(5, 2**64 - 1, first).spins.cpu() != truth).any(1).sum() <= 1


@pytest.mark.parametrize("name", ["conv_residual", "dense_residual", "mixture", "sk_learnt", "one_parameter"])
def test_loading_replaces_the_network_in_place(name, device):
    net = build(name)
    engine = engine_of(net.plan(), device)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    engine.load(moved(net.plan(), device))
    fresh = engine_of(net.plan(), device)
    ours, truth = engine.draw(COUNT, SEED, FIRST), fresh.draw(COUNT, SEED, FIRST)
    assert equal_bytes(ours.spins, truth.spins)
    assert equal_bytes(ours.log_q, truth.log_q)


@pytest.mark.parametrize("name", ["conv_z2", "dense", "mixture", "sk_rs", "exact_h2"])
def test_no_samples(name, device):
    plan = build(name).plan()
    engine = engine_of(plan, device)
    none = torch.empty((0, plan.num_sites), dtype=torch.int8, device=device)
    for drawn in (engine.draw(0, 1, 3, keep=True), engine.evaluate(none)):
        assert drawn.spins.shape == (0, plan.num_sites)
        assert drawn.log_q.shape == (0,)


@pytest.mark.parametrize(
    "name", ["conv", "dense", "made_random_ordered", "mixture", "sk_rs", "one_parameter", "exact_h2"]
)
def test_wrong_arguments_are_named(name, device):
    engine = engine_of(build(name).plan(), device)
    with pytest.raises(ValueError, match="spins has shape"):
        engine.evaluate(torch.ones(3, engine.num_sites + 1, dtype=torch.int8, device=device))
    with pytest.raises(TypeError, match="spins has dtype"):
        engine.evaluate(torch.ones(3, engine.num_sites, device=device))


def test_uneven_networks_are_refused(device):
    """A plan whose hidden layers differ in kind, which the scan's loop over layers could not run."""
    plan = build("conv_residual").plan()
    for plain in (1, 2):
        layers = list(plan.layers)
        layers[plain] = replace(layers[plain], residual=False, pointwise=None, pointwise_bias=None)
        with pytest.raises(ValueError, match="residual blocks must be all"):
            TritonConv(replace(plan, layers=tuple(layers)), "fp32", device)
    narrow = replace(plan.layers[1], weight=plan.layers[1].weight[:2])
    with pytest.raises(ValueError, match="weight of layer 1 has shape"):
        TritonConv(replace(plan, layers=(plan.layers[0], narrow, *plan.layers[2:])), "fp32", device)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["conv_z2", "dense", "mixture"])
def test_frequencies_follow_q(name):
    """G-test of all states, 100,000 samples."""
    device = torch.device("cuda")
    plan = (PixelCNN((3, 3), 3, 6, 2, z2=False, seed=1) if name == "conv_z2" else build(name)).plan()
    engine, count, sites = engine_of(plan, device), 100_000, plan.num_sites
    states = torch.tensor(list(itertools.product((1, -1), repeat=sites)), dtype=torch.int8)
    q = engine.evaluate(states.to(device)).log_q.exp().cpu().numpy()
    spins = engine.draw(count, 6, 0).spins.cpu().numpy()
    observed = np.bincount(((spins < 0) << np.arange(sites)[::-1]).sum(1), minlength=2**sites)
    seen = observed > 0
    g = 2 * (observed[seen] * np.log(observed[seen] / (count * q[seen]))).sum()
    assert g < 2**sites - 1 + 5 * np.sqrt(2 * 2**sites)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["conv_residual", "dense_residual", "mixture"])
def test_drawing_is_captured_in_a_graph(name):
    """A replay moves on with the step and takes the weights loaded meanwhile."""
    device = torch.device("cuda")
    plan = moved(build(name).plan(), device)
    engine, step = engine_of(plan, device), torch.zeros(1, dtype=torch.int64, device=device)
    engine.draw(40, SEED, FIRST, step)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        engine.load(plan)
        drawn = engine.draw(40, SEED, FIRST, step)
    for offset in (0, 40, 2**34):
        step.fill_(offset)
        graph.replay()
        direct = engine.draw(40, SEED, FIRST + offset)
        assert equal_bytes(drawn.spins, direct.spins)
        assert equal_bytes(drawn.log_q, direct.log_q)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*LAYERED])
def test_large_batches_agree_with_the_reference(name):
    """At most 1 sample in 1000 differs."""
    plan = build(name).plan()
    engine = engine_of(plan, torch.device("cuda"))
    drawn = engine.draw(5000, 3, 77)
    truth, _, _ = ReferenceProgram(plan, False, "fp32").sample(5000, 3, 77)
    assert (drawn.spins.cpu() != truth).any(1).sum() <= 5
