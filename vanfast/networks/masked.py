"""The plan of networks that are stacks of masked linear layers."""

from __future__ import annotations

from vanfast.networks.base import LayeredNetwork, optional_snapshot, snapshot
from vanfast.networks.layers import ChannelLinear, MaskedLinear
from vanfast.networks.plan import MaskedLayer, MaskedPlan


class MaskedNetwork(LayeredNetwork):
    """A stack of `MaskedLinear` and `ChannelLinear` layers."""

    def plan(self) -> MaskedPlan:
        layers = []
        for step in self.stack:
            assert isinstance(step.layer, MaskedLinear | ChannelLinear)
            layers.append(
                MaskedLayer(
                    weight=snapshot(step.layer.masked_weight()),
                    bias=optional_snapshot(step.layer.bias),
                    slope=optional_snapshot(step.slope),
                    skip=step.skip,
                    degree=snapshot(step.layer.degree),
                )
            )
        return MaskedPlan(self.num_sites, optional_snapshot(self.order), tuple(layers))
