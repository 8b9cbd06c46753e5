"""Whole networks by the Triton kernels: forward for given spins, and the gradient from kept pre-activations.

The gradient is that of sum_n weight[n] ln q_theta(s_n). Its products run in the network's precision: in bf16 weights,
activations and the gradients that multiply them are rounded, straight through the roundings of the forward pass.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from vanfast.backends.engines.triton_star import shared_star
from vanfast.kernels.activate import activate
from vanfast.kernels.conv import ConvShape, conv
from vanfast.kernels.conv import pack as pack_conv
from vanfast.kernels.conv_backward import conv_grad_input, conv_grad_weight
from vanfast.kernels.log_prob import log_prob, logit_gradient
from vanfast.kernels.masked import Windows, masked, windows
from vanfast.kernels.masked import pack as pack_linear
from vanfast.kernels.masked_backward import masked_grad_input, masked_grad_weight
from vanfast.kernels.nest import nest
from vanfast.kernels.nest_backward import nest_backward
from vanfast.kernels.star_prior import add_star_prior
from vanfast.kernels.table_scan import table_gradient
from vanfast.networks.plan import (
    ConvLayer,
    ConvPlan,
    LayerGradient,
    MagnetizationPlan,
    MaskedPlan,
    NestGradient,
    NestPlan,
    Plan,
)

# by the degrees of the last layer: those of the others, which layers are local, and the windows
_KNOWN: MutableMapping[Tensor, tuple[list[Tensor], list[bool], list[Windows]]] = WeakIdKeyDictionary()


def forward(plan: Plan, spins: Tensor, precision: str) -> tuple[Tensor, ...]:
    """Pre-activations float32 of every linear layer, as `engines.base.Drawn.kept`, of int8 spins [B, N].

    spins: in drawing order, on the plan's device, contiguous. The last are the logits [B, N], the prior's included.
    Raises TypeError for another plan than these: ConvPlan, MaskedPlan, NestPlan.
    """
    if isinstance(plan, NestPlan):
        return (nest(spins, plan.weight, plan.shift, plan.couplings, plan.bias, plan.direct),)
    if isinstance(plan, ConvPlan):
        kept = conv_forward(plan, spins, precision)
    elif isinstance(plan, MaskedPlan):
        kept = masked_forward(plan, spins, precision)
    else:
        raise TypeError(f"plan is a {type(plan).__name__}; kernels go through ConvPlan, MaskedPlan and NestPlan")
    if plan.prior is not None:
        add_star_prior(shared_star(plan.prior, spins.device), spins, kept[-1])
    return kept


def gradient(
    plan: Plan, spins: Tensor, kept: tuple[Tensor, ...], weight: Tensor, precision: str
) -> list[LayerGradient] | list[NestGradient]:
    """Gradient of sum_n weight[n] ln q_theta(s_n) with respect to the plan's tensors, float32, 0 where masked; with
    respect to a table of the magnetisation float64.

    spins: int8 [B, N] in drawing order; kept: what `forward` or an engine gave for them; weight: float64 [B].
    Raises TypeError or ValueError for arguments that do not fit.
    """
    layers = _linear_layers(plan)
    if len(kept) != layers:
        raise ValueError(f"kept has {len(kept)} pre-activations, the plan {layers} linear layers")
    spins = spins.contiguous()
    if isinstance(plan, ConvPlan):
        return conv_gradient(plan, spins, kept, weight, precision)
    if isinstance(plan, MaskedPlan):
        return masked_gradient(plan, spins, kept, weight, precision)
    if isinstance(plan, NestPlan):
        return [nest_gradient(plan, spins, kept[-1], weight)]
    if isinstance(plan, MagnetizationPlan):
        return [LayerGradient(table_gradient(logit_gradient(kept[-1], spins, weight), spins))]
    raise TypeError(f"plan is a {type(plan).__name__}, of which there is no gradient by these kernels")


def evaluate(plan: Plan, spins: Tensor, precision: str) -> tuple[Tensor, tuple[Tensor, ...]]:
    """(ln q_theta float64 [B], pre-activations) of int8 spins [B, N] in drawing order."""
    kept = forward(plan, spins, precision)
    return log_prob(kept[-1], spins), kept


def _linear_layers(plan: Plan) -> int:
    if isinstance(plan, ConvPlan):
        return len(plan.layers) + sum(layer.pointwise is not None for layer in plan.layers)
    if isinstance(plan, MaskedPlan):
        return len(plan.layers)
    return 1 if isinstance(plan, NestPlan | MagnetizationPlan) else 0  # the logits alone


def _between(precision: str, exact: bool) -> torch.dtype:
    """What a gradient is stored in that only products read, or (exact) that a skip adds to another."""
    return torch.bfloat16 if precision == "bf16" and not exact else torch.float32


def conv_forward(plan: ConvPlan, spins: Tensor, precision: str) -> tuple[Tensor, ...]:
    kept: list[Tensor] = []
    z = spins.view(-1, *plan.shape, 1)
    for layer in plan.layers:
        c_out, c_in = layer.weight.shape[:2]
        shape = ConvShape(plan.shape, plan.half_kernel, layer.inclusive, c_in, c_out, precision, spins=not kept)
        hidden = z
        if layer.pointwise is not None:
            rows = activate(z, None, precision).view(-1, c_in)
            packed = pack_linear(layer.pointwise, precision)
            hidden = masked(rows, packed, None, precision, layer.pointwise_bias).view(z.shape)
            kept.append(hidden)
        operands = activate(hidden, layer.slope, precision) if kept else hidden
        residual = z if layer.residual else None
        z = conv(shape, operands, pack_conv(shape, layer.weight), layer.bias, None, residual, ready=True)
        kept.append(z)
    return (*kept[:-1], z.view(-1, plan.num_sites))


def conv_gradient(
    plan: ConvPlan, spins: Tensor, kept: tuple[Tensor, ...], weight: Tensor, precision: str
) -> list[LayerGradient]:
    before = [spins.view(-1, *plan.shape, 1), *kept[:-1]]  # inputs of the linear layers, before their PReLU
    dtype = _between(precision, exact=any(layer.residual for layer in plan.layers))
    grad = logit_gradient(kept[-1], spins, weight).view(-1, *plan.shape, 1)
    bias_grad = grad.sum((0, 1, 2), dtype=torch.float64).float()
    gradients: list[LayerGradient] = []
    for layer in reversed(plan.layers):
        c_out, c_in = layer.weight.shape[:2]
        z = before.pop()
        first = not before
        shape = ConvShape(plan.shape, plan.half_kernel, layer.inclusive, c_in, c_out, precision, spins=first)
        operands = z if first else activate(z, layer.slope, precision)
        found = LayerGradient(conv_grad_weight(shape, grad, operands), None if layer.bias is None else bias_grad)
        if not first:
            found, grad, bias_grad = _conv_input(shape, layer, found, grad, z, before, dtype)
        gradients.append(found)
    return gradients[::-1]


def _conv_input(
    shape: ConvShape,
    layer: ConvLayer,
    found: LayerGradient,
    grad: Tensor,
    z: Tensor,
    before: list[Tensor],
    dtype: torch.dtype,
) -> tuple[LayerGradient, Tensor, Tensor]:
    """The rest of a layer's gradients, the gradient with respect to its input, and the sum of that over samples."""
    assert layer.slope is not None, "every layer but the first has a PReLU in front"
    skip = grad if layer.residual else None
    turned, last = shape.transposed(), layer.pointwise is None
    packed = pack_conv(turned, layer.weight, transpose=True)
    out = torch.empty(z.shape, dtype=dtype, device=z.device)
    through, slope_grad, bias_grad = conv_grad_input(turned, grad, packed, z, layer.slope, skip if last else None, out)
    found = replace(found, slope=slope_grad)
    if layer.pointwise is None:
        return found, through, bias_grad
    z, precision = before.pop(), shape.precision
    rows, flat = through.view(-1, shape.c_in), z.view(-1, shape.c_in)
    found = replace(
        found,
        pointwise=masked_grad_weight(rows, activate(flat, None, precision), None, precision),
        pointwise_bias=None if layer.pointwise_bias is None else bias_grad,
    )
    weight = pack_linear(layer.pointwise, precision)[0]
    skip = None if skip is None else skip.view(-1, shape.c_in)
    out = torch.empty(flat.shape, dtype=dtype, device=z.device)
    through, _, bias_grad = masked_grad_input(rows, weight, None, precision, skip=skip, out=out)
    return found, through.view(z.shape), bias_grad


