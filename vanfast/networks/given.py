"""Layers whose output is already known: forward hands it out, backward differentiates as the layer itself would.

A sampling pass computes every pre-activation that the backward pass needs. With these the gradient of ln q costs the
backward pass alone. Each function takes the layer's arguments, an optional term `skip` that the output contains, and
the known output `out`, which is trusted: only its shape and dtype are checked.
"""

# mypy sees torch.autograd.Function as untyped, hence the Any in its methods.
from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

Blocks = tuple[tuple[int, int, int], ...]  # rows [start, end) see the first `columns` columns


def _check(out: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    if tuple(out.shape) != shape or out.dtype != like.dtype or out.device != like.device:
        raise ValueError(
            f"a given activation is {out.dtype} {tuple(out.shape)} on {out.device}, "
            f"the layer's output is {like.dtype} {shape} on {like.device}"
        )


class _Conv2d(torch.autograd.Function):
    """The gradients are written as convolutions that are fast on a CPU. Of 16 channels to 1 with 4 x 7 taps at 8 x 8,
    batch 2000, one thread: 42 ms by torch's convolution_backward, 4 ms so; of 16 to 16: 40 ms and 22 ms."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, out: Tensor, up: int, side: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.up, ctx.side = up, side
        return out.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        up, side = ctx.up, ctx.side
        grad_x = grad_weight = None
        # Seen from the input, a kernel that looks up and to both sides looks down and to both sides.
        below = functional.pad(grad, (side, side, 0, up))
        if ctx.needs_input_grad[0]:
            grad_x = functional.conv2d(below, weight.flip(2, 3).transpose(0, 1))
        if ctx.needs_input_grad[1] and weight.shape[0] < weight.shape[1]:
            flipped = weight.flip(2, 3).transpose(0, 1)
            grad_weight = _weight_gradient(below, x, flipped).transpose(0, 1).flip(2, 3)
        elif ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(functional.pad(x, (side, side, up, 0)), grad, weight)
        grad_bias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, grad if ctx.needs_input_grad[3] else None, None, None, None


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of conv2d(x, weight), x padded, with respect to its weight; quick where x has few channels."""
    _, gradient, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False]
    )
    return cast(Tensor, gradient)


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, out: Tensor, up: int = 0, side: int = 0
) -> Tensor:
    """conv2d(x with `up` rows of zeros above and `side` columns on both sides, weight, bias) + skip = out.

    `weight` is [C_out, C_in, up + 1, 2 side + 1]: `out` has the rows and columns of x.
    """
    _check(out, (x.shape[0], weight.shape[0], *x.shape[2:]), x)
    return cast(Tensor, _Conv2d.apply(x, weight, bias, skip, out, up, side))


class _BlockedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, out: Tensor, blocks: Blocks
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.blocks = blocks
        return out.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for start, end, columns in ctx.blocks:
            if grad_x is not None:
                grad_x[:, :columns] += grad[:, start:end] @ weight[start:end, :columns]
            if grad_weight is not None:
                grad_weight[start:end, :columns] = grad[:, start:end].T @ x[:, :columns]
        grad_bias = grad.sum(0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, grad if ctx.needs_input_grad[3] else None, None, None


def blocked_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, out: Tensor, blocks: Blocks
) -> Tensor:
    """x weight^T + bias + skip = out; `weight` is zero outside `blocks`."""
    _check(out, (x.shape[0], weight.shape[0]), x)
    return cast(Tensor, _BlockedLinear.apply(x, weight, bias, skip, out, blocks))


class _ChannelLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, out: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return out.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        sites = grad.unflatten(1, weight.shape[:2])
        grad_x = torch.einsum("bno,noi->bni", sites, weight).flatten(1) if ctx.needs_input_grad[0] else None
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = torch.einsum("bno,bni->noi", sites, x.unflatten(1, weight.shape[:2]))
        grad_bias = grad.sum(0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, grad if ctx.needs_input_grad[3] else None, None


def channel_linear(x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, out: Tensor) -> Tensor:
    """The site-wise product of [B, N * C] with `weight` [N, C, C], plus bias and skip, = out."""
    _check(out, (x.shape[0], x.shape[1]), x)
    return cast(Tensor, _ChannelLinear.apply(x, weight, bias, skip, out))
