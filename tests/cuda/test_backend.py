"""The backend "cuda" through the public interface, on a GPU or emulated. Its gradients are Triton's: tests/triton."""

import sys
from types import SimpleNamespace

import pytest
import torch

import vanfast as vf
from tests import gpu_battery as battery
from vanfast.backends import cuda as backend


@pytest.fixture
def device(cuda, monkeypatch):
    """Puts the module under test into the backend; the device of its networks."""
    monkeypatch.setattr(backend, "BACKEND", backend.CudaBackend(cuda.module, cuda.device))
    return cuda.device


@pytest.mark.parametrize("name", battery.NETWORKS | battery.H2ARNN)
def test_batches_are_the_reference_s(device, name):
    battery.check_batches("cuda", name, device)


@pytest.mark.parametrize("name", battery.NETWORKS | battery.H2ARNN)
def test_probabilities_sum_to_one(device, name):
    battery.check_exact_sum("cuda", name, device)


def test_without_triton_training_differentiates_by_torch(device, monkeypatch):
    monkeypatch.setattr(backend, "triton_gradient", lambda device: None)
    net = battery.network("dense z2", device)
    assert vf.Sampler(net, battery.system(net), backend="cuda").sample_and_keep(3) is None
    battery.check_training("cuda", "dense z2", device)


@pytest.mark.parametrize("name", ["sk z2", "sk couplings", "one parameter"])
def test_without_triton_h2arnn_networks_train_as_well(device, name):
    battery.check_training("cuda", name, device)


def test_empty_calls(device):
    net = battery.network("conv z2", device)
    batch = vf.Sampler(net, battery.system(net), backend="cuda").sample(0)
    assert batch.spins.shape == (0, 6)
    assert batch.log_q.shape == batch.energy.shape == (0,)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_what_has_no_products_has_nothing_to_round(device, precision):
    for name, kind in (
        ("mixture", "BernoulliMixture"),
        ("sk", "SK"),
        ("fixed magnetisation", "CurieWeissN"),
        ("fixed prefix", "ExactH2"),
    ):
        with pytest.raises(ValueError, match=f"{kind} has no matrix products"):
            vf.Sampler(battery.network(name, device), backend="cuda", precision=precision)


def test_tables_are_float64_in_any_network(device):
    """They are looked up as they are, whatever dtype the network has."""
    for name in ("fixed magnetisation", "one parameter", "fixed prefix"):
        net = battery.network(name, device).double()
        batch = vf.Sampler(net, backend="cuda").sample(40, seed=1)
        with torch.no_grad():
            assert (batch.log_q - net.log_prob(batch.spins)).abs().max() < 1e-12


def test_what_it_refuses(device):
    with pytest.raises(ValueError, match="float64; GPU engines compute in float32"):
        vf.Sampler(vf.networks.Dense(4).double(), backend="cuda")
    with pytest.raises(ValueError, match="float64; GPU engines compute in float32"):
        vf.Sampler(battery.network("sk", device).double(), backend="cuda")
    with pytest.raises(ValueError, match="isa = 'avx2': the cuda backend has no instruction sets"):
        vf.Sampler(vf.networks.Dense(4), backend="cuda", isa="avx2")


def test_a_machine_without_gpu_is_told_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "triton"):
        reason = vf.backends.available()[name]
        assert reason
        with pytest.raises(vf.errors.BackendUnavailable, match=f"backend '{name}' cannot run here"):
            vf.Sampler(vf.networks.Dense(4), backend=name)
    monkeypatch.setenv("VANFAST_BACKEND", "triton")
    with pytest.raises(vf.errors.BackendUnavailable):
        vf.Sampler(vf.networks.Dense(4))


def test_a_driver_too_old_for_the_module_is_told_so(monkeypatch):
    monkeypatch.setattr(backend, "no_gpu", lambda: None)
    module = SimpleNamespace(device_count=lambda: 0, device_error=lambda: "the driver is too old")
    monkeypatch.setitem(sys.modules, "vanfast._cuda", module)
    monkeypatch.setattr(vf, "_cuda", module, raising=False)
    assert backend.CudaBackend().unavailable() == "vanfast._cuda cannot use the GPU: the driver is too old"


def test_an_old_gpu_is_told_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert "compute capability 7.5; 8.0 or later is needed" in backend.no_gpu()
