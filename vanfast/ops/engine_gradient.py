"""Gradients of ln q for given spins by the Triton kernels: forward, then backward from the kept pre-activations."""

from __future__ import annotations

import torch
from torch import Tensor

from vanfast._spins import as_spins
from vanfast.backends.cuda import triton_gradient
from vanfast.backends.device import shares
from vanfast.networks import Network
from vanfast.networks.plan import ConvPlan, MaskedPlan, NestPlan, Plan

PIECE = 8192  # samples whose pre-activations are held at once


def can_differentiate(net: Network, device: torch.device) -> bool:
    """Whether there are kernels for this network on this device. Functions of the magnetisation are torch's: they are
    a product a site, and a table is more."""
    plans = ConvPlan | MaskedPlan | NestPlan
    return net.dtype == torch.float32 and issubclass(net.plan_type, plans) and triton_gradient(device) is not None


def add_gradients(net: Network, spins: Tensor, grad: Tensor, precision: str) -> None:
    """Adds the gradients of sum_n grad[n] ln q(s_n) to the `.grad` of the network's parameters.

    spins: [B, N] in raster order; grad: float64 [B], on the device of the parameters.
    """
    plan = net.plan()
    rows = as_spins(spins, net.num_sites, device=net.device)
    order = plan.order if isinstance(plan, MaskedPlan) else None
    drawn = rows if order is None else rows[:, order].contiguous()
    for some, weight in zip(drawn.split(PIECE), grad.split(PIECE), strict=True):
        _add(net, plan, some, weight, precision)


def _add(net: Network, plan: Plan, drawn: Tensor, weight: Tensor, precision: str) -> None:
    from vanfast.backends.engines.backward import evaluate, gradient

    passes = [(drawn, *evaluate(plan, drawn, precision))]
    if net.z2:
        passes.append((-drawn, *evaluate(plan, -drawn, precision)))
    weights = shares([log_q for _, log_q, _ in passes], weight)
    for (given, _, kept), part in zip(passes, weights, strict=True):
        net.add_gradient(gradient(plan, given, kept, part, precision))
