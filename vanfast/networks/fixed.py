"""What networks have in common whose conditionals follow from a Hamiltonian, with nothing to train."""

from __future__ import annotations

import torch
from torch import Tensor

from vanfast.networks.base import Network


class FixedNetwork(Network):
    """A network without trainable parameters: what it holds follows from a Hamiltonian and beta, in float64.

    `log_prob` is always computed in float64 and has no gradient. `to`, `double` and `float` set the device and the
    dtype of `logits`.
    """

    _anchor: Tensor  # has the device and the dtype

    def __init__(self, num_sites: int) -> None:
        super().__init__((num_sites,), False)
        self.register_buffer("_anchor", torch.zeros(()), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        return self._anchor.dtype

    @property
    def device(self) -> torch.device:
        return self._anchor.device

    def num_active_parameters(self) -> int:
        """The same as `num_parameters`; none of them is trained."""
        return self.num_parameters()
