"""Derivatives of the operations: of ln q with respect to the parameters. Samples and energies have none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import vanfast.ops.schemas  # noqa: F401  the operations must be there
from vanfast.ops.run import runner


def _setup_log_prob(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    parameters, ctx.network, spins, ctx.precision = inputs
    ctx.save_for_backward(spins, *parameters)


def _log_prob_backward(ctx: Any, grad: Tensor) -> tuple[list[Tensor | None], None, None, None]:
    spins, *parameters = ctx.saved_tensors
    arguments = parameters, ctx.network, spins, grad, ctx.precision
    if torch.is_grad_enabled():  # create_graph=True: second derivatives are torch's, as the operation has none
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        log_q = runner(parameters, ctx.network).differentiable(parameters, spins, ctx.precision)
        found = iter(torch.autograd.grad(log_q, wanted, grad, create_graph=True, materialize_grads=True))
        return [next(found) if parameter.requires_grad else None for parameter in parameters], None, None, None
    return torch.ops.vanfast.log_prob_backward(*arguments), None, None, None


torch.library.register_autograd("vanfast::log_prob", _log_prob_backward, setup_context=_setup_log_prob)


def _setup_no_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor | tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*(output if isinstance(output, tuple) else (output,)))


def _no_gradient(ctx: Any, *grads: Tensor) -> None:
    raise AssertionError("outputs that are not differentiable have no backward pass")


for _name in ("sample", "energy"):
    torch.library.register_autograd(f"vanfast::{_name}", _no_gradient, setup_context=_setup_no_gradient)
