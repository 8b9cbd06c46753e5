"""Networks of the Curie-Weiss model, whose conditionals depend on M_i = s_0 + .. + s_{i-1} alone.

I. Biazzo, Commun. Phys. 6, 296 (2023). E(s) = -(J/N) sum_{i<j} s_i s_j - h sum_i s_i; sites count from 0.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vanfast._spins import as_spins
from vanfast.hamiltonians import CurieWeiss
from vanfast.networks._arguments import generator, integer
from vanfast.networks._system import as_beta
from vanfast.networks.base import Network
from vanfast.networks.fixed import FixedNetwork
from vanfast.networks.plan import LayerGradient, MagnetizationPlan, NestGradient


class CurieWeissN(FixedNetwork):
    """CW_N: the Boltzmann distribution of N Curie-Weiss spins itself, for any N; nothing to train.

    The logit a_i(M) = b + w M + LSE_k(b+_ik + w_ik M) - LSE_k(b-_ik + w_ik M) of the paper, with binomial weights over
    the k spins down among those still to come, is found by the recursion over sites
        a_{N-1}(M) = 2 beta (h + J M / N),   a_{i-1}(M) = softplus(a_i(M+1)) - softplus(-a_i(M-1)),
    whose numbers are logits throughout: no large ones that cancel. O(N^2) time, and O(N) memory for each configuration.

    Raises TypeError or ValueError for a Hamiltonian other than `hamiltonians.CurieWeiss` or beta out of range.
    """

    plan_type = MagnetizationPlan

    def __init__(self, ham: CurieWeiss, beta: float) -> None:
        if not isinstance(ham, CurieWeiss):
            raise TypeError(f"ham must be a vanfast.hamiltonians.CurieWeiss, got {type(ham).__name__}")
        super().__init__(ham.num_sites)
        self.ham, self.beta = ham, as_beta(beta)

    def _rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """(i, a_i) from the last site to the first: a_i[u] is the logit when u of the i sites before it are +1."""
        N = self.num_sites
        magnetization = 2.0 * np.arange(N) - (N - 1)
        row = 2 * self.beta * (self.ham.h + self.ham.J * magnetization / N)
        for i in reversed(range(N)):
            yield i, row
            rest = np.log1p(np.exp(-np.abs(row)))  # softplus(x) = max(x, 0) + rest, softplus(-x) = max(-x, 0) + rest
            row = np.maximum(row[1:], 0) + rest[1:] - (np.maximum(-row[:-1], 0) + rest[:-1])

    def table(self) -> Tensor:
        """Logits as in a `MagnetizationPlan`, float64 [N, N]."""
        table = torch.zeros((self.num_sites, self.num_sites), dtype=torch.float64, device=self.device)
        for i, row in self._rows():
            table[i, : i + 1] = torch.from_numpy(row)
        return table

    def at(self, beta: float) -> CurieWeissN:
        """The network of the same Hamiltonian at another inverse temperature."""
        twin = CurieWeissN(self.ham, beta)
        twin.to(self.device, self.dtype)
        return twin

    def logits(self, spins: Any) -> Tensor:
        return self._looked_up(as_spins(spins, self.num_sites, device=self.device)).to(self.dtype)

    def _looked_up(self, spins: Tensor) -> Tensor:
        """Logits float64 [B, N], row by row, so that the table is never held."""
        up = (spins > 0).int().cumsum(1, dtype=torch.int32).cpu().numpy()
        logits = np.empty(spins.shape)
        for i, row in self._rows():
            logits[:, i] = row[up[:, i - 1]] if i else row[0]
        return torch.from_numpy(logits).to(spins.device)

    def _log_q_theta(self, spins: Tensor) -> Tensor:
        return functional.logsigmoid(spins * self._looked_up(spins)).sum(1)

    def plan(self) -> MagnetizationPlan:
        return MagnetizationPlan(self.num_sites, self.table())

    def num_parameters(self) -> int:
        """2 N^2 + 6 N - 6, as the paper's code counts (read-out weights of +-1 are among them)."""
        return 2 * self.num_sites**2 + 6 * self.num_sites - 6

    def config(self) -> dict[str, Any]:
        return {"class": "CurieWeissN", "N": self.num_sites, "J": self.ham.J, "h": self.ham.h, "beta": self.beta}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> CurieWeissN:
        system = {name: arguments[name] for name in ("N", "J", "h") if name in arguments}
        rest = {name: value for name, value in arguments.items() if name not in system}
        return cls(CurieWeiss(**system), **rest)


