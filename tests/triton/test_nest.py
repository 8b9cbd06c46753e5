"""Nested log-sigmoids and tables of the magnetisation: logits and gradients against float64, on odd shapes."""

import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.triton.twins import error, random_spins
from vanfast.backends.engines import backward
from vanfast.backends.engines.triton_nest import TritonNest
from vanfast.backends.engines.triton_table import TritonTable
from vanfast.backends.reference import ReferenceProgram, magnetization_logits, nest_logits
from vanfast.kernels import nest_backward as kernel
from vanfast.kernels.nest import nest
from vanfast.kernels.nest_scan import BLOCK_L, used_blocks
from vanfast.kernels.table_scan import table_gradient, table_scan
from vanfast.networks.plan import MagnetizationPlan, NestGradient, NestPlan, PrefixPlan, moved

# (N, k, batch, couplings learnt): blocks of 16 sites and 32 samples are hit, missed by one and left half empty
SHAPES = [(1, 0, 1, True), (2, 1, 5, True), (3, 3, 33, False), (16, 0, 7, True), (17, 1, 2, False), (17, 2, 1, True)]


def random_plan(N: int, k: int, learnt: bool = False, bonds: float = 1.0) -> NestPlan:
    """All parameters ~ Normal, a share `bonds` of the couplings."""
    later = torch.ones(N, N).triu(1)
    couplings = (torch.randn(N, N) * (torch.rand(N, N) < bonds)).triu(1) / N**0.5
    weight, shift = torch.randn(N, N, 2, k + 2), torch.randn(N, N, 2, k + 1)
    mask = later[:, :, None, None]
    return NestPlan(N, couplings + couplings.T, torch.randn(N), torch.randn(N), weight * mask, shift * mask, learnt)


def leaves(plan: NestPlan) -> NestPlan:
    """The plan with float64 leaves for tensors."""
    names = [field.name for field in fields(NestGradient)]
    return replace(plan, **{name: getattr(plan, name).double().requires_grad_() for name in names})


def log_q(logits: torch.Tensor, spins: torch.Tensor) -> torch.Tensor:
    return functional.logsigmoid(spins * logits).sum(1)


@pytest.mark.parametrize(("N", "k", "batch", "learnt"), SHAPES)
def test_log_q_and_gradient(N, k, batch, learnt, device):
    plan = random_plan(N, k, learnt)
    spins, weight = random_spins(batch, N), torch.randn(batch, dtype=torch.float64)
    twin = leaves(plan)
    logits = nest_logits(twin, spins.double())
    (weight * log_q(logits, spins)).sum().backward()

    there = moved(plan, device)
    got, kept = backward.evaluate(there, spins.to(device), "fp32")
    assert [tensor.dtype for tensor in kept] == [torch.float32]
    assert error(kept[0], logits) < 1e-6
    torch.testing.assert_close(got.cpu(), log_q(logits, spins).detach(), rtol=0, atol=1e-6 * N)

    (found,) = backward.gradient(there, spins.to(device), kept, weight.to(device), "fp32")
    assert isinstance(found, NestGradient)
    assert (found.couplings is None) != learnt
    for name, ours in vars(found).items():
        if ours is not None:
            assert ours.dtype == torch.float32
            assert error(ours, getattr(twin, name).grad) < 2e-6, name
    closed = torch.ones(N, N).tril().bool()
    assert not found.weight.cpu()[closed].any()
    assert not found.shift.cpu()[closed].any()


def test_log_sigmoid_is_exact_in_both_tails(device):
    """One read-out of one pair: logit_i = ln sigmoid(w u_il), u an exact sum of powers of 2. NaN stays NaN."""
    N = 9
    couplings = torch.zeros(N, N)
    couplings[: N - 2, N - 1] = 2.0 ** torch.arange(1, -6, -1)
    plan = replace(random_plan(N, 0), couplings=couplings + couplings.T, bias=torch.zeros(N), direct=torch.zeros(N))
    plan.weight.zero_()[N - 2, N - 1, 0] = 1.0
    plan.shift.zero_()
    spins = torch.tensor(list(itertools.product((1, -1), repeat=N - 2)), dtype=torch.int8)
    spins = torch.cat([spins, torch.ones(len(spins), 2, dtype=torch.int8)], 1)
    u = (spins.double() @ couplings.double())[:, N - 1]
    assert -u.min() == u.max() == 4 - 2**-5
    for scale in (1.0, 5.0, 25.0):
        plan.weight[N - 2, N - 1, 0, 0] = scale
        there = moved(plan, device)
        got = nest(spins.to(device), there.weight, there.shift, there.couplings, there.bias, there.direct).cpu()
        assert not got[:, : N - 2].any()
        truth = functional.logsigmoid(scale * u)
        assert ((got[:, N - 2] - truth).abs() < 1.2e-7 + 6e-8 * truth.abs()).all()
    plan.shift[N - 2, N - 1, 0, 0] = torch.nan
    there = moved(plan, device)
    drawn = TritonNest(there, device).evaluate(spins[:3].to(device), keep=True)
    assert drawn.kept[0][:, N - 2].isnan().all()
    assert drawn.log_q.isnan().all()


