"""The plan of networks that are stacks of masked linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from vanfast.networks.base import LayeredNetwork, add_to_grad, optional_snapshot
from vanfast.networks.layers import ChannelLinear, MaskedLinear
from vanfast.networks.plan import CategoricalPlan, LayerGradient, MaskedLayer, MaskedPlan, NestGradient, Plan


class MaskedNetwork(LayeredNetwork):
    """A stack of `MaskedLinear` and `ChannelLinear` layers."""

    plan_type: ClassVar[type[Plan]] = MaskedPlan

    def plan(self) -> MaskedPlan | CategoricalPlan:
        prior = None if self.prior is None else self.prior.plan()
        return MaskedPlan(self.num_sites, self.order, self._plan_layers(), prior)

    def _plan_layers(self) -> tuple[MaskedLayer, ...]:
        layers = []
        for step in self.stack:
            assert isinstance(step.layer, MaskedLinear | ChannelLinear)
            layers.append(
                MaskedLayer(
                    weight=step.layer.masked_weight().detach(),
                    bias=optional_snapshot(step.layer.bias),
                    slope=optional_snapshot(step.slope),
                    skip=step.skip,
                    degree=step.layer.degree,
                    local=isinstance(step.layer, ChannelLinear),
                )
            )
        return tuple(layers)

    def add_gradient(self, gradients: Sequence[LayerGradient | NestGradient]) -> None:
        if len(gradients) != len(self.steps):
            raise ValueError(f"gradients has {len(gradients)} layers, the network {len(self.steps)}")
        for step, gradient in zip(self.stack, gradients, strict=True):
            assert isinstance(gradient, LayerGradient)
            weight = gradient.weight
            if isinstance(step.layer, ChannelLinear):  # the blocks on the diagonal
                sites, channels = step.layer.num_sites, step.layer.channels
                weight = weight.view(sites, channels, sites, channels).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
            add_to_grad(step.layer.weight, weight.contiguous())
            add_to_grad(step.layer.bias, gradient.bias)
            add_to_grad(step.slope, gradient.slope)