def _windows(plan: MaskedPlan) -> list[Windows]:
    """What the units of each layer see. A spin j is seen by units of degree > j. Kept for as long as a network has its
    degrees: some launches for every layer, which a captured step would replay."""
    *others, last = [layer.degree for layer in plan.layers]
    kinds = [layer.local for layer in plan.layers]
    known = _KNOWN.get(last)
    if known is None or known[1] != kinds or list(map(id, known[0])) != list(map(id, others)):
        known = _KNOWN[last] = others, kinds, _new_windows(plan)
    return known[2]


def _new_windows(plan: MaskedPlan) -> list[Windows]:
    seen_from = torch.arange(1, plan.num_sites + 1, device=plan.layers[0].degree.device)
    found = []
    for layer in plan.layers:
        found.append(windows(seen_from, layer.degree, layer.local))
        seen_from = layer.degree
    return found


def masked_forward(plan: MaskedPlan, spins: Tensor, precision: str) -> tuple[Tensor, ...]:
    kept: list[Tensor] = []
    for layer, window in zip(plan.layers, _windows(plan), strict=True):
        x = kept[-1] if kept else spins
        packed = pack_linear(layer.weight, precision, spins=not kept)
        skip = (kept[-2] if len(kept) > 1 else spins.float()) if layer.skip else None
        kept.append(masked(x, packed, window, precision, layer.bias, layer.slope, skip))
    return tuple(kept)