class MagnetizationNetwork(Network):
    """A trained function of the site and of M_i."""

    plan_type = MagnetizationPlan

    def __init__(self, num_sites: int) -> None:
        super().__init__((num_sites,), False)

    @abstractmethod
    def _function(self, magnetization: Tensor) -> Tensor:
        """Logits [.., N] of M_i [.., N], in its dtype."""

    def logits(self, spins: Any) -> Tensor:
        s = as_spins(spins, self.num_sites, device=self.device).to(self.dtype)
        return self._function(s.cumsum(1) - s)

    def _log_q_theta(self, spins: Tensor) -> Tensor:
        s = spins.to(self.dtype)
        return functional.logsigmoid(spins * self._function(s.cumsum(1) - s).double()).sum(1)

    def table(self) -> Tensor:
        """Logits as in a `MagnetizationPlan`, float64 [N, N], differentiable: see `exact.forward_recursion`."""
        sites = torch.arange(self.num_sites, device=self.device)
        reached = sites[None, :] <= sites[:, None]
        magnetization = (2 * sites[:, None] - sites[None, :]).double()  # [u, i]
        return self._function(magnetization).T * reached

    def plan(self) -> MagnetizationPlan:
        return MagnetizationPlan(self.num_sites, self.table().detach().contiguous())

    def add_gradient(self, gradients: Sequence[LayerGradient | NestGradient]) -> None:
        if len(gradients) != 1 or gradients[0].weight.shape != (self.num_sites, self.num_sites):
            shapes = [list(gradient.weight.shape) for gradient in gradients]
            raise ValueError(f"gradients has tables of shapes {shapes}, the network one of {[self.num_sites] * 2}")
        self.table().backward(gradients[0].weight.to(self.device, torch.float64))

    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def num_active_parameters(self) -> int:
        """All but that of the first site, where M is 0."""
        return self.num_parameters() - 1 if self.num_sites > 1 else 0


class OneParameter(MagnetizationNetwork):
    """1P: logit a_i = w_i M_i, with N parameters. For systems without a field.

    Starts near zero, w_i ~ Normal(0, 1/N), by `seed` or torch's global generator; with `beta` given, at the optimum for
    high temperatures, w_i = (2 beta J / N) / (1 - beta J (1 - (i+1)/N)), which needs beta J < 1. Raises TypeError or
    ValueError for arguments out of range.
    """

    def __init__(self, N: int, beta: float | None = None, J: float = 1.0, seed: int | None = None) -> None:
        super().__init__(integer("N", N, 1))
        weight = _small((self.num_sites,), self.num_sites, seed)
        if beta is not None:
            strength = as_beta(beta) * _finite("J", J)
            if strength >= 1:
                raise ValueError(f"beta = {beta} must be below 1 / J for this start, J = {J}; give no beta")
            weight = (2 * strength / N / (1 - strength * _remaining(N))).to(weight)
        self.weight = nn.Parameter(weight)

    def _function(self, magnetization: Tensor) -> Tensor:
        return self.weight.to(magnetization) * magnetization

    def config(self) -> dict[str, Any]:
        return {"class": "OneParameter", "N": self.num_sites}


class CurieWeissInf(MagnetizationNetwork):
    """CW_inf: logit a_i = w M_i + v_i sign(M_i), with sign(0) = 0 and N + 1 parameters. For systems without a field.

    Starts near zero, all ~ Normal(0, 1/N), by `seed` or torch's global generator; with `beta` given, at the limit of
    large N, w = 2 beta J / N, v_i = 2 beta J (1 - (i+1)/N) m with m = tanh(beta J m) (the paper's text has the other
    sign). Raises TypeError or ValueError for arguments out of range.
    """

    def __init__(self, N: int, beta: float | None = None, J: float = 1.0, seed: int | None = None) -> None:
        super().__init__(integer("N", N, 1))
        values = _small((self.num_sites + 1,), self.num_sites, seed)
        if beta is not None:
            strength = as_beta(beta) * _finite("J", J)
            signs = 2 * strength * spontaneous(strength) * _remaining(N)
            values = torch.cat([torch.tensor([2 * strength / N]).double(), signs]).to(values)
        self.weight, self.sign_weight = nn.Parameter(values[:1].clone()), nn.Parameter(values[1:].clone())

    def _function(self, magnetization: Tensor) -> Tensor:
        weight, sign_weight = self.weight.to(magnetization), self.sign_weight.to(magnetization)
        return weight * magnetization + sign_weight * magnetization.sign()

    def config(self) -> dict[str, Any]:
        return {"class": "CurieWeissInf", "N": self.num_sites}


def spontaneous(strength: float) -> float:
    """The solution m >= 0 of m = tanh(x m), 0 for x <= 1."""
    if strength <= 1:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(200):
        m = (low + high) / 2
        low, high = (m, high) if math.tanh(strength * m) > m else (low, m)
    return (low + high) / 2


def _remaining(N: int) -> Tensor:
    """1 - (i+1)/N, the share of sites that come after site i."""
    return 1 - torch.arange(1, N + 1, dtype=torch.float64) / N


def _small(shape: tuple[int, ...], N: int, seed: int | None) -> Tensor:
    return torch.empty(shape).normal_(0, 1 / N, generator=generator(seed))


def _finite(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} = {value!r} must be a finite number")
    return float(value)
