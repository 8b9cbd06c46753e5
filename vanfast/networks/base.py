"""What every network is: an exact distribution q(s) over configurations, evaluated in logits, drawn site by site."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vanfast._spins import as_spins
from vanfast.networks._system import as_beta, from_description
from vanfast.networks.layers import LinearLayer
from vanfast.networks.plan import LayerGradient, NestGradient, Plan
from vanfast.networks.prior import StarPrior


class Network(nn.Module, ABC):
    """An autoregressive distribution q_theta(s) = prod_p q(s_p | s_<p) of `num_sites` spins.

    With `z2` the distribution is q(s) = (q_theta(s) + q_theta(-s)) / 2. A logit is
    ln q_theta(s_i = +1 | s_<i) - ln q_theta(s_i = -1 | s_<i). Spins are +-1 in any integer or float dtype, [B, N] in
    raster order, [N] for one configuration or [B, *shape]; anything else raises ValueError. Where `q` is a number,
    sites have the states 0 .. q - 1 instead, and as many logits.
    """

    plan_type: ClassVar[type[Plan]]  # of what `plan` gives
    num_sites: int
    shape: tuple[int, ...]
    z2: bool
    q: int | None = None
    prior: StarPrior | None = None

    def __init__(self, shape: tuple[int, ...], z2: bool) -> None:
        super().__init__()
        self.shape, self.num_sites, self.z2 = shape, math.prod(shape), z2

    @property
    def order(self) -> Tensor | None:
        """int64 [N], order[p] is the raster index of the p-th drawn site; None when sites are drawn in raster order."""
        return None

    @abstractmethod
    def logits(self, spins: Any) -> Tensor:
        """Logits of q_theta (before symmetrisation) at every site, [B, N] in raster order, in the parameters' dtype."""

    @abstractmethod
    def plan(self) -> Plan:
        """The description that backends compile, a copy of the parameters, where they lie, at the time of the call."""

    @abstractmethod
    def num_parameters(self) -> int:
        """Number of parameters as the VAN paper counts them: masked weights included."""

    @abstractmethod
    def num_active_parameters(self) -> int:
        """Number of parameters that no mask sets to zero."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The class name and constructor arguments as JSON values; `networks.from_config` is the inverse."""

    @abstractmethod
    def _log_q_theta(self, spins: Tensor) -> Tensor:
        """ln q_theta, float64 [B], of int8 spins [B, N]."""

    def log_prob(self, spins: Any) -> Tensor:
        """ln q(s), float64 [B], differentiable with respect to the parameters.

        Raises ValueError for spins that are not +-1 (or states that are not 0 .. q - 1), or of another size.
        """
        s = as_spins(spins, self.num_sites, device=self.device, q=self.q)
        images = self.images(s)
        if len(images) == 1:
            return self._log_q_theta(s)
        terms = self._log_q_theta(torch.cat(images)).unflatten(0, (len(images), len(s)))
        return torch.logsumexp(terms, 0) - math.log(len(images))

    def images(self, spins: Tensor) -> list[Tensor]:
        """The configurations that q(s) is the mean of q_theta over: s under each element of the symmetry group, int8
        [B, N], s itself first; without a symmetry that is all."""
        return [spins, -spins] if self.z2 else [spins]

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Network:
        """The network of a `config()` without its class name."""
        return cls(**arguments)

    def follow(self, beta: float) -> None:
        """What training calls where a ladder comes to its next inverse temperature, and before every step of an
        annealing: a network whose parameters stand for beta times something moves there; others stay as they are."""

    def take_up(self, config: dict[str, Any]) -> bool:
        """Whether parameters that were stored with `config` are those of this network; it then goes on from them."""
        return self.config() == config

    def add_gradient(self, gradients: Sequence[LayerGradient | NestGradient]) -> None:
        """Adds gradients with respect to the tensors of `plan()`, layer by layer, to the parameters' `.grad`.

        What a backend's backward pass gives; one NestGradient for a NestPlan, and for a MagnetizationPlan one
        LayerGradient whose weight is the gradient with respect to its table. Raises ValueError when the layers do not
        match the plan's.
        """
        raise ValueError(f"{type(self).__name__} takes no gradients of plan layers")

    def forward(self, spins: Any) -> Tensor:
        """The same as `log_prob`."""
        return self.log_prob(spins)

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    def save(self, path: str | Path) -> None:
        """Writes the network as JSON and safetensors; see `vanfast.saving.save`."""
        from vanfast.saving import save

        save(self, path)


