"""The operations on the CPU: the C++ engine, and torch for float64 parameters and for gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vanfast.ops.run import runner, system, unsigned

BACKEND = "cpu"


def sample(
    parameters: Sequence[Tensor], network: str, count: int, seed: int, first: int, precision: str
) -> tuple[Tensor, Tensor]:
    return runner(parameters, network).sample(parameters, count, unsigned(seed), unsigned(first), BACKEND, precision)


def log_prob(parameters: Sequence[Tensor], network: str, spins: Tensor, precision: str) -> Tensor:
    return runner(parameters, network).log_prob(parameters, spins, BACKEND, precision)


def log_prob_backward(
    parameters: Sequence[Tensor], network: str, spins: Tensor, grad: Tensor, precision: str
) -> list[Tensor]:
    return runner(parameters, network).gradients(parameters, spins, grad, precision)


def energy(arrays: Sequence[Tensor], hamiltonian: str, spins: Tensor) -> Tensor:
    return system(arrays, hamiltonian).energy(spins)


for _kernel in (sample, log_prob, log_prob_backward, energy):
    torch.library.impl(f"vanfast::{_kernel.__name__}", "CPU", _kernel)