def masked_gradient(
    plan: MaskedPlan, spins: Tensor, kept: tuple[Tensor, ...], weight: Tensor, precision: str
) -> list[LayerGradient]:
    dtype = _between(precision, exact=any(layer.skip for layer in plan.layers))
    grad = logit_gradient(kept[-1], spins, weight)
    bias_grad = grad.sum(0, dtype=torch.float64).float()
    gradients: list[LayerGradient] = []
    skip = None  # the gradient of the layer above, if that one adds this layer's input
    for index, (layer, window) in reversed(list(enumerate(zip(plan.layers, _windows(plan), strict=True)))):
        z = kept[index - 1] if index else spins
        operands = activate(z, layer.slope, precision) if index else z
        found = LayerGradient(
            masked_grad_weight(grad, operands, window, precision), None if layer.bias is None else bias_grad
        )
        if index:
            above, out = grad, torch.empty(z.shape, dtype=dtype, device=z.device)
            operands = pack_linear(layer.weight, precision)[0]
            before = None if layer.slope is None else z
            grad, slope_grad, bias_grad = masked_grad_input(
                above, operands, window, precision, before, layer.slope, skip, out
            )
            skip = above if layer.skip else None
            found = replace(found, slope=None if layer.slope is None else slope_grad)
        gradients.append(found)
    return gradients[::-1]


def nest_gradient(plan: NestPlan, spins: Tensor, logits: Tensor, weight: Tensor) -> NestGradient:
    grad = logit_gradient(logits, spins, weight)
    direct, *pairs = nest_backward(
        grad, spins, plan.weight, plan.shift, plan.couplings, plan.direct, plan.learn_couplings
    )
    return NestGradient(grad.sum(0, dtype=torch.float64).float(), direct, *pairs)
