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

Blocks = tuple[tuple[int, int, int], ...]  # rows [start, end) see the first `columns` columns


def _check(out: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    if tuple(out.shape) != shape or out.dtype != like.dtype or out.device != like.device:
        raise ValueError(
            f"a given activation is {out.dtype} {tuple(out.shape)} on {out.device}, "
            f"the layer's output is {like.dtype} {shape} on {like.device}"
        )


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, out: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return out.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        needs = [bool(need) for need in ctx.needs_input_grad[:3]]
        grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad, x, weight, [weight.shape[0]], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, needs
        )
        return grad_x, grad_weight, grad_bias, grad if ctx.needs_input_grad[3] else None, None


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, out: Tensor) -> Tensor:
    """conv2d(x, weight, bias) + skip = out, with x already padded."""
    shape = (x.shape[0], weight.shape[0], x.shape[2] - weight.shape[2] + 1, x.shape[3] - weight.shape[3] + 1)
    _check(out, shape, x)
    return cast(Tensor, _Conv2d.apply(x, weight, bias, skip, out))


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
