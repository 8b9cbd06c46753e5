"""The sampler: arguments, batches with energies, and following the network's parameters."""

import pytest
import torch

import vanfast as vf
from vanfast import backends
from vanfast.errors import BackendUnavailable
from vanfast.networks import Dense, PixelCNN
from vanfast.sampler import _same_values

torch.set_num_threads(1)


@pytest.fixture
def net():
    return Dense(12, depth=2, width=2, seed=0)


@pytest.fixture
def ham():
    return vf.hamiltonians.IsingSquare(shape=(3, 4))


def test_batch_of_spins_log_q_and_energy(net, ham):
    batch = vf.Sampler(net, ham, backend="reference").sample(10, seed=1)
    assert isinstance(batch, vf.Batch)
    assert len(batch) == 10
    assert batch.spins.dtype == torch.int8
    assert batch.spins.shape == (10, 12)
    assert set(batch.spins.unique().tolist()) <= {-1, 1}
    assert batch.log_q.dtype == batch.energy.dtype == torch.float64
    assert torch.equal(batch.energy, ham.energy(batch.spins))
    without = vf.Sampler(net, backend="reference").sample(10, seed=1)
    assert without.energy is None
    assert torch.equal(without.spins, batch.spins)


def test_no_samples(net, ham):
    batch = vf.Sampler(net, ham, backend="reference").sample(0)
    assert batch.spins.shape == (0, 12)
    assert batch.log_q.shape == batch.energy.shape == (0,)


def test_last_sample_index(net):
    sampler = vf.Sampler(net, backend="reference")
    last = sampler.sample(3, seed=2**64 - 1, first=2**64 - 3)
    assert torch.equal(sampler.sample(1, seed=2**64 - 1, first=2**64 - 1).spins, last.spins[2:])
    with pytest.raises(ValueError, match="first"):
        sampler.sample(4, first=2**64 - 3)


def test_parameters_are_followed(net):
    sampler = vf.Sampler(net, backend="reference")
    before = sampler.sample(50, seed=3)
    assert torch.equal(sampler.sample(50, seed=3).log_q, before.log_q)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    (-net.log_prob(before.spins).sum()).backward()
    optimizer.step()
    changed = sampler.sample(50, seed=3)
    torch.testing.assert_close(changed.log_q, net.log_prob(changed.spins).detach(), rtol=1e-5, atol=1e-5)
    assert not torch.equal(changed.log_q, before.log_q)
    net.steps[-1].layer.bias.data.fill_(30.0)  # a write that no version counter shows
    assert (sampler.sample(50, seed=3).spins == 1).all()
    net.double()
    exact = sampler.sample(5)
    torch.testing.assert_close(exact.log_q, net.log_prob(exact.spins).detach(), rtol=1e-13, atol=1e-13)


def test_values_on_a_gpu_are_compared_together():
    known = [torch.arange(6.0).view(2, 3), torch.ones(()), torch.zeros(2, dtype=torch.float64)]
    assert _same_values([(tensor, tensor.clone()) for tensor in known])
    for index, value in ((0, 7.0), (1, float("nan")), (2, -1e-300)):
        present = [tensor.clone() for tensor in known]
        present[index].view(-1)[-1] = value
        assert not _same_values(list(zip(known, present, strict=True)))


def test_a_network_that_changed_its_dtype_is_refused_again(net, monkeypatch):
    sampler = vf.Sampler(net, backend="reference")
    refuses = "its parameters are float64"
    monkeypatch.setattr(type(backends.get("reference")), "refuses", lambda self, net, precision: refuses)
    sampler.sample(1)
    net.double()
    with pytest.raises(ValueError, match=refuses):
        sampler.sample(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_parameters_that_are_not_finite(net, value):
    sampler = vf.Sampler(net, backend="reference")
    with torch.no_grad():
        net.steps[0].layer.weight[3, 1] = value
    with pytest.raises(FloatingPointError, match=r"steps\.0\.layer\.weight"):
        sampler.sample(1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": -1}, ValueError, "count = -1"),
        ({"count": 2.5}, TypeError, "count = 2.5"),
        ({"count": True}, TypeError, "count = True"),
        ({"count": 1, "seed": -1}, ValueError, "seed = -1"),
        ({"count": 1, "seed": 2**64}, ValueError, "seed"),
        ({"count": 1, "seed": None}, TypeError, "seed = None"),
        ({"count": 1, "first": -4}, ValueError, "first = -4"),
    ],
)
def test_arguments_of_sample(net, arguments, error, message):
    with pytest.raises(error, match=message):
        vf.Sampler(net, backend="reference").sample(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"net": "dense"}, TypeError, "net"),
        ({"ham": 3}, TypeError, "ham"),
        ({"ham": vf.hamiltonians.IsingSquare(L=4)}, ValueError, "16 sites"),
        ({"backend": "gpu"}, ValueError, "backend = 'gpu'"),
        ({"precision": "fp8"}, ValueError, "precision = 'fp8'"),
        ({"precision": "tf32", "backend": "reference"}, ValueError, "tf32"),
        ({"threads": 0}, ValueError, "threads = 0"),
        ({"threads": "2"}, TypeError, "threads = '2'"),
    ],
)
def test_arguments_of_the_sampler(net, arguments, error, message):
    with pytest.raises(error, match=message):
        vf.Sampler(**({"net": net} | arguments))


def test_lattices_must_agree(ham):
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(4, 3\)"):
        vf.Sampler(PixelCNN((4, 3), depth=1, half_kernel=1), ham)
    vf.Sampler(PixelCNN((3, 4), depth=1, half_kernel=1), ham, backend="reference")


def test_an_unavailable_backend_says_why(net, monkeypatch):
    monkeypatch.setattr(type(backends.get("reference")), "unavailable", lambda self: "it is Sunday")
    with pytest.raises(BackendUnavailable, match="Sunday"):
        vf.Sampler(net, backend="reference")


def test_environment_chooses_what_auto_means(net, monkeypatch):
    monkeypatch.setenv("VANFAST_BACKEND", "reference")
    assert vf.Sampler(net).backend == "reference"
    monkeypatch.setenv("VANFAST_BACKEND", "abacus")
    with pytest.raises(ValueError, match="VANFAST_BACKEND = 'abacus' must be one of 'auto'"):
        vf.Sampler(net)
    assert vf.Sampler(net, backend="reference").backend == "reference"
    monkeypatch.setenv("VANFAST_BACKEND", "")
    assert vf.Sampler(net).backend in backends.available()


def test_a_network_on_a_gpu_is_never_quietly_run_on_the_cpu(monkeypatch):
    monkeypatch.delenv("VANFAST_BACKEND", raising=False)
    for name in backends.ON_GPU:
        monkeypatch.setattr(type(backends.get(name)), "unavailable", lambda self: f"no {self.name} today")
    with pytest.raises(BackendUnavailable, match="on cuda:1: cuda: no cuda today; triton: no triton today"):
        backends.choose("auto", torch.device("cuda", 1))
    assert backends.choose("cpu", torch.device("cuda", 1)).name == "cpu"


def test_available_lists_the_reference():
    assert backends.available()["reference"] is None
