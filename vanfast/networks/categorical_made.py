"""MADE over sites of q states: one-hot inputs, categorical conditionals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vanfast._spins import as_spins
from vanfast.networks._arguments import flag, generator, integer, integers
from vanfast.networks.made import checked_activation, hidden_degrees, masked_steps, permutation, sequential_degrees
from vanfast.networks.masked import MaskedNetwork
from vanfast.networks.plan import CategoricalPlan
from vanfast.networks.symmetry import state_maps

MOST_STATES = 127  # states are int8


class CategoricalMADE(MaskedNetwork):
    """MADE for N sites of q states 0 .. q - 1: Potts spins, or the sums S of a block transformation as states.

    A site has q input units, one-hot, and q logits, whose softmax is q_theta(s_i = k | s_<i). Masks, `hidden`,
    `degrees`, `order`, `activation`, `bias` and `seed` are those of `MADE`. In drawing order position p q + k of the
    first layer's input, and of the last layer, is state k of the p-th drawn site.

    symmetry: q(s) = 1/|G| sum_g q_theta(g s) over a group of permutations of the states, the same for all sites:
    "cyclic" (Z_q), "permutation" (S_q, q <= 5), "reflection" (k -> q - 1 - k), or None; see `networks.symmetry`. ln q
    costs |G| passes. Raises TypeError or ValueError for arguments out of range, 2 <= q <= 127.
    """

    plan_type = CategoricalPlan
    q: int

    def __init__(
        self,
        N: int,
        q: int,
        hidden: Sequence[int] = (180, 120),
        degrees: str | Sequence[Sequence[int]] = "sequential",
        order: Sequence[int] | Tensor | None = None,
        activation: str = "prelu",
        bias: bool = True,
        symmetry: str | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__((integer("N", N, 1),), False)
        self.q = integer("q", q, 2)
        if self.q > MOST_STATES:
            raise ValueError(f"q = {q} must be at most {MOST_STATES}")
        self.hidden, self.bias = integers("hidden", hidden, 1), flag("bias", bias)
        self.activation, self.symmetry = checked_activation(activation), symmetry
        self._maps: Tensor
        self.register_buffer("_maps", torch.tensor(state_maps(symmetry, self.q)), persistent=False)
        drawn = None if order is None else torch.tensor(permutation(order, self.num_sites))
        self._order: Tensor | None
        self.register_buffer("_order", drawn, persistent=False)
        rng = generator(seed)
        self.degrees = hidden_degrees(degrees, self.num_sites, self.hidden, rng)
        self.steps = masked_steps(self.num_sites, self.q, self.degrees, self.activation, bias, rng)

    @property
    def order(self) -> Tensor | None:
        return self._order

    def images(self, spins: Tensor) -> list[Tensor]:
        return [spins, *(table.to(torch.int8)[spins.long()] for table in self._maps[1:])]

    def plan(self) -> CategoricalPlan:
        return CategoricalPlan(self.num_sites, self.q, self.order, self._plan_layers(), self._maps)

    def logits(self, spins: Any) -> Tensor:
        """Logits of q_theta (before symmetrisation), [B, N, q] in raster order, in the parameters' dtype."""
        out = self._site_logits(as_spins(spins, self.num_sites, device=self.device, q=self.q))
        return out if self.order is None else out[:, torch.argsort(self.order)]

    def _input(self, spins: Tensor) -> Tensor:
        drawn = spins if self.order is None else spins[:, self.order]
        return functional.one_hot(drawn.long(), self.q).flatten(1).to(self.dtype)

    def _site_logits(self, spins: Tensor) -> Tensor:
        """[B, N, q] in drawing order of states int8 [B, N] in raster order."""
        return self._output(spins).unflatten(1, (self.num_sites, self.q))

    def _log_q_theta(self, spins: Tensor) -> Tensor:
        drawn = spins if self.order is None else spins[:, self.order]
        ln = functional.log_softmax(self._site_logits(spins).double(), -1)
        return ln.gather(-1, drawn.long()[..., None]).sum((1, 2))

    def config(self) -> dict[str, Any]:
        sequential = self.degrees == sequential_degrees(self.num_sites, self.hidden)
        return {
            "class": "CategoricalMADE",
            "N": self.num_sites,
            "q": self.q,
            "hidden": list(self.hidden),
            "degrees": "sequential" if sequential else [list(layer) for layer in self.degrees],
            "order": None if self._order is None else self._order.tolist(),
            "activation": self.activation,
            "bias": self.bias,
            "symmetry": self.symmetry,
        }
