"""Fully connected masked networks with channels per site: the dense networks of the VAN paper."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vanfast.hamiltonians import Hamiltonian
from vanfast.networks._arguments import flag, generator, integer
from vanfast.networks.base import Step
from vanfast.networks.layers import ChannelLinear, MaskedLinear, slopes
from vanfast.networks.masked import MaskedNetwork
from vanfast.networks.prior import make_prior


class Dense(MaskedNetwork):
    """Autoregressive network of `depth` masked linear layers with `width` channels per site between them.

    D. Wu, L. Wang, P. Zhang, Phys. Rev. Lett. 122, 080602 (2019). depth = 1 is the fully visible sigmoid belief net.
    The first layer sees the sites before a unit's own, later ones its own too; a PReLU with one slope per unit (0.5 to
    start with) stands in front of each layer but the first. With `residual` each layer between the first and the last
    is a block: channel layer (mixes the channels of each site), PReLU, masked layer, added to the block's input. The
    paper's code makes the first conditional 1/2 when there are biases; this network does not, because a system with
    fields needs it free.

    prior, ham, beta: "star" adds to the logits what the couplings and fields of the Hamiltonian `ham` at inverse
    temperature `beta` say by themselves (`networks.prior`); None adds nothing, and takes neither ham nor beta.
    Units are sorted by site: unit = site * width + channel. seed: of the initialisation (torch's own for a linear
    layer, times sqrt(all / unmasked weights)); None takes torch's global generator. Raises TypeError or ValueError for
    arguments out of range.
    """

    def __init__(
        self,
        N: int,
        depth: int = 1,
        width: int = 1,
        residual: bool = False,
        bias: bool = True,
        z2: bool = False,
        seed: int | None = None,
        prior: str | None = None,
        ham: Hamiltonian | None = None,
        beta: float | None = None,
    ) -> None:
        super().__init__((integer("N", N, 1),), flag("z2", z2))
        self.depth = integer("depth", depth, 1)
        self.width = integer("width", width, 1)
        self.residual, self.bias = flag("residual", residual), flag("bias", bias)
        self.prior = make_prior(prior, ham, beta, self.shape, z2, None)
        rng = generator(seed)
        sites = torch.arange(self.num_sites)
        hidden = sites.repeat_interleave(width)
        self.steps = nn.ModuleList()
        for layer in range(depth):
            first, last = layer == 0, layer == depth - 1
            block = residual and not first and not last
            if block:
                self.steps.append(Step(ChannelLinear(self.num_sites, width, bias, rng)))
            # An input spin j is visible to units of degree > j, a hidden unit to units of at least its own degree.
            masked = MaskedLinear(sites + 1 if first else hidden, sites if last else hidden, bias, rng)
            self.steps.append(Step(masked, None if first else slopes(len(hidden)), skip=block))

    def _input(self, spins: Tensor) -> Tensor:
        return spins

    def config(self) -> dict[str, Any]:
        return {
            "class": "Dense",
            "N": self.num_sites,
            "depth": self.depth,
            "width": self.width,
            "residual": self.residual,
            "bias": self.bias,
            "z2": self.z2,
            **self._prior_config(),
        }
