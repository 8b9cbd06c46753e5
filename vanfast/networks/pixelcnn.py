"""Masked convolutions on a lattice: the convolutional networks of the VAN paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vanfast.hamiltonians import Hamiltonian
from vanfast.networks._arguments import flag, generator, integer, lattice
from vanfast.networks.base import LayeredNetwork, Step, add_to_grad, optional_snapshot, snapshot
from vanfast.networks.layers import MaskedConv2d, PointwiseConv2d, slopes
from vanfast.networks.plan import ConvLayer, ConvPlan, LayerGradient, NestGradient
from vanfast.networks.prior import make_prior


class PixelCNN(LayeredNetwork):
    """Autoregressive network of masked convolutions with (2 half_kernel + 1) x (2 half_kernel + 1) kernels.

    D. Wu, L. Wang, P. Zhang, Phys. Rev. Lett. 122, 080602 (2019). The first layer does not see the site itself, later
    ones do; a PReLU with one slope per channel (0.5 to start with) stands in front of each layer but the first. With
    `residual` each layer between the first and the last is a block: 1 x 1 convolution, PReLU, masked convolution, added
    to the block's input. The paper's code makes the first conditional 1/2 when there are biases; this network does not,
    because a system with fields needs it free.

    shape: (Ly, Lx), or L for (L, L). depth: number of masked convolutions. width: channels between layers.
    prior, ham, beta: "star" adds to the logits what the couplings and fields of the Hamiltonian `ham` at inverse
    temperature `beta` say by themselves (`networks.prior`); None adds nothing, and takes neither ham nor beta.
    seed: of the initialisation (torch's own for a convolution, times sqrt(all / unmasked taps)); None takes torch's
    global generator. Raises TypeError or ValueError for arguments out of range.
    """

    plan_type = ConvPlan
    shape: tuple[int, int]

    def __init__(
        self,
        shape: int | tuple[int, int] = (16, 16),
        depth: int = 3,
        width: int = 64,
        half_kernel: int = 6,
        residual: bool = False,
        bias: bool = True,
        z2: bool = True,
        seed: int | None = None,
        prior: str | None = None,
        ham: Hamiltonian | None = None,
        beta: float | None = None,
    ) -> None:
        super().__init__(lattice(shape), flag("z2", z2))
        self.depth = integer("depth", depth, 1)
        self.width = integer("width", width, 1)
        self.half_kernel = integer("half_kernel", half_kernel, 1)
        self.residual, self.bias = flag("residual", residual), flag("bias", bias)
        self.prior = make_prior(prior, ham, beta, self.shape, z2, None)
        rng = generator(seed)
        self.steps = nn.ModuleList()
        for layer in range(depth):
            first, last = layer == 0, layer == depth - 1
            block = residual and not first and not last
            if block:
                self.steps.append(Step(PointwiseConv2d(width, bias, rng)))
            masked = MaskedConv2d(1 if first else width, 1 if last else width, half_kernel, not first, bias, rng)
            self.steps.append(Step(masked, None if first else slopes(width), skip=block))

    def _input(self, spins: Tensor) -> Tensor:
        return spins.view(-1, 1, *self.shape)

    def plan(self) -> ConvPlan:
        layers: list[ConvLayer] = []
        pointwise: PointwiseConv2d | None = None
        for step in self.stack:
            if isinstance(step.layer, PointwiseConv2d):
                pointwise = step.layer
                continue
            assert isinstance(step.layer, MaskedConv2d)
            layers.append(
                ConvLayer(
                    weight=step.layer.masked_weight().detach(),
                    bias=optional_snapshot(step.layer.bias),
                    inclusive=step.layer.inclusive,
                    slope=optional_snapshot(step.slope),
                    pointwise=None if pointwise is None else snapshot(pointwise.weight[:, :, 0, 0]),
                    pointwise_bias=None if pointwise is None else optional_snapshot(pointwise.bias),
                    residual=step.skip,
                )
            )
            pointwise = None
        prior = None if self.prior is None else self.prior.plan()
        return ConvPlan(self.shape, self.half_kernel, tuple(layers), prior)

    def add_gradient(self, gradients: Sequence[LayerGradient | NestGradient]) -> None:
        steps = iter(self.stack)
        if len(gradients) != self.depth:
            raise ValueError(f"gradients has {len(gradients)} layers, the network {self.depth}")
        for gradient in gradients:
            assert isinstance(gradient, LayerGradient)
            step = next(steps)
            if isinstance(step.layer, PointwiseConv2d):
                add_to_grad(step.layer.weight, gradient.pointwise)
                add_to_grad(step.layer.bias, gradient.pointwise_bias)
                step = next(steps)
            add_to_grad(step.layer.weight, gradient.weight)
            add_to_grad(step.layer.bias, gradient.bias)
            add_to_grad(step.slope, gradient.slope)

    def config(self) -> dict[str, Any]:
        return {
            "class": "PixelCNN",
            "shape": list(self.shape),
            "depth": self.depth,
            "width": self.width,
            "half_kernel": self.half_kernel,
            "residual": self.residual,
            "bias": self.bias,
            "z2": self.z2,
            **self._prior_config(),
        }
