"""The backend "triton" through the public interface, and training on both GPU backends (the gradients are Triton's)."""

import dataclasses

import pytest
import torch

import vanfast as vf
from tests import gpu_battery as battery
from tests.cuda import emulated
from vanfast.backends import cuda
from vanfast.backends.engines.triton_nest import TritonNest
from vanfast.backends.engines.triton_table import TritonTable
from vanfast.networks.plan import LayerGradient, NestGradient
from vanfast.training import graphed
from vanfast.training.graphed import device_program

TRAINED = (
    *("conv z2", "residual z2", "one layer", "made", "conv star z2"),
    *("sk z2", "sk couplings", "magnetisation"),
)
NEW = TRAINED[-3:]


@pytest.fixture
def garbage():
    """None: steps are captured here with the algorithms of torch that users have, not with its deterministic ones."""


@pytest.fixture(params=["triton", "cuda"])
def backend(request, device, monkeypatch):
    if request.param == "cuda" and device.type == "cpu":
        module = emulated.load(emulated.build())
        monkeypatch.setattr(cuda, "BACKEND", cuda.CudaBackend(module, device))
    return request.param


@pytest.mark.parametrize("name", [*battery.NETWORKS, *battery.H2ARNN])
def test_batches_are_the_reference_s(device, name):
    battery.check_batches("triton", name, device, count=18)


@pytest.mark.parametrize("name", ["residual z2", "made", "mixture", "sk couplings", "fixed prefix"])
def test_probabilities_sum_to_one(device, name):
    battery.check_exact_sum("triton", name, device)


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_of_kept_samples(backend, device, name):
    battery.check_gradient(backend, name, device)


@pytest.mark.parametrize("name", TRAINED)
def test_training_steps_are_those_of_the_cpu(backend, device, name):
    """The path that a GPU captures as one graph."""
    net = battery.network(name, device)
    assert device_program(vf.Sampler(net, battery.system(net), backend=backend)) is not None
    battery.check_training(backend, name, device)


def test_a_prior_follows_the_temperature(backend, device):
    battery.check_ladder(backend, "conv star z2" if backend == "cuda" else "made star", device)


@pytest.mark.parametrize("name", NEW)
def test_packing_and_gradients_look_at_no_values(name):
    """On a GPU that would wait for it, which a captured step may not: here tensors have no values."""
    there = torch.device("meta")
    net = battery.network(name, there)
    plan = net.plan()
    engine = (TritonTable if name == "magnetisation" else TritonNest)(plan, there)
    engine.load(plan)
    if name == "magnetisation":
        found = LayerGradient(torch.empty_like(plan.logits))
    else:
        names = [field.name for field in dataclasses.fields(NestGradient)]
        found = NestGradient(**{name: torch.empty_like(getattr(plan, name)) for name in names})
    net.add_gradient([found])
    assert all(parameter.grad.shape == parameter.shape for parameter in net.parameters())


def test_what_has_no_parameters_or_no_rounding(device):
    assert vf.Sampler(battery.network("fixed prefix", device), backend="triton").sample_and_keep(3) is None
    for name in battery.H2ARNN:
        with pytest.raises(ValueError, match="no matrix products that could be rounded to bf16"):
            vf.Sampler(battery.network(name, device), backend="triton", precision="bf16")
    double = battery.network("sk", device).double()
    with pytest.raises(ValueError, match="float64; GPU engines compute in float32"):
        vf.Sampler(double, backend="triton")
    table = battery.network("fixed prefix", device).double()  # tables are float64 anyway
    assert len(vf.Sampler(table, backend="triton").sample(3)) == 3


@pytest.mark.gpu
def test_a_network_on_a_gpu_stays_there(device):
    net = battery.network("made", device)
    assert vf.Sampler(net).backend == "cuda"
    assert vf.Sampler(net).sample(5).spins.device.type == "cuda"


def test_a_replayed_step_takes_up_the_prior(backend, device, monkeypatch):
    """A graph's `load` holds nothing of the host, where a prior comes from."""

    def first_step(follow):
        net = battery.network("made star", device)
        sampler = vf.Sampler(net, battery.system(net), backend=backend)
        program = device_program(sampler)
        if follow:
            monkeypatch.setattr(program, "load", lambda net: True)
        net.follow(1.1)
        step = graphed.GraphedStep(
            sampler, program, graphed.make_adam(net, 1e-3, (0.9, 0.99), device.type == "cuda"), 16, seed=1
        )
        step.run(0, 0, 1.1, 1e-3)
        return step.figures(1)[0]

    assert first_step(follow=True) == first_step(follow=False)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "beta", "anneal"),
    [
        ("dense z2", 0.4, 0.9),
        ("made star", [0.4, 0.8], None),
        ("made star", 0.4, 0.9),
        *((name, 0.4, 0.9) for name in NEW),
    ],
)
@pytest.mark.parametrize("precision", vf.backends.PRECISIONS)
def test_replayed_steps_equal_uncaptured_ones(backend, device, precision, name, beta, anneal, monkeypatch):
    """A captured graph gives the bytes that the launches give one by one."""

    def train():
        net = battery.network(name, device)
        options = {"steps": 70, "batch": 64, "seed": 1, "precision": precision, "progress": False}
        run = vf.train(net, battery.system(net), beta, backend=backend, anneal=anneal, **options)
        return [record.loss for record in run.history], [p.detach().clone() for p in net.parameters()]

    losses, parameters = train()
    monkeypatch.setattr(
        graphed.GraphedStep, "_capture", lambda self: type("Launches", (), {"replay": lambda _: self._step()})()
    )
    expected_losses, expected = train()
    assert losses == expected_losses
    assert all(torch.equal(a, b) for a, b in zip(parameters, expected, strict=True))


@pytest.mark.gpu
def test_a_step_that_diverges_is_not_taken(backend, device):
    net = battery.network("dense z2", device)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    ham = vf.hamiltonians.Pairwise(torch.full((9, 9), 1e300, dtype=torch.float64).fill_diagonal_(0).numpy())
    with pytest.raises(FloatingPointError, match="training diverged at step 0"):
        vf.train(net, ham, 1e10, steps=20, batch=20, backend=backend, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


@pytest.mark.gpu
def test_more_samples_than_fit_31_bits(device):
    """Offsets past 2^31: 140,000 samples of 128 x 128 sites, the last of them drawn alone for comparison."""
    net = vf.networks.PixelCNN(128, depth=1, width=1, half_kernel=1, z2=False, seed=1).to(device)
    ham = vf.hamiltonians.IsingSquare(L=128)
    sampler = vf.Sampler(net, ham, backend="cuda")
    batch = sampler.program.draw(140_000, 3, 0, ham)
    assert batch.spins.numel() > 2**31
    tail = sampler.sample(100, seed=3, first=139_900)
    assert torch.equal(batch.spins[-100:], tail.spins)
    assert torch.equal(batch.log_q[-100:], tail.log_q)
    assert torch.equal(batch.energy[-100:], tail.energy)
    assert torch.allclose(batch.energy[-5:].cpu(), ham.energy(batch.spins[-5:].cpu()))