class Step(nn.Module):
    """One linear layer of a stack with what precedes it: z_l = layer(PReLU_slope(z_{l-1})) [+ z_{l-2} if skip]."""

    slope: Tensor | None

    def __init__(self, layer: LinearLayer, slope: Tensor | None = None, skip: bool = False) -> None:
        super().__init__()
        self.layer, self.skip = layer, skip
        if slope is None or isinstance(slope, nn.Parameter):
            self.slope = slope
        else:  # a fixed slope, such as the 0 of a ReLU
            self.register_buffer("slope", slope, persistent=False)

    def extra_repr(self) -> str:
        return "skip" if self.skip else ""


class LayeredNetwork(Network):
    """A stack of masked layers; to its logits those of a prior may be added, which has no parameters."""

    steps: nn.ModuleList

    @property
    def stack(self) -> list[Step]:
        """The steps, typed."""
        return cast("list[Step]", list(self.steps))

    @abstractmethod
    def _input(self, spins: Tensor) -> Tensor:
        """Spins [B, N] in the parameters' dtype as the first layer takes them, in drawing order."""

    def _output(self, spins: Tensor) -> Tensor:
        """Logits [B, N], the prior's included, in drawing order of int8 spins [B, N] in raster order."""
        z, before = self._input(spins.to(self.dtype)), None
        for step in self.stack:
            active = z if step.slope is None else functional.prelu(z, step.slope)
            z, before = step.layer(active, before if step.skip else None), z
        out = z.flatten(1)
        if self.prior is None:
            return out
        drawn = spins if self.order is None else spins[:, self.order.to(spins.device)]
        return out + self.prior.logits(drawn, out.dtype)

    def at(self, beta: float) -> LayeredNetwork:
        """A copy of this network whose prior is that of another inverse temperature; ValueError without a prior."""
        if self.prior is None:
            raise ValueError(f"this {type(self).__name__} has no prior, so no temperature: prior = 'star' gives it one")
        twin = copy.deepcopy(self)
        twin.follow(beta)
        return twin

    def follow(self, beta: float) -> None:
        """Moves the prior, if there is one, to another inverse temperature."""
        if self.prior is not None and beta != self.prior.beta:
            self.prior = self.prior.at(beta)

    def take_up(self, config: dict[str, Any]) -> bool:
        if self.prior is None or {**config, "beta": self.prior.beta} != self.config():
            return super().take_up(config)
        self.follow(as_beta(config.get("beta")))
        return True

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> LayeredNetwork:
        if "hamiltonian" not in arguments:
            return cls(**arguments)
        changed = {**arguments, "ham": from_description(arguments["hamiltonian"])}
        del changed["hamiltonian"]
        return cls(**changed)

    def _prior_config(self) -> dict[str, Any]:
        return {} if self.prior is None else self.prior.config()

    def logits(self, spins: Any) -> Tensor:
        out = self._output(as_spins(spins, self.num_sites, device=self.device))
        return out if self.order is None else out[:, torch.argsort(self.order).to(out.device)]

    def _log_q_theta(self, spins: Tensor) -> Tensor:
        out = self._output(spins).double()
        drawn = spins if self.order is None else spins[:, self.order.to(spins.device)]
        return functional.logsigmoid(drawn * out).sum(1)

    def num_parameters(self) -> int:
        return self._slope_parameters() + sum(step.layer.num_parameters() for step in self.stack)

    def num_active_parameters(self) -> int:
        return self._slope_parameters() + sum(step.layer.num_active_parameters() for step in self.stack)

    def _slope_parameters(self) -> int:
        return sum(step.slope.numel() for step in self.stack if isinstance(step.slope, nn.Parameter))


def add_to_grad(parameter: Tensor | None, gradient: Tensor | None) -> None:
    """Adds to `.grad` of a parameter that is there and wants it."""
    if parameter is None or gradient is None or not parameter.requires_grad:
        return
    gradient = gradient.to(parameter).view_as(parameter)
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def snapshot(tensor: Tensor) -> Tensor:
    """A detached contiguous copy, for plans."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def optional_snapshot(tensor: Tensor | None) -> Tensor | None:
    """`snapshot`, or None for None."""
    return None if tensor is None else snapshot(tensor)
