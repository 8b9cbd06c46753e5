"""The GPU's kernels: called with the emulated CUDA engine on the CPU, and through the dispatcher on a GPU."""

import shutil

import pytest
import torch

import vanfast as vf
from tests.cuda import emulated
from tests.ops.conftest import LAYERED, build
from vanfast.backends import cuda as cuda_backend
from vanfast.ops import description, device, run

EMULATED = ["conv", "dense_residual_z2", "made_ordered_z2", "mixture"]


@pytest.fixture(scope="module")
def emulated_module():
    if not shutil.which(emulated.compiler()):
        pytest.skip(f"no C++ compiler ({emulated.compiler()}), so kernels cannot be run on the CPU")
    return emulated.load(emulated.build())


@pytest.fixture
def cuda_on_cpu(monkeypatch, emulated_module):
    """Networks on the CPU run by the CUDA engine's source, compiled for the CPU."""
    backend = cuda_backend.CudaBackend(emulated_module, torch.device("cpu"))
    monkeypatch.setattr(cuda_backend, "BACKEND", backend)
    monkeypatch.setenv("VANFAST_BACKEND", "cuda")
    caches = run._runner, device._model
    for cache in caches:
        cache.cache_clear()
    yield backend
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("name", EMULATED)
def test_networks_on_the_emulated_engine(cuda_on_cpu, spins, name):
    net = build(name)
    parameters, text = [parameter.detach() for parameter in net.parameters()], description.of_network(net)
    sampler = vf.Sampler(net, backend="cuda")
    drawn, log_q = device.sample(parameters, text, 9, -1, 5, "fp32")
    batch = sampler.sample(9, seed=2**64 - 1, first=5)
    assert torch.equal(drawn, batch.spins)
    assert torch.equal(log_q, batch.log_q)
    evaluated = device.log_prob(parameters, text, spins, "fp32")
    assert torch.equal(evaluated, sampler.log_prob(spins))
    torch.testing.assert_close(evaluated, net.log_prob(spins).detach(), rtol=1e-5, atol=1e-5)


def test_energies_on_the_emulated_engine(cuda_on_cpu, ham, spins):
    arguments = description.arrays_of(ham), description.of_hamiltonian(ham)
    for rows in (spins, spins.float(), spins[:0]):
        torch.testing.assert_close(device.energy(*arguments, rows), ham.energy(rows), rtol=1e-12, atol=1e-12)
    assert device._model(run.system(*arguments), spins.device) is not None
    with pytest.raises(ValueError, match="found 0"):
        device.energy(*arguments, 0 * spins)


def test_without_a_gpu_backend_the_cpu_does_it(ham, spins, dense):
    arguments = description.arrays_of(ham), description.of_hamiltonian(ham)
    assert torch.equal(device.energy(*arguments, spins), ham.energy(spins))
    parameters, text = [parameter.detach() for parameter in dense.parameters()], description.of_network(dense)
    assert torch.equal(device.sample(parameters, text, 9, 1, 0, "fp32")[0], vf.ops.sample(dense, 9, seed=1)[0])
    grad = torch.randn(23, dtype=torch.float64)
    backward = torch.ops.vanfast.log_prob_backward(parameters, text, spins, grad, "fp32")
    for a, b in zip(device.log_prob_backward(parameters, text, spins, grad, "fp32"), backward, strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
def test_networks_on_a_gpu(net, spins):
    here = [parameter.detach().clone() for parameter in net.parameters()]
    reference = torch.autograd.grad(net.double().log_prob(spins).sum(), list(net.parameters()))
    net = net.float().cuda()
    for parameter, value in zip(net.parameters(), here, strict=True):
        parameter.data.copy_(value)
    drawn, log_q = vf.ops.sample(net, 5000, seed=3, first=2**63)
    batch = vf.Sampler(net).sample(5000, seed=3, first=2**63)
    assert drawn.is_cuda
    assert torch.equal(drawn.cpu(), batch.spins.cpu())
    torch.testing.assert_close(vf.ops.log_prob(net, drawn), log_q, rtol=1e-6, atol=1e-6)
    on_gpu = spins.cuda()
    for given in (on_gpu, spins, on_gpu.float()):
        mine = torch.autograd.grad(vf.ops.log_prob(net, given).sum(), list(net.parameters()))
        for a, b in zip(mine, reference, strict=True):
            torch.testing.assert_close(a.cpu().double(), b, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_energies_on_a_gpu(ham, spins):
    energy = vf.ops.energy(ham, spins.cuda())
    assert energy.is_cuda
    torch.testing.assert_close(energy.cpu(), ham.energy(spins), rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("name", LAYERED)
def test_opcheck_on_a_gpu(name, spins):
    net = build(name).cuda()
    parameters, text = [p.detach().requires_grad_() for p in net.parameters()], description.of_network(net)
    torch.library.opcheck(torch.ops.vanfast.sample, (parameters, text, 40, 1, 3, "fp32"))
    arguments = parameters, text, spins.cuda(), "fp32"
    torch.library.opcheck(torch.ops.vanfast.log_prob, arguments, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_gradcheck_on_a_gpu(dense, spins):
    net = dense.double().cuda()
    text, rows = description.of_network(net), spins[:5].cuda()

    def log_q(*parameters):
        return torch.ops.vanfast.log_prob(list(parameters), text, rows, "fp32")

    assert torch.autograd.gradcheck(log_q, tuple(net.parameters()))


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_on_a_gpu(dense, backend):
    from tests.ops.test_compile import assert_same, loss, value_and_gradients

    ham, net = vf.hamiltonians.SherringtonKirkpatrick(6), dense.cuda()
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    assert_same(*(value_and_gradients(f, net, ham, 0.4, 100, 3) for f in (compiled, loss)))
