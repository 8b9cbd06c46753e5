"""What GPU backends share: symmetry, chunks, gradients of kept samples, and the step that a GPU captures.

The engine here is the reference in float64, so that nothing but the shared part is on trial.
"""

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.nn import functional

import vanfast as vf
from vanfast import random
from vanfast.backends import device
from vanfast.backends.engines.base import Drawn, Engine
from vanfast.backends.reference import ReferenceProgram, conv_logits, masked_logits
from vanfast.networks.plan import ConvPlan, LayerGradient
from vanfast.training.graphed import RING, GraphedStep, device_program, make_adam

NETWORKS = {
    "conv": lambda z2: vf.networks.PixelCNN((3, 4), depth=3, width=3, half_kernel=1, z2=z2, seed=1),
    "residual": lambda z2: vf.networks.PixelCNN((3, 3), depth=4, width=2, half_kernel=2, residual=True, z2=z2, seed=2),
    "dense": lambda z2: vf.networks.Dense(9, depth=3, width=2, residual=True, z2=z2, seed=3),
    "made": lambda z2: vf.networks.MADE(7, (9, 5), order=[3, 0, 6, 1, 5, 2, 4], z2=z2, seed=4),
}


def logits_of(plan, drawn):
    return (conv_logits if isinstance(plan, ConvPlan) else masked_logits)(plan, drawn.double())


class SlowEngine(Engine):
    loads = 0

    def __init__(self, plan):
        super().__init__(plan, torch.device("cpu"))
        self.load(plan)

    def load(self, plan):
        self.plan, self.program = plan, ReferenceProgram(plan, False, "fp32")
        self.loads += 1

    def draw(self, count, seed, first, step=None, keep=False):
        assert count <= device.BATCH_LIMIT
        spins, _, _ = self.program.sample(count, seed, first + (0 if step is None else int(step)))
        return self.evaluate(spins, keep)

    def evaluate(self, spins, keep=False):
        order = getattr(self.plan, "order", None)
        drawn = spins if order is None else spins[:, order]
        return Drawn(spins, self.program.log_prob(spins), (logits_of(self.plan, drawn),) if keep else ())


def gradient(plan, spins, kept, weight, precision):
    """By autograd of the plan's tensors; checks that what was kept belongs to these spins."""
    assert torch.allclose(kept[-1], logits_of(plan, spins), equal_nan=True)
    names = [field.name for field in dataclasses.fields(LayerGradient)]
    tensors = [
        {n: getattr(layer, n, None).clone().requires_grad_() for n in names if getattr(layer, n, None) is not None}
        for layer in plan.layers
    ]
    layers = tuple(dataclasses.replace(layer, **own) for layer, own in zip(plan.layers, tensors, strict=True))
    log_q = functional.logsigmoid(spins * logits_of(dataclasses.replace(plan, layers=layers), spins)).sum(1)
    (weight * log_q).sum().backward()
    masked = []
    for layer, own in zip(plan.layers, tensors, strict=True):
        grads = {n: t.grad for n, t in own.items()}
        grads["weight"] = grads["weight"] * (layer.weight != 0)
        masked.append(LayerGradient(**grads))
    return masked


def symmetrize(spins, log_q, log_q_flipped, seed, first, step):
    start = first + (0 if step is None else int(step))
    spins *= torch.from_numpy(random.flip_signs(seed, start, len(spins)))[:, None]
    return torch.logaddexp(log_q, log_q_flipped) - device.LN2


class SlowEnergy:
    def __init__(self, ham):
        self.ham = ham

    def evaluate(self, spins):
        return self.ham.energy(spins)


def program_of(net):
    plan = net.plan()
    operations = device.Operations(symmetrize, lambda ham, _: SlowEnergy(ham), gradient)
    return device.DeviceProgram(plan, net.z2, "fp32", SlowEngine(plan), operations)


def system(net):
    return vf.hamiltonians.SherringtonKirkpatrick(net.num_sites, seed=5)


@pytest.fixture(params=[(name, z2) for name in NETWORKS for z2 in (False, True)], ids=str)
def net(request):
    name, z2 = request.param
    net = NETWORKS[name](z2)
    if net.num_sites == 12:
        net.double()
    return net


