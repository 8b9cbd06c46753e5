"""SK_RS and SK_kRSB: networks drawn from the replica treatment of a system with random couplings.

I. Biazzo, Commun. Phys. 6, 296 (2023), for any pair couplings J and fields h. With u_il = sum_{s<i} J_sl x_s, what the
spins before site i exert on site l, the logit of site i is
    a_i = bias_i + direct_i u_ii + sum_{l>i} sum_{e in {+,-}} w_{k+1} Y_k,
    Y_0 = lns(b_0 + w_0 u_il),  Y_j = lns(b_j + w_j Y_{j-1}),  lns = ln sigmoid,
where w and b belong to (i, l, e). The first layer is the Hamiltonian's.

Physics start. If the spins to come did not interact, site i would see, exactly,
    a_i = 2 beta (h_i + u_ii) + sum_{l>i} [ln 2cosh beta (y_l + J_il) - ln 2cosh beta (y_l - J_il)],  y_l = h_l + u_il,
and ln 2cosh beta y = beta y - lns(2 beta y): direct = 2 beta, bias = 2 beta (h_i + sum_{l>i} J_il), w_0 = 2 beta,
b_0 = 2 beta (h_l +- J_il), read-outs -1 and +1. Further nestings start as lns(y - B) = y - B + O(e^-B).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vanfast._spins import as_spins
from vanfast.hamiltonians import Hamiltonian
from vanfast.networks._arguments import flag, generator, integer
from vanfast.networks._frontier import frontier
from vanfast.networks._system import as_beta, as_hamiltonian, described, taken_out
from vanfast.networks.base import Network, add_to_grad, snapshot
from vanfast.networks.plan import LayerGradient, NestGradient, NestPlan

STARTS = ("physics", "small")
DTYPES = {"float32": torch.float32, "float64": torch.float64}
LINEAR = 8.0  # B of the nestings above
CHUNK = 1 << 21  # fields u_il that are held at once
MOST_NESTINGS = 31  # what the engines have room for
KEPT = 1 << 24  # values that autograd may keep; beyond, chunks are evaluated once more in the backward pass


class SK(Network):
    """SK_RS (k = 0) and SK_kRSB networks, in the first layer of which are the couplings of `ham`.

    Args:
        ham: any Hamiltonian; its pairs are held as a dense matrix.
        beta: inverse temperature of the physics start.
        k: nestings beyond the first, 0 for the replica-symmetric form, at most 31.
        start: "physics", the star of section "Physics start" above: exact for the last two sites; or "small", the
            paper's: all parameters ~ Normal(0, 1/N), by `seed` or torch's global generator.
        z2: symmetrise under the flip of all spins; needs a Hamiltonian without fields.
        sparse: keep for each site only the frontier: sites to come that have a neighbour among those drawn and that are
            joined to the site through sites to come. Of the others u_il is constant or cannot matter.
        learn_couplings: train the first layer as well; the start "small" then forgets the Hamiltonian's.
        dtype: of the parameters and couplings, torch's default when None.

    Raises TypeError or ValueError for arguments out of range.
    """

    plan_type = NestPlan
    bias: nn.Parameter  # [N]
    direct: nn.Parameter  # [N]
    weight: nn.Parameter  # [P, 2, k + 2], a row for each pair (i, l) in use, sorted
    shift: nn.Parameter  # [P, 2, k + 1]
    _couplings: Tensor  # [N, N]
    first: nn.Parameter  # [N, N], where the couplings are learnt: they are its upper triangle

    def __init__(
        self,
        ham: Hamiltonian,
        beta: float,
        k: int = 1,
        start: str = "physics",
        z2: bool = False,
        sparse: bool = False,
        learn_couplings: bool = False,
        seed: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__((as_hamiltonian(ham).num_sites,), flag("z2", z2))
        self.ham, self.beta, self.k = ham, as_beta(beta), integer("k", k, 0)
        if self.k > MOST_NESTINGS:
            raise ValueError(f"k = {self.k} must be at most {MOST_NESTINGS}")
        if start not in STARTS:
            raise ValueError(f"start = {start!r} must be one of {', '.join(map(repr, STARTS))}")
        self.start, self.sparse = start, flag("sparse", sparse)
        self.learn_couplings = flag("learn_couplings", learn_couplings)
        if z2 and not ham.is_z2_symmetric:
            raise ValueError("z2 = True does not fit a Hamiltonian with fields: its energy changes when all spins flip")
        if sparse and learn_couplings:
            raise ValueError("sparse = True and learn_couplings = True exclude each other: learnt couplings join all")
        if dtype is not None and dtype not in DTYPES.values():
            raise ValueError(f"dtype = {dtype} must be torch.float32, torch.float64 or None")
        self._made_in = dtype or torch.get_default_dtype()
        self._placed: dict[torch.device, Tensor] = {}
        values = self._physics() if start == "physics" else self._small(seed)
        for name, value in values.items():
            setattr(self, name, nn.Parameter(value.to(self._made_in)))
        if not learn_couplings:
            self.register_buffer("_couplings", self._exact_couplings.to(self._made_in, copy=True), persistent=False)

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor]:
        """i and l of the pairs in use, sorted."""
        N = self.num_sites
        open_ = frontier(self.ham) if self.sparse else np.triu(np.ones((N, N), dtype=bool), 1)
        i, l = np.nonzero(open_)
        return torch.from_numpy(i.copy()), torch.from_numpy(l.copy())

    def _pairs_on(self, device: torch.device) -> Tensor:
        """The same, int64 [2, P] on a device, moved there once: a step that a GPU captures may not wait for a copy."""
        if device not in self._placed:
            with torch.inference_mode(False):  # a caller's mode is not to shape what is kept for others
                self._placed[device] = torch.stack(self._pairs).to(device)
        return self._placed[device]

    @cached_property
    def _exact_couplings(self) -> Tensor:
        return torch.from_numpy(self.ham.to_dense())

    def _physics(self) -> dict[str, Tensor]:
        """The physics start, float64."""
        i, l = self._pairs
        J, h, beta = self._exact_couplings, torch.from_numpy(self.ham.fields.copy()), self.beta
        weight = torch.ones(len(i), 2, self.k + 2, dtype=torch.float64)
        shift = torch.full((len(i), 2, self.k + 1), -LINEAR, dtype=torch.float64)
        weight[:, :, 0], weight[:, 0, -1] = 2 * beta, -1.0
        shift[:, 0, 0], shift[:, 1, 0] = 2 * beta * (h[l] + J[i, l]), 2 * beta * (h[l] - J[i, l])
        bias = 2 * beta * (h + J.triu(1).sum(1)) + self._closed(beta)
        values = {"bias": bias, "direct": torch.full_like(h, 2 * beta), "weight": weight, "shift": shift}
        return values | ({"first": J.triu(1)} if self.learn_couplings else {})

    def _small(self, seed: int | None) -> dict[str, Tensor]:
        rng, N, P = generator(seed), self.num_sites, len(self._pairs[0])
        shapes: dict[str, tuple[int, ...]] = {"bias": (N,), "direct": (N,)}
        shapes |= {"weight": (P, 2, self.k + 2), "shift": (P, 2, self.k + 1)}
        shapes |= {"first": (N, N)} if self.learn_couplings else {}
        return {name: torch.empty(shape).normal_(0, 1 / N, generator=rng) for name, shape in shapes.items()}

    def _closed(self, beta: float) -> Tensor:
        """What the pairs not in use add to the bias in the physics start, float64 [N]: there u_il = 0 or J_il = 0."""
        if not self.sparse:
            return torch.zeros(self.num_sites, dtype=torch.float64)
        J, h = self._exact_couplings.triu(1), torch.from_numpy(self.ham.fields.copy())
        star = functional.logsigmoid(2 * beta * (h - J)) - functional.logsigmoid(2 * beta * (h + J))
        star[self._pairs] = 0
        return star.triu(1).sum(1)

    def at(self, beta: float) -> SK:
        """A copy of this network moved to another inverse temperature: direct, bias, w_0 and b_0, which stand for
        2 beta times something, are rescaled. Of the physics start it makes the physics start there.

        Raises ValueError for a network that started otherwise.
        """
        beta = as_beta(beta)
        if self.start != "physics":
            raise ValueError(f"start = {self.start!r}: only what began at the physics start can move in temperature")
        twin = copy.deepcopy(self)
        twin.follow(beta)
        return twin

    def follow(self, beta: float) -> None:
        """Moves this network as `at` does, if it began at the physics start."""
        if self.start != "physics" or beta == self.beta:
            return
        ratio = beta / self.beta
        with torch.no_grad():
            for value in (self.direct, self.weight[:, :, 0], self.shift[:, :, 0]):
                value *= ratio
            before, after = self._closed(self.beta).to(self.bias), self._closed(beta).to(self.bias)
            self.bias.copy_((self.bias - before) * ratio + after)
        self.beta = beta

    def take_up(self, config: dict[str, Any]) -> bool:
        if {**config, "beta": self.beta} != self.config():
            return False
        self.beta = as_beta(config.get("beta"))
        return True

    def couplings(self) -> Tensor:
        """The first layer: symmetric [N, N] with zero diagonal."""
        if self.learn_couplings:
            upper = self.first.triu(1)
            return upper + upper.T
        return self._couplings

    def logits(self, spins: Any) -> Tensor:
        return self._output(as_spins(spins, self.num_sites, device=self.device))

    def _log_q_theta(self, spins: Tensor) -> Tensor:
        return functional.logsigmoid(spins * self._output(spins).double()).sum(1)

    def _output(self, spins: Tensor) -> Tensor:
        """Logits [B, N] of int8 spins [B, N]; the pairs of as many sites at once as CHUNK allows."""
        x, J = spins.to(self.dtype), self.couplings()
        B, N = x.shape
        logits = self.bias + self.direct * (x @ J.triu(1))
        i, l = self._pairs_on(x.device)
        rows = max(1, CHUNK // max(1, B * N))
        first = [int(p) for p in torch.searchsorted(i, torch.arange(0, N + rows, rows, device=i.device))]
        keep = not torch.is_grad_enabled() or B * len(i) * (2 * self.k + 3) * 2 <= KEPT
        for chunk, (begin, end) in enumerate(itertools.pairwise(first)):
            if begin == end:
                continue
            part, start = slice(begin, end), chunk * rows
            arguments = (x, J, i[part], l[part], self.weight[part], self.shift[part], start, min(start + rows, N))
            nested = _nests(*arguments) if keep else checkpoint(_nests, *arguments, use_reentrant=False)
            logits = logits.index_add(1, i[part], nested)
        return logits

    def plan(self) -> NestPlan:
        pairs = self._pairs_on(self.device)
        i, l = pairs
        weight, shift = (value.new_zeros((self.num_sites, self.num_sites, *value.shape[1:])) for value in self._nested)
        weight[i, l], shift[i, l] = self.weight.detach(), self.shift.detach()
        return NestPlan(
            num_sites=self.num_sites,
            couplings=snapshot(self.couplings()),
            bias=snapshot(self.bias),
            direct=snapshot(self.direct),
            weight=weight,
            shift=shift,
            learn_couplings=self.learn_couplings,
            pairs=pairs,
        )

    @property
    def _nested(self) -> tuple[Tensor, Tensor]:
        return self.weight.detach(), self.shift.detach()

    def add_gradient(self, gradients: Sequence[LayerGradient | NestGradient]) -> None:
        if len(gradients) != 1 or not isinstance(gradients[0], NestGradient):
            raise ValueError(f"gradients must hold one NestGradient, got {[type(g).__name__ for g in gradients]}")
        gradient = gradients[0]
        i, l = self._pairs_on(gradient.weight.device)
        add_to_grad(self.bias, gradient.bias)
        add_to_grad(self.direct, gradient.direct)
        add_to_grad(self.weight, gradient.weight[i, l])
        add_to_grad(self.shift, gradient.shift[i, l])
        if self.learn_couplings:
            if gradient.couplings is None:
                raise ValueError("gradients has none with respect to the couplings, which this network learns")
            add_to_grad(self.first, gradient.couplings.triu(1))

    def num_parameters(self) -> int:
        """(2k + 3) N (N-1) + 2N of those that are trained, as the paper's code counts, and N^2 for a trained first
        layer; of a sparse network what it keeps."""
        return sum(parameter.numel() for parameter in self.parameters())

    def num_active_parameters(self) -> int:
        below = self.num_sites * (self.num_sites + 1) // 2
        return self.num_parameters() - (below if self.learn_couplings else 0)

    def config(self) -> dict[str, Any]:
        return {
            "class": "SK",
            "N": self.num_sites,
            "hamiltonian": self._description,
            "beta": self.beta,
            "k": self.k,
            "start": self.start,
            "z2": self.z2,
            "sparse": self.sparse,
            "learn_couplings": self.learn_couplings,
            "dtype": str(self._made_in).removeprefix("torch."),  # the precision of the couplings
        }

    @cached_property
    def _description(self) -> dict[str, Any]:
        return described(self.ham)

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> SK:
        ham, rest = taken_out(arguments)
        name = rest.pop("dtype", None)
        if name not in DTYPES:
            raise ValueError(f"dtype = {name!r} must be one of {', '.join(map(repr, DTYPES))}")
        return cls(ham, **rest, dtype=DTYPES[name])


def _nests(x: Tensor, J: Tensor, i: Tensor, l: Tensor, weight: Tensor, shift: Tensor, start: int, stop: int) -> Tensor:
    """sum_e w_{k+1} Y_k, [B, P], of the pairs (i, l) with start <= i < stop."""
    steps = x[:, start:stop, None] * J[None, start:stop, :]
    fields = (x[:, :start] @ J[:start])[:, None, :] + steps.cumsum(1) - steps  # u_il, [B, stop - start, N]
    y = functional.logsigmoid(shift[:, :, 0] + weight[:, :, 0] * fields[:, i - start, l][:, :, None])
    for j in range(1, shift.shape[2]):
        y = functional.logsigmoid(shift[:, :, j] + weight[:, :, j] * y)
    return (weight[:, :, -1] * y).sum(2)
