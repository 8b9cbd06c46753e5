"""Networks without layers, for comparison: independent spins and mixtures of independent spins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vanfast._spins import as_spins
from vanfast.networks._arguments import flag, generator, integer
from vanfast.networks.base import Network, snapshot
from vanfast.networks.layers import uniform
from vanfast.networks.plan import MixturePlan

INITIAL_LOGITS = 0.5  # logits start in U(-0.5, 0.5): unequal, so that components can part


class Mixture(Network):
    """q_theta(s) = sum_k w_k prod_i sigmoid(s_i x_ki): component weights [K] and logits [K, N]."""

    plan_type = MixturePlan
    fields: nn.Parameter  # x, [K, N]

    def log_weights(self) -> Tensor:
        """ln w_k, float64 [K], normalised."""
        raise NotImplementedError

    def logits(self, spins: Any) -> Tensor:
        s = as_spins(spins, self.num_sites, device=self.device)
        up, down = functional.logsigmoid(self.fields), functional.logsigmoid(-self.fields)
        drawn = torch.where(s[:, None, :] > 0, up, down)  # [B, K, N]
        weights = self.log_weights().to(self.dtype)[None, :, None] + drawn.cumsum(2) - drawn
        return torch.logsumexp(weights + up, 1) - torch.logsumexp(weights + down, 1)

    def _log_q_theta(self, spins: Tensor) -> Tensor:
        x = self.fields.double()
        # ln sigmoid(s x) = s x / 2 + (ln sigmoid(x) + ln sigmoid(-x)) / 2 makes the sum over sites a matrix product.
        even = (functional.logsigmoid(x) + functional.logsigmoid(-x)).sum(1) / 2
        return torch.logsumexp(self.log_weights() + spins.double() @ (x / 2).T + even, 1)

    def plan(self) -> MixturePlan:
        return MixturePlan(self.num_sites, snapshot(self.log_weights()), snapshot(self.fields))

    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def num_active_parameters(self) -> int:
        return self.num_parameters()


class Factorised(Mixture):
    """Independent spins, q(s) = prod_i sigmoid(s_i x_i): the variational naive mean field. N parameters.

    Logits start in U(-0.5, 0.5), from `seed` or from torch's global generator. Raises TypeError or ValueError for
    arguments out of range.
    """

    def __init__(self, N: int, z2: bool = False, seed: int | None = None) -> None:
        super().__init__((integer("N", N, 1),), flag("z2", z2))
        self.fields = nn.Parameter(uniform((1, self.num_sites), INITIAL_LOGITS, generator(seed)))

    def log_weights(self) -> Tensor:
        return torch.zeros_like(self.fields[:, 0], dtype=torch.float64)

    def config(self) -> dict[str, Any]:
        return {"class": "Factorised", "N": self.num_sites, "z2": self.z2}


class BernoulliMixture(Mixture):
    """A mixture of `components` products of independent spins, with (N + 1) * components parameters.

    Weights start equal and logits in U(-0.5, 0.5), from `seed` or from torch's global generator. Raises TypeError or
    ValueError for arguments out of range.
    """

    def __init__(self, N: int, components: int = 8, z2: bool = False, seed: int | None = None) -> None:
        super().__init__((integer("N", N, 1),), flag("z2", z2))
        self.components = integer("components", components, 1)
        self.weights = nn.Parameter(torch.zeros(self.components))
        self.fields = nn.Parameter(uniform((self.components, self.num_sites), INITIAL_LOGITS, generator(seed)))

    def log_weights(self) -> Tensor:
        return functional.log_softmax(self.weights.double(), 0)

    def config(self) -> dict[str, Any]:
        return {"class": "BernoulliMixture", "N": self.num_sites, "components": self.components, "z2": self.z2}