def test_samples_are_those_of_the_reference_in_any_chunks(net, monkeypatch):
    ham = system(net)
    expected = vf.Sampler(net, ham, backend="reference").sample(23, seed=3, first=70)
    monkeypatch.setattr(device, "BATCH_LIMIT", 8)
    spins, log_q, energy = program_of(net).sample(23, 3, 70, ham)
    assert torch.equal(spins, expected.spins)
    assert torch.allclose(log_q, expected.log_q, rtol=0, atol=1e-12)
    assert torch.equal(energy, expected.energy)
    assert torch.allclose(program_of(net).log_prob(spins), expected.log_q, rtol=0, atol=1e-12)


def test_nothing_is_asked_for_and_nothing_is_given(net):
    spins, log_q, energy = program_of(net).sample(0, 0, 0, system(net))
    assert spins.shape == (0, net.num_sites)
    assert log_q.shape == energy.shape == (0,)
    assert program_of(net).sample_and_keep(0, 0, 0) is None
    assert program_of(net).log_prob(spins).shape == (0,)


def test_gradient_of_kept_samples_is_autograd(net):
    kept = program_of(net).sample_and_keep(17, 1, 5, system(net))
    weight = torch.randn(17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net.zero_grad()
    (weight * net.log_prob(kept.spins)).sum().backward()
    expected = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net.add_gradient(kept.gradient(weight))
    for parameter, wanted in zip(net.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad.to(wanted), wanted, rtol=1e-4, atol=1e-6)


def test_gradient_of_given_spins_is_autograd(net):
    spins = torch.from_numpy(2 * np.random.default_rng(0).integers(0, 2, (17, net.num_sites)) - 1)
    kept = program_of(net).evaluate_and_keep(spins)
    assert torch.equal(kept.spins, spins.to(torch.int8))
    weight = torch.randn(17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net.zero_grad()
    log_q = net.log_prob(spins)
    assert torch.allclose(kept.log_q, log_q, rtol=1e-5, atol=1e-5)
    (weight * log_q).sum().backward()
    expected = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net.add_gradient(kept.gradient(weight))
    for parameter, wanted in zip(net.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad.to(wanted), wanted, rtol=1e-4, atol=1e-6)
    assert program_of(net).evaluate_and_keep(spins[:0]) is None


def test_kept_samples_keep_their_weights_when_the_program_takes_others(net):
    program = program_of(net)
    kept = program.sample_and_keep(5, 1, 0)
    weight = torch.ones(5, dtype=torch.float64)
    before = kept.gradient(weight)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    assert program.load(net)
    after = kept.gradient(weight)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(before, after, strict=True))
    other = program.sample_and_keep(5, 1, 0).gradient(weight)
    assert not all(torch.equal(a.weight, b.weight) for a, b in zip(before, other, strict=True))


class SlowBackend:
    name = "slow"

    def unavailable(self):
        return None

    def refuses(self, net, precision):
        return None

    def compile(self, net, precision, threads, isa=None):
        return program_of(net)


@pytest.fixture
def slow_backend(monkeypatch):
    monkeypatch.setattr(vf.backends, "choose", lambda name, device: SlowBackend())


def test_a_sampler_loads_new_parameters_in_place(slow_backend):
    net = NETWORKS["dense"](True)
    sampler = vf.Sampler(net, system(net))
    program, before = sampler.program, sampler.sample(9).log_q
    with torch.no_grad():
        next(net.parameters()).mul_(1.5)
    assert not torch.equal(sampler.sample(9).log_q, before)
    assert sampler.program is program
    assert program.engine.loads == 2


def test_a_sampler_knows_that_steps_have_loaded_other_parameters(slow_backend):
    net = NETWORKS["dense"](False)
    sampler = vf.Sampler(net, system(net))
    before, first = sampler.sample(9).log_q, {name: value.clone() for name, value in net.state_dict().items()}
    step = GraphedStep(sampler, device_program(sampler), make_adam(net, 0.1, (0.9, 0.99), False), batch=16, seed=1)
    for number in range(2):
        step.run(number, number, 0.5, 0.1)
    net.load_state_dict(first)  # those that the sampler knew before
    assert torch.equal(sampler.sample(9).log_q, before)


def test_kernels_are_launched_with_their_gpu_selected(monkeypatch):
    """Triton takes torch's current GPU, not that of the tensors."""
    selected = []

    @contextmanager
    def select(device):
        selected.append(device)
        yield
        selected.pop()

    def checked(function):
        def call(*arguments):
            assert selected == [torch.device("cuda", 1)]
            return function(*arguments)

        return call

    net = NETWORKS["dense"](True)
    program = program_of(net)
    monkeypatch.setattr(torch.cuda, "device", select)
    program.device = torch.device("cuda", 1)
    for name in ("draw", "evaluate"):
        monkeypatch.setattr(program.engine, name, checked(getattr(program.engine, name)))
    program._operations = device.Operations(
        checked(symmetrize), lambda ham, _: SlowEnergy(ham), checked(program._operations.gradient)
    )
    kept = program.draw(5, 1, 0, system(net), keep=True)
    kept.gradient(torch.ones(5, dtype=torch.float64))
    program._log_q(kept.spins)
    assert not selected


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_captured_steps_train_as_the_others_do(slow_backend, monkeypatch, schedule, tmp_path):
    """The path of a GPU, uncaptured here: same records, same parameters, also across a stop between two rings."""
    monkeypatch.setattr("vanfast.training.variational.RING", 4)
    options = {"steps": [7, 6], "batch": 30, "seed": 2, "anneal": 0.3, "schedule": schedule, "progress": False}
    net, other = NETWORKS["made"](True), NETWORKS["made"](True)
    ham = system(net)
    seen = []
    captured = vf.train(net, ham, [0.3, 0.6], **options, callback=seen.append, out=tmp_path / "run", checkpoint_every=5)
    monkeypatch.setattr("vanfast.training.variational.device_program", lambda sampler: None)
    stepwise = vf.train(other, ham, [0.3, 0.6], **options)
    assert [record.step for record in seen] == [record.step for record in captured.history] == list(range(13))
    for ours, theirs in zip(captured.history, stepwise.history, strict=True):
        for name in ("beta", "rung", "loss", "energy_per_site", "ess", "gradient_norm", "learning_rate"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-6), name
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert vf.load(tmp_path / "run").config() == net.config()


def test_captured_training_resumes_exactly(slow_backend, tmp_path):
    ham = vf.hamiltonians.SherringtonKirkpatrick(9, seed=5)
    whole, halves = NETWORKS["dense"](False), NETWORKS["dense"](False)
    vf.train(whole, ham, 0.5, steps=9, batch=20, progress=False)
    vf.train(halves, ham, 0.5, steps=4, batch=20, progress=False, out=tmp_path / "run")
    resumed = vf.train(
        NETWORKS["dense"](False), ham, 0.5, steps=9, batch=20, progress=False, out=tmp_path / "run", resume=True
    )
    for a, b in zip(whole.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_that_diverges_is_named_and_not_taken(slow_backend):
    net = NETWORKS["dense"](False)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    ham = vf.hamiltonians.Pairwise(torch.full((9, 9), 1e300, dtype=torch.float64).fill_diagonal_(0).numpy())
    with pytest.raises(FloatingPointError, match="training diverged at step 0"):
        vf.train(net, ham, 1e10, steps=20, batch=20, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


def test_figures_lie_in_their_slots(slow_backend):
    net = NETWORKS["dense"](False)
    sampler = vf.Sampler(net, system(net))
    step = GraphedStep(sampler, device_program(sampler), make_adam(net, 1e-3, (0.9, 0.99), False), batch=16, seed=1)
    for slot in range(3):
        step.run(10 + slot, slot, 0.5, 0.0)  # learning rate 0: the network stays
    again = GraphedStep(sampler, device_program(sampler), make_adam(net, 1e-3, (0.9, 0.99), False), batch=16, seed=1)
    again.run(12, RING - 1, 0.5, 0.0)
    again.run(10, 0, 0.5, 0.0)
    assert again.figures(RING)[0] == step.figures(3)[0]
    assert again.figures(RING)[-1] == step.figures(3)[2]
    expected = sampler.sample(16, seed=1, first=10 * 16)
    assert step.figures(1)[0].loss == pytest.approx(float((0.5 * expected.energy + expected.log_q).mean()))