def test_fields_of_spins_without_bonds_are_exactly_zero(device):
    """And so is the gradient of what multiplies them, which an optimiser like Adam would take for a direction."""
    plan = random_plan(12, 1, learnt=True, bonds=0.2)
    spins, weight = random_spins(40, 12).to(device), torch.randn(40, dtype=torch.float64, device=device)
    there = moved(plan, device)
    _, kept = backward.evaluate(there, spins, "fp32")
    (found,) = backward.gradient(there, spins, kept, weight, "fp32")
    before = torch.stack([(plan.couplings[:i] != 0).any(0) for i in range(12)])  # [i, l]
    still = torch.ones(12, 12).triu(1).bool() & ~before
    assert 12 < int(still.sum()) < 60
    assert not found.weight.cpu()[still][:, :, 0].any()
    assert found.shift.cpu()[still].all()


@pytest.mark.parametrize("learnt", [False, True])
def test_shares_and_runs_are_added_up(learnt, device, monkeypatch):
    """One program for all samples, programs for some, and sites in runs: the same sums."""
    plan = moved(random_plan(5, 1, learnt), device)
    spins, grad = random_spins(70, 5).to(device), torch.randn(70, 5).to(device)
    arguments = (grad, spins, plan.weight, plan.shift, plan.couplings, plan.direct, learnt)
    expected = kernel.nest_backward(*arguments)
    monkeypatch.setattr(kernel, "RUN", 2)
    for programs in (1, 6):
        monkeypatch.setattr(kernel, "PROGRAMS", programs)
        for ours, theirs in zip(kernel.nest_backward(*arguments), expected, strict=True):
            assert (ours is None) == (theirs is None)
            assert ours is None or error(ours, theirs.cpu()) < 1e-6


def test_no_weight_no_samples(device):
    plan = moved(random_plan(5, 1, True), device)
    spins = random_spins(9, 5).to(device)
    _, kept = backward.evaluate(plan, spins, "fp32")
    zero = torch.zeros(9, dtype=torch.float64, device=device)
    for given, logits, weight in ((spins, kept[0], zero), (spins[:0], kept[0][:0], zero[:0])):
        (found,) = backward.gradient(plan, given, (logits,), weight, "fp32")
        assert all(bool((tensor == 0).all()) for tensor in vars(found).values())


