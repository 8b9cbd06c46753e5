"""The operations on NVIDIA GPUs: the backend that a Sampler takes there, and torch for gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vanfast.ops.run import gradients, runner, system, unsigned

BACKEND = "auto"  # that of the parameters' device


@torch.library.impl("vanfast::sample", "CUDA")
def sample(
    parameters: Sequence[Tensor], network: str, count: int, seed: int, first: int, precision: str
) -> tuple[Tensor, Tensor]:
    run, device = runner(parameters, network), parameters[0].device
    spins, log_q = run.sample(parameters, count, unsigned(seed), unsigned(first), BACKEND, precision)
    return spins.to(device), log_q.to(device)  # where no GPU backend is installed, the CPU engine has drawn


@torch.library.impl("vanfast::log_prob", "CUDA")
def log_prob(parameters: Sequence[Tensor], network: str, spins: Tensor, precision: str) -> Tensor:
    log_q = runner(parameters, network).log_prob(parameters, spins, BACKEND, precision)
    return log_q.to(parameters[0].device)


@torch.library.impl("vanfast::log_prob_backward", "CUDA")
def log_prob_backward(
    parameters: Sequence[Tensor], network: str, spins: Tensor, grad: Tensor, precision: str
) -> list[Tensor]:
    return gradients(parameters, network, spins, grad, precision)


@torch.library.impl("vanfast::energy", "CUDA")
def energy(arrays: Sequence[Tensor], hamiltonian: str, spins: Tensor) -> Tensor:
    return system(arrays, hamiltonian).energy(spins)
