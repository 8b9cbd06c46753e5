"""The table of targets, energies and packing for pytest-benchmark: `pytest bench/gpu -m gpu --benchmark-only`.

Cases of run.py, which checks each against the float64 network before it is timed; here for a look at one of them.
"""

from __future__ import annotations

import pytest
import torch
from targets import energy_of, refuses, run_of, targets

from vanfast import hamiltonians as H

pytestmark = pytest.mark.gpu
BACKENDS = ["cuda", "triton"]


def time_on_device(benchmark, run) -> None:
    def whole() -> None:
        run()
        torch.cuda.synchronize()

    whole()
    benchmark.pedantic(whole, rounds=20, warmup_rounds=2)


@pytest.fixture
def device() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no NVIDIA GPU on this machine")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_target(benchmark, device, target, backend):
    if reason := refuses(target, backend):
        pytest.skip(reason)
    torch.manual_seed(0)
    run, useful = run_of(target, device, backend)
    benchmark.extra_info |= {"batch": target.batch, **useful}
    time_on_device(benchmark, run)


ENERGIES = {
    "square L=16": (lambda: H.IsingSquare(16), 1_000_000),
    "square L=64": (lambda: H.IsingSquare(64), 131_072),
    "cubic L=16": (lambda: H.IsingCubic(16), 131_072),
    "square L=128, site fields": (lambda: H.IsingSquare(128, field=torch.randn(16_384).numpy()), 32_768),
    "+-J L=64": (lambda: H.EdwardsAnderson(64, "pm"), 131_072),
    "gaussian L=64": (lambda: H.EdwardsAnderson(64, "gaussian"), 131_072),
    "SK N=20": (lambda: H.SherringtonKirkpatrick(20), 10_000),
    "SK N=100": (lambda: H.SherringtonKirkpatrick(100), 100_000),
    "SK N=1024": (lambda: H.SherringtonKirkpatrick(1024), 131_072),
    "Hopfield N=1024": (lambda: H.Hopfield(H.random_patterns(32, 1024)), 131_072),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ENERGIES)
def test_energy(benchmark, device, name, backend):
    build, batch = ENERGIES[name]
    ham = build()
    spins = torch.randint(0, 2, (batch, ham.num_sites), dtype=torch.int8, device=device) * 2 - 1
    run = energy_of(ham, device, backend)
    torch.testing.assert_close(run(spins[:64]).cpu(), ham.energy(spins[:64].cpu()), rtol=1e-10, atol=1e-10)
    benchmark.extra_info |= {"batch": batch, "bytes": batch * (ham.num_sites + 8)}
    time_on_device(benchmark, lambda: run(spins))


def test_packing(benchmark, device):
    from vanfast import _cuda
    from vanfast.backends.engines.cuda_energy import pack_spins, unpack_spins

    spins = torch.randint(0, 2, (131_072, 4096), dtype=torch.int8, device=device) * 2 - 1
    packed = pack_spins(spins, _cuda)
    assert torch.equal(unpack_spins(packed, 4096, _cuda), spins)
    benchmark.extra_info |= {"bytes": spins.numel() + packed.numel()}
    time_on_device(benchmark, lambda: pack_spins(spins, _cuda))