def test_blocks_out_of_use_are_passed_over(device):
    """Few bonds and read-outs: nothing changes but the work."""
    plan = random_plan(35, 0, bonds=0.05)
    plan.weight[:, :, :, -1] *= (torch.rand(35, 35) < 0.05)[:, :, None]
    there = moved(plan, device)
    used = used_blocks(there.weight, there.couplings).cpu()
    assert used.shape == (35, 3)
    assert all(used[i, i // BLOCK_L] for i in range(35))
    later = sum(3 - i // BLOCK_L for i in range(35))
    assert 35 < int(used.sum()) < later
    drawn = TritonNest(there, device).draw(9, 3, 5, keep=True)
    assert error(drawn.kept[0], nest_logits(plan, drawn.spins.cpu().double())) < 1e-6
    assert not (drawn.spins.cpu() != ReferenceProgram(plan, False, "fp32").sample(9, 3, 5)[0]).any()


@pytest.mark.parametrize("kind", ["nest", "magnetisation", "prefix"])
def test_frequencies_follow_q(kind, device):
    """G-test of all states."""
    N, count = (3, 1024) if kind == "nest" else (4, 4096)
    if kind == "nest":
        engine = TritonNest(moved(random_plan(N, 1), device), device)
    else:
        shape = (N, N) if kind == "magnetisation" else (2**N - 1,)
        table = torch.randn(*shape, dtype=torch.float64)
        plan = MagnetizationPlan(N, table.tril()) if kind == "magnetisation" else PrefixPlan(N, table)
        engine = TritonTable(moved(plan, device), device)
    states = torch.tensor(list(itertools.product((1, -1), repeat=N)), dtype=torch.int8)
    q = engine.evaluate(states.to(device)).log_q.exp().cpu().numpy()
    assert abs(q.sum() - 1) < 1e-6
    spins = engine.draw(count, 6, 0).spins.cpu().numpy()
    observed = np.bincount(((spins < 0) << np.arange(N)[::-1]).sum(1), minlength=2**N)
    seen = observed > 0
    g = 2 * (observed[seen] * np.log(observed[seen] / (count * q[seen]))).sum()
    assert g < 2**N - 1 + 4 * np.sqrt(2 * 2**N)


@pytest.mark.parametrize(("N", "batch"), [(1, 1), (2, 7), (17, 300)])
def test_gradient_of_a_table(N, batch, device):
    plan = MagnetizationPlan(N, torch.randn(N, N, dtype=torch.float64).tril())
    spins, weight = random_spins(batch, N), torch.randn(batch, dtype=torch.float64)
    leaf = plan.logits.clone().requires_grad_()
    (weight * log_q(magnetization_logits(replace(plan, logits=leaf), spins.double()), spins)).sum().backward()
    kept = TritonTable(moved(plan, device), device).evaluate(spins.to(device), keep=True).kept
    (found,) = backward.gradient(moved(plan, device), spins.to(device), kept, weight.to(device), "fp32")
    assert found.weight.dtype == torch.float64
    assert not found.weight.cpu().triu(1).any()
    assert error(found.weight, leaf.grad) < 1e-6


def test_arguments_are_checked(device):
    plan, spins = moved(random_plan(5, 1), device), random_spins(2, 5).to(device)
    vectors = plan.couplings, plan.bias, plan.direct
    with pytest.raises(ValueError, match=r"shift has shape \[5, 5, 2, 1\], must be \[5, 5, 2, 2\]"):
        nest(spins, plan.weight, plan.shift[..., :1], *vectors)
    with pytest.raises(ValueError, match=r"its last dimension must be 2 or more"):
        nest(spins, plan.weight[..., :1], plan.shift, *vectors)
    with pytest.raises(TypeError, match=r"weight has dtype torch\.float64"):
        nest(spins, plan.weight.double(), plan.shift, *vectors)
    with pytest.raises(ValueError, match="couplings must be contiguous"):
        nest(spins, plan.weight, plan.shift, plan.couplings.T[:, :], *vectors[1:])
    with pytest.raises(ValueError, match=r"spins has shape \[2, 4\]"):
        nest(spins[:, 1:], plan.weight, plan.shift, *vectors)
    with pytest.raises(ValueError, match=r"grad has shape \[2, 4\]"):
        kernel.nest_backward(
            torch.zeros(2, 4, device=device), spins, plan.weight, plan.shift, plan.couplings, plan.direct, False
        )
    with pytest.raises(ValueError, match=r"grad has shape \[2, 4\]"):
        table_gradient(torch.zeros(2, 4, device=device), spins)
    table, log_q = torch.zeros(30, dtype=torch.float64, device=device), torch.zeros(2, dtype=torch.float64)
    step = torch.zeros(1, dtype=torch.int64, device=device)
    with pytest.raises(ValueError, match=r"table has shape \[30\], must be \[31\]"):
        table_scan(table, spins, log_q.to(device), None, step, 0, 0, given=True)
    many = torch.ones(2, 31, dtype=torch.int8, device=device)
    with pytest.raises(ValueError, match="prefixes are counted in 32 bits, up to 30 sites"):
        table_scan(table, many, log_q.to(device), None, step, 0, 0, given=True)
    with pytest.raises(TypeError, match="plan is a PrefixPlan"):
        backward.gradient(PrefixPlan(5, table), spins, (), log_q.to(device), "fp32")
    with pytest.raises(ValueError, match="kept has 0 pre-activations, the plan 1"):
        backward.gradient(plan, spins, (), log_q.to(device), "fp32")
