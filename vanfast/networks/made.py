"""MADE: a masked autoencoder with any hidden layers, degrees and order of sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vanfast.hamiltonians import Hamiltonian
from vanfast.networks._arguments import flag, generator, integer, integers
from vanfast.networks.base import Step
from vanfast.networks.layers import MaskedLinear, slopes
from vanfast.networks.masked import MaskedNetwork
from vanfast.networks.prior import make_prior


class MADE(MaskedNetwork):
    """Masked autoencoder for distribution estimation: M. Germain et al., ICML 2015; a Hamiltonian in arXiv:2007.01037.

    hidden: widths of the hidden layers, () for none. A hidden unit of degree d sees the first d drawn sites, with
    1 <= d <= N - 1 (0 when N = 1); the p-th drawn site's logit sees units of degree at most p.
    degrees: "sequential" spreads the degrees of a layer evenly over 1 .. N - 1; "random" draws them uniformly between
    the smallest of the layer before and N - 1; or one sequence of degrees for each hidden layer. Units of a layer are
    kept sorted by degree, which is but a relabelling.
    order: order[p] is the raster index of the p-th drawn site, a permutation of 0 .. N - 1; None for raster order.
    activation: "prelu" (a slope per unit, 0.5 to start with) or "relu".
    prior, ham, beta: "star" adds to the logits what the couplings and fields of the Hamiltonian `ham` at inverse
    temperature `beta` say by themselves (`networks.prior`); None adds nothing, and takes neither ham nor beta.
    seed: of random degrees and of the initialisation (torch's own for a linear layer, times sqrt(all / unmasked
    weights)); None takes torch's global generator. Raises TypeError or ValueError for arguments out of range.
    """

    def __init__(
        self,
        N: int,
        hidden: Sequence[int] = (180, 120),
        degrees: str | Sequence[Sequence[int]] = "sequential",
        order: Sequence[int] | Tensor | None = None,
        activation: str = "prelu",
        bias: bool = True,
        z2: bool = False,
        seed: int | None = None,
        prior: str | None = None,
        ham: Hamiltonian | None = None,
        beta: float | None = None,
    ) -> None:
        super().__init__((integer("N", N, 1),), flag("z2", z2))
        self.hidden = integers("hidden", hidden, 1)
        self.bias = flag("bias", bias)
        self.activation = checked_activation(activation)
        drawn = None if order is None else torch.tensor(permutation(order, self.num_sites))
        self._order: Tensor | None
        self.register_buffer("_order", drawn, persistent=False)
        self.prior = make_prior(prior, ham, beta, self.shape, z2, drawn)
        rng = generator(seed)
        self.degrees = hidden_degrees(degrees, self.num_sites, self.hidden, rng)
        self.steps = masked_steps(self.num_sites, 1, self.degrees, self.activation, bias, rng)

    @property
    def order(self) -> Tensor | None:
        return self._order

    def _input(self, spins: Tensor) -> Tensor:
        return spins if self._order is None else spins[:, self._order]

    def config(self) -> dict[str, Any]:
        sequential = self.degrees == sequential_degrees(self.num_sites, self.hidden)
        return {
            "class": "MADE",
            "N": self.num_sites,
            "hidden": list(self.hidden),
            "degrees": "sequential" if sequential else [list(layer) for layer in self.degrees],
            "order": None if self._order is None else self._order.tolist(),
            "activation": self.activation,
            "bias": self.bias,
            "z2": self.z2,
            **self._prior_config(),
        }


def masked_steps(
    num_sites: int,
    width: int,
    degrees: Sequence[Sequence[int]],
    activation: str,
    bias: bool,
    rng: torch.Generator | None,
) -> nn.ModuleList:
    """Hidden layers of these degrees and the layer of logits, for sites with `width` inputs and `width` logits each."""
    outputs = torch.arange(num_sites).repeat_interleave(width)
    seen, steps = outputs + 1, nn.ModuleList()  # the inputs of site j are visible to units of degree > j
    for units in [*map(torch.tensor, degrees), outputs]:
        slope = None if not len(steps) else slopes(len(seen)) if activation == "prelu" else torch.zeros(len(seen))
        steps.append(Step(MaskedLinear(seen, units, bias, rng), slope))
        seen = units
    return steps


def checked_activation(activation: str) -> str:
    if activation not in ("prelu", "relu"):
        raise ValueError(f"activation = {activation!r} must be 'prelu' or 'relu'")
    return activation


def permutation(order: object, num_sites: int) -> tuple[int, ...]:
    sites = integers("order", order, 0)
    if sorted(sites) != list(range(num_sites)):
        raise ValueError(f"order must hold each of 0 .. {num_sites - 1} once, got {len(sites)} entries {sites[:8]} ...")
    return sites


def sequential_degrees(num_sites: int, hidden: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    top = num_sites - 1
    return tuple(tuple(1 + unit * top // width if top else 0 for unit in range(width)) for width in hidden)


def _random_degrees(num_sites: int, hidden: tuple[int, ...], seed: int) -> tuple[tuple[int, ...], ...]:
    rng = np.random.default_rng(seed)
    lowest, layers = min(1, num_sites - 1), []
    for width in hidden:
        layers.append(tuple(sorted(rng.integers(lowest, num_sites - 1, width, endpoint=True).tolist())))
        lowest = layers[-1][0]  # below it a unit would see nothing
    return tuple(layers)


def hidden_degrees(
    degrees: str | Sequence[Sequence[int]], num_sites: int, hidden: tuple[int, ...], rng: torch.Generator | None
) -> tuple[tuple[int, ...], ...]:
    if isinstance(degrees, str):
        if degrees == "sequential":
            return sequential_degrees(num_sites, hidden)
        if degrees == "random":
            return _random_degrees(num_sites, hidden, int(torch.randint(2**62, (), generator=rng)))
        raise ValueError(f"degrees = {degrees!r} must be 'sequential', 'random' or a sequence for each hidden layer")
    layers = tuple(tuple(sorted(integers(f"degrees[{i}]", layer, 0))) for i, layer in enumerate(degrees))
    if tuple(map(len, layers)) != hidden:
        raise ValueError(f"degrees has layers of {[len(layer) for layer in layers]} units, hidden is {list(hidden)}")
    for i, layer in enumerate(layers):
        if layer[-1] >= num_sites:
            raise ValueError(f"degrees[{i}] holds {layer[-1]}, allowed are 0 .. {num_sites - 1}")
    return layers
