"""Plain PyTorch twins of the network kernels in float64: the same roundings, written independently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vanfast.networks.plan import ConvPlan, LayerGradient, MaskedPlan

PRECISIONS = ("fp32", "tf32", "bf16")
BITS = {"fp32": 60, "tf32": 11, "bf16": 8}
NAN = float("nan")


def rounded(x: Tensor, precision: str) -> Tensor:
    """float64, rounded to the precision's bits (ties to even, which random numbers never meet)."""
    if precision == "fp32":
        return x.double()
    mantissa, exponent = torch.frexp(x.double())
    return torch.ldexp(torch.round(mantissa * 2.0 ** BITS[precision]) / 2.0 ** BITS[precision], exponent)


class Product(torch.autograd.Function):
    """op(a, w) of rounded operands; backward straight through the roundings, with the gradient rounded likewise."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, w: Tensor, op: Callable[[Tensor, Tensor], Tensor], precision: str) -> Tensor:
        ctx.op, ctx.precision = op, precision
        a, w = rounded(a, precision), rounded(w, precision)
        ctx.save_for_backward(a, w)
        return op(a, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, w = (t.detach().requires_grad_() for t in ctx.saved_tensors)
        with torch.enable_grad():
            out = ctx.op(a, w)
        return *torch.autograd.grad(out, (a, w), rounded(g, ctx.precision)), None, None


def convolve(a: Tensor, w: Tensor) -> Tensor:
    """Channels-last [B, Ly, Lx, C] with weights [C_out, C_in, k + 1, 2k + 1] of the rows up to a site's own."""
    k = w.shape[2] - 1
    return functional.conv2d(functional.pad(a.permute(0, 3, 1, 2), (k, k, k, 0)), w).permute(0, 2, 3, 1)


def multiply(a: Tensor, w: Tensor) -> Tensor:
    return a @ w.T


def prelu(z: Tensor, slope: Tensor | None) -> Tensor:
    return z if slope is None else torch.where(z > 0, z, z * slope)


def open_taps(k: int, inclusive: bool) -> Tensor:
    mask = torch.ones(k + 1, 2 * k + 1, dtype=torch.float64)
    mask[k, k + int(inclusive) :] = 0
    return mask


def leaves(plan: ConvPlan | MaskedPlan) -> list[dict[str, Tensor]]:
    """The plan's tensors as float64 leaves, layer by layer."""
    names = LayerGradient.__annotations__
    return [
        {name: tensor.double().requires_grad_() for name in names if (tensor := getattr(layer, name, None)) is not None}
        for layer in plan.layers
    ]


def network(
    plan: ConvPlan | MaskedPlan, tensors: list[dict[str, Tensor]], spins: Tensor, precision: str
) -> list[Tensor]:
    """Pre-activations of all linear layers, float64, of spins [B, N] in drawing order."""
    kept: list[Tensor] = []
    if isinstance(plan, ConvPlan):
        z = spins.double().view(-1, *plan.shape, 1)
        for conv, t in zip(plan.layers, tensors, strict=True):
            hidden = z
            if "pointwise" in t:
                hidden = Product.apply(z, t["pointwise"], multiply, precision) + t.get("pointwise_bias", 0)
                kept.append(hidden)
            out = Product.apply(prelu(hidden, t.get("slope")), t["weight"], convolve, precision) + t.get("bias", 0)
            z = out + z if conv.residual else out
            kept.append(z)
        return [*kept[:-1], z.reshape(-1, plan.num_sites)]
    stack = [spins.double()]
    for layer, t in zip(plan.layers, tensors, strict=True):
        z = Product.apply(prelu(stack[-1], t.get("slope")), t["weight"], multiply, precision) + t.get("bias", 0)
        stack.append(z + stack[-2] if layer.skip else z)
    return stack[1:]


def error(actual: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference over that of the expected values; inf unless all is finite."""
    actual, expected = actual.detach().cpu().double(), expected.detach().double()
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    if not bool(torch.isfinite(actual).all()):
        return float("inf")
    scale = float(expected.norm()) if expected.numel() else 0.0
    return float((actual - expected).norm()) / scale if scale else float(actual.norm())


def random_spins(*shape: int) -> Tensor:
    return (torch.randint(0, 2, shape) * 2 - 1).to(torch.int8)
