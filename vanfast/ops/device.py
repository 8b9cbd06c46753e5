"""The operations on NVIDIA GPUs: the backend that a Sampler takes there; gradients by Triton's kernels, or by torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from vanfast import backends
from vanfast._spins import as_spins
from vanfast.backends.engines.energy_arrays import EnergyOnDevice
from vanfast.hamiltonians import Hamiltonian
from vanfast.ops.run import KEPT, runner, system, unsigned

BACKEND = "auto"  # that of the parameters' device


def sample(
    parameters: Sequence[Tensor], network: str, count: int, seed: int, first: int, precision: str
) -> tuple[Tensor, Tensor]:
    run, device = runner(parameters, network), parameters[0].device
    spins, log_q = run.sample(parameters, count, unsigned(seed), unsigned(first), BACKEND, precision)
    return spins.to(device), log_q.to(device)  # VANFAST_BACKEND=cpu draws there


def log_prob(parameters: Sequence[Tensor], network: str, spins: Tensor, precision: str) -> Tensor:
    log_q = runner(parameters, network).log_prob(parameters, spins, BACKEND, precision)
    return log_q.to(parameters[0].device)


def log_prob_backward(
    parameters: Sequence[Tensor], network: str, spins: Tensor, grad: Tensor, precision: str
) -> list[Tensor]:
    run = runner(parameters, network)
    found = run.engine_gradients(parameters, spins, grad, precision)
    return run.gradients(parameters, spins, grad, precision) if found is None else found


def energy(arrays: Sequence[Tensor], hamiltonian: str, spins: Tensor) -> Tensor:
    ham = system(arrays, hamiltonian)
    model = _model(ham, spins.device)
    if model is None:  # VANFAST_BACKEND=cpu
        return ham.energy(spins)
    return model.evaluate(as_spins(spins, ham.num_sites, device=spins.device))


@lru_cache(maxsize=KEPT)
def _model(ham: Hamiltonian, device: torch.device) -> EnergyOnDevice | None:
    from vanfast.backends.cuda import CudaBackend

    backend = backends.choose(BACKEND, device)
    if isinstance(backend, CudaBackend):
        from vanfast.backends.engines import cuda_energy

        return cuda_energy.DeviceEnergy(ham, device, backend.native())
    if backend.name == "triton":
        from vanfast.backends.engines import triton_energy

        return triton_energy.DeviceEnergy(ham, device)
    return None


for _kernel in (sample, log_prob, log_prob_backward, energy):
    torch.library.impl(f"vanfast::{_kernel.__name__}", "CUDA", _kernel)
