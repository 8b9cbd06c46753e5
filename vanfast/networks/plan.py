"""Neutral descriptions of networks: what a backend compiles, with every mask already applied.

Words used below: `z` is the pre-activation of a linear layer, that is its output after bias and after any skip term;
`x` is the network's input, the spins as +-1 in drawing order. PReLU(z) = z if z > 0 else slope * z.
Tensors made of parameters are detached copies in their dtype and on their device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch


@dataclass(frozen=True, eq=False)
class StarPriorPlan:
    """What a Hamiltonian adds to the logits of a network, sites in drawing order; see `networks.prior`.

    Site l has, in [start_l, start_l+1) and ascending, the sites s drawn before it that it is coupled to, K = beta J_sl.
    logit_i += 2 (fields_i + u_ii) + 2 sum_{l>i} artanh[tanh K_il tanh(fields_l + u_il)], u_il = sum_{s<i} K_sl x_s.
    """

    fields: torch.Tensor  # float64 [N], beta h
    start: torch.Tensor  # int64 [N + 1]
    sites: torch.Tensor  # int64 [M]
    couplings: torch.Tensor  # float64 [M], beta J


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """One masked convolution, with what precedes it.

    Plain:     z_l = bias + weight * PReLU_slope(z_{l-1})      (no PReLU in the first layer, whose input is x)
    Residual:  p = pointwise_bias + pointwise z_{l-1};  z_l = bias + weight * PReLU_slope(p) + z_{l-1}
    """

    weight: torch.Tensor  # [C_out, C_in, k + 1, 2k + 1]; row r is dy = r - k, column c is dx = c - k; masked taps are 0
    bias: torch.Tensor | None  # [C_out]
    inclusive: bool  # whether the tap (dy, dx) = (0, 0) is open
    slope: torch.Tensor | None  # [C_in]
    pointwise: torch.Tensor | None = None  # [C_in, C_in], out by in
    pointwise_bias: torch.Tensor | None = None  # [C_in]
    residual: bool = False


@dataclass(frozen=True, eq=False)
class ConvPlan:
    """Masked convolutions, zero padding, on a lattice drawn in raster order; the last layer gives the logit."""

    shape: tuple[int, int]  # (Ly, Lx)
    half_kernel: int  # k
    layers: tuple[ConvLayer, ...]
    prior: StarPriorPlan | None = None  # added to the last layer's logits

    @property
    def num_sites(self) -> int:
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True, eq=False)
class MaskedLayer:
    """One masked linear layer: z_l = bias + weight PReLU_slope(z_{l-1}) [+ z_{l-2} if skip].

    The degree of a unit is the number of first drawn sites it may depend on. Input position j is visible to a unit of
    the first layer iff j < degree, a unit of the previous layer iff its degree <= degree. Degrees never decrease with
    the index of the unit. A `local` layer (the channel layer of a residual block) sees units of its own degree only.
    """

    weight: torch.Tensor  # [n_out, n_in], masked entries are 0
    bias: torch.Tensor | None  # [n_out]
    slope: torch.Tensor | None  # [n_in]; None: the input is taken as it is
    skip: bool  # adds z_{l-2}, the input of the previous linear layer
    degree: torch.Tensor  # int64 [n_out]
    local: bool = False  # a unit sees units of its own degree only


@dataclass(frozen=True, eq=False)
class MaskedPlan:
    """A stack of masked linear layers. Unit p of the last has degree p and is the logit of the p-th drawn site."""

    num_sites: int
    order: torch.Tensor | None  # int64 [N]: order[p] is the raster index of the p-th drawn site; None: raster order
    layers: tuple[MaskedLayer, ...]
    prior: StarPriorPlan | None = None  # added to the last layer's logits


@dataclass(frozen=True, eq=False)
class CategoricalPlan:
    """A stack of masked linear layers over sites of q states, drawn by the rule of `random.draw_states`.

    The input is one-hot: its position p q + k is 1 where the p-th drawn site has state k, else 0, and is visible to
    units of degree > p. Units p q .. p q + q - 1 of the last layer have degree p and are the logits of that site. With
    the permutations of states in `maps`, the same for every site, q(s) is the mean of q_theta(g s) over all g.
    """

    num_sites: int
    q: int
    order: torch.Tensor | None  # int64 [N], as in MaskedPlan
    layers: tuple[MaskedLayer, ...]
    maps: torch.Tensor  # int64 [G, q], a group, the identity first: element g makes state k maps[g, k]


@dataclass(frozen=True, eq=False)
class MixturePlan:
    """q(s) = sum_k w_k prod_i sigmoid(s_i x_ki), drawn in raster order.

    Site by site, with a_k = ln w_k + sum_{j<i} ln sigmoid(s_j x_kj):
    logit_i = LSE_k(a_k + ln sigmoid(x_ki)) - LSE_k(a_k + ln sigmoid(-x_ki)).
    """

    num_sites: int
    log_weights: torch.Tensor  # float64 [K], their LSE is 0
    logits: torch.Tensor  # [K, N]


@dataclass(frozen=True, eq=False)
class MagnetizationPlan:
    """Conditionals that depend on the magnetisation of the sites before alone, drawn in raster order.

    logit_i = logits[i, u], u the number of sites j < i with s_j = +1; M_i = sum_{j<i} s_j = 2u - i.
    """

    num_sites: int
    logits: torch.Tensor  # float64 [N, N]; entries u > i are 0


@dataclass(frozen=True, eq=False)
class PrefixPlan:
    """Conditionals that are tabulated for every prefix, drawn in raster order.

    logit_i = logits[2^i - 1 + p], p = sum_{j<i} [s_j = +1] 2^j.
    """

    num_sites: int
    logits: torch.Tensor  # float64 [2^N - 1]


@dataclass(frozen=True, eq=False)
class NestPlan:
    """Nested log-sigmoids of the fields that sites drawn before exert on those to come, drawn in raster order.

    I. Biazzo, Commun. Phys. 6, 296 (2023), with lns(z) = ln sigmoid(z), e in {0, 1} and k = the number of nestings:
    u_il = sum_{s<i} couplings_sl x_s for l >= i,
    logit_i = bias_i + direct_i u_ii + sum_{l>i} sum_e weight_{i,l,e,k+1} Y_k,
    Y_0 = lns(shift_{i,l,e,0} + weight_{i,l,e,0} u_il),  Y_j = lns(shift_{i,l,e,j} + weight_{i,l,e,j} Y_{j-1}).
    """

    num_sites: int
    couplings: torch.Tensor  # [N, N], symmetric with zero diagonal
    bias: torch.Tensor  # [N]
    direct: torch.Tensor  # [N]
    weight: torch.Tensor  # [N, N, 2, k + 2], entries l <= i are 0 and are not read
    shift: torch.Tensor  # [N, N, 2, k + 1], entries l <= i are 0 and are not read
    learn_couplings: bool = False  # whether a gradient with respect to `couplings` is wanted
    pairs: torch.Tensor | None = None  # int64 [2, P], the (i, l) in use, sorted; of others all is 0. None: all i < l

    @property
    def nestings(self) -> int:
        """k."""
        return self.shift.shape[3] - 1


@dataclass(frozen=True, eq=False)
class NestGradient:
    """Gradients with respect to the tensors of a `NestPlan`, in their shapes; entries l <= i are 0.

    `couplings`, None unless the plan says learn_couplings, is the gradient with respect to entry (s, l), s < l, in the
    upper triangle; the rest of it is 0.
    """

    bias: torch.Tensor
    direct: torch.Tensor
    weight: torch.Tensor
    shift: torch.Tensor
    couplings: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """Gradients with respect to one plan layer's tensors, in their shapes; None where the layer has no such tensor.
    Entries that the layer's mask closes are 0."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None
    slope: torch.Tensor | None = None
    pointwise: torch.Tensor | None = None
    pointwise_bias: torch.Tensor | None = None


Plan = ConvPlan | MaskedPlan | CategoricalPlan | MixturePlan | MagnetizationPlan | PrefixPlan | NestPlan


def layer_arrays(plan: ConvPlan | MaskedPlan | CategoricalPlan) -> list[dict[str, Any]]:
    """The layers of a plan on the CPU as the C++ module takes them: field names to arrays, flags and None."""
    return [
        {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in vars(layer).items()}
        for layer in plan.layers
    ]


AnyPlan = TypeVar("AnyPlan", bound=Plan)


def moved(plan: AnyPlan, device: torch.device | str) -> AnyPlan:
    """The plan with its tensors on `device`; shares what lies there already. A prior stays as it is, on the CPU."""
    return replace(plan, **{name: _moved(value, device) for name, value in vars(plan).items()})


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    if isinstance(value, (ConvLayer, MaskedLayer)):
        return replace(value, **{name: _moved(item, device) for name, item in vars(value).items()})
    return value
