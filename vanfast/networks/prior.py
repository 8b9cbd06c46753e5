"""The star prior: what a Hamiltonian alone says about each spin, added to the logits of any network.

If the spins to come did not interact with each other, the logit of site i would be, exactly,
    logit_i = 2 beta (h_i + u_ii) + 2 sum_{l>i} artanh[tanh(beta J_il) tanh(beta (h_l + u_il))],
    u_il = sum_{s<i} J_sl x_s,    i, l, s in drawing order.
It is exact for the last two sites, and everywhere when there are no fields and each site has at most one neighbour
drawn before it, as on a chain or a tree from its root. A network then learns only what the spins to come do to each
other.

2 artanh(tanh a tanh b) = ln cosh(a + b) - ln cosh(a - b) = sign(ab) [2 min(|a|, |b|) - ln(1 + (e - e') / (1 + e'))],
e = exp(-2 ||a| - |b||), e' = exp(-2 (|a| + |b|)): no tails are lost, and the sign of b is the sign of the result.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vanfast.hamiltonians import Hamiltonian
from vanfast.networks._system import as_beta, as_hamiltonian, described
from vanfast.networks.plan import StarPriorPlan

ENTRIES = 1 << 20  # pairs that one block of rows holds
VALUES = 1 << 21  # pairs times configurations that are held at once
LARGEST = 1e30  # of beta (|h_i| + sum_j |J_ij|): float32 holds it, and its double

Blocks = tuple[Tensor, list[tuple[int, Tensor, Tensor]]]


def pair_logit(a: Tensor, b: Tensor) -> Tensor:
    """2 artanh(tanh a tanh b) of every pair, in the dtype of its arguments."""
    x, y = a.abs(), b.abs()
    low = torch.exp(-2 * (x + y))
    excess = (torch.exp(-2 * (x - y).abs()) - low) / (1 + low)
    return a.sign() * b.sign() * (2 * torch.minimum(x, y) - torch.log1p(excess))


class StarPrior:
    """Logits of the star of `ham` at inverse temperature `beta`, for sites drawn in `order` (None: raster order).

    Raises TypeError or ValueError when an argument is not a Hamiltonian, an inverse temperature or a permutation of its
    sites, or when float32 cannot hold beta times the largest local field.
    """

    def __init__(self, ham: Hamiltonian, beta: float, order: Tensor | None = None) -> None:
        self.ham, self.order = as_hamiltonian(ham), order
        if order is not None and not torch.equal(order.sort()[0].cpu(), torch.arange(ham.num_sites)):
            raise ValueError(f"order must hold each of 0 .. {ham.num_sites - 1}, the sites of ham, once")
        self._star = _star(ham, None if order is None else order.cpu().numpy())
        self._described: dict[str, Any] | None = None
        self._place(beta)

    def _place(self, beta: float) -> None:
        self.beta = as_beta(beta)
        self._plan = self._star.plan(self.beta)
        self._blocks: dict[tuple[torch.dtype, torch.device], Blocks] = {}

    def at(self, beta: float) -> StarPrior:
        """The same star at another inverse temperature; the pairs are not sorted again."""
        other = copy.copy(self)
        other._place(beta)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> StarPrior:
        return self  # it never changes

    def plan(self) -> StarPriorPlan:
        """What backends compile: float64 tensors on the CPU, which nobody may change."""
        return self._plan

    def config(self) -> dict[str, Any]:
        """The constructor arguments of a network that has this prior, as JSON values."""
        if self._described is None:
            self._described = described(self.ham)
        return {"prior": "star", "hamiltonian": self._described, "beta": self.beta}

    @torch.no_grad()
    def logits(self, spins: Tensor, dtype: torch.dtype) -> Tensor:
        """Logits [B, N] of spins [B, N], both in drawing order, computed in `dtype` on the device of `spins`."""
        where = dtype, spins.device
        if where not in self._blocks:
            self._blocks[where] = self._make_blocks(*where)
        fields, blocks = self._blocks[where]
        x = spins.to(dtype)
        out = (2 * fields).repeat(len(x), 1)
        for first, sites, couplings in blocks:
            rows, widest = sites.shape
            step = max(1, VALUES // max(sites.numel(), 1))
            for begin in range(0, len(x), step):
                some, part = x[begin : begin + step], out[begin : begin + step]
                terms = some[:, sites.flatten()].view(-1, rows, widest) * couplings
                u = terms.cumsum(2)  # after each of the neighbours; a neighbour itself sees those before it
                part[:, first : first + rows] += 2 * u[:, :, -1]
                before = torch.cat([torch.zeros_like(u[:, :, :1]), u[:, :, :-1]], 2)
                local = fields[first : first + rows, None] + before
                part.index_add_(1, sites.flatten(), pair_logit(couplings.expand_as(local), local).flatten(1))
        return out

    def _make_blocks(self, dtype: torch.dtype, device: torch.device) -> Blocks:
        """beta h [N], and runs of rows l: the first, the sites before with a coupling to it [rows, most], padded with
        site 0 and no coupling, and beta J [rows, most]."""
        plan, blocks = self._plan, []
        start = plan.start.numpy()
        counts, N = np.diff(start), len(plan.fields)
        first = 0
        while first < N:
            end, widest = first, 0
            while end < N and max(widest, counts[end]) * (end + 1 - first) <= max(ENTRIES, counts[end]):
                widest, end = max(widest, counts[end]), end + 1
            if widest:
                sites = torch.zeros(end - first, int(widest), dtype=torch.int64)
                couplings = torch.zeros(end - first, int(widest), dtype=torch.float64)
                filled = torch.from_numpy(np.arange(widest) < counts[first:end, None])
                sites[filled] = plan.sites[start[first] : start[end]]
                couplings[filled] = plan.couplings[start[first] : start[end]]
                blocks.append((first, sites.to(device), couplings.to(device, dtype)))
            first = end
        return plan.fields.to(device, dtype), blocks


def make_prior(
    prior: str | None,
    ham: Hamiltonian | None,
    beta: float | None,
    shape: tuple[int, ...],
    z2: bool,
    order: Tensor | None,
) -> StarPrior | None:
    """The prior that a network's arguments ask for; TypeError or ValueError when they do not fit."""
    if prior is None:
        if ham is not None or beta is not None:
            given = "ham" if ham is not None else f"beta = {beta!r}"
            raise ValueError(f"{given} belongs to a prior: give prior = 'star' too, or leave it out")
        return None
    if prior != "star":
        raise ValueError(f"prior = {prior!r} must be 'star' or None")
    if ham is None or beta is None:
        raise ValueError("prior = 'star' needs ham, a Hamiltonian, and beta, its inverse temperature")
    sites = int(np.prod(shape))
    if as_hamiltonian(ham).num_sites != sites:
        raise ValueError(f"ham has {ham.num_sites} sites, the network {sites}")
    if len(shape) == len(ham.shape) and shape != ham.shape:
        raise ValueError(f"ham lives on a lattice {ham.shape}, the network on {shape}")
    if z2 and not ham.is_z2_symmetric:
        raise ValueError("z2 = True does not fit a Hamiltonian with fields: its energy changes when all spins flip")
    return StarPrior(ham, beta, order)


@dataclass(frozen=True)
class _Star:
    """A `StarPriorPlan` at beta = 1, but for its dtype, and the largest local field |h_i| + sum_j |J_ij|."""

    fields: np.ndarray
    start: np.ndarray
    sites: np.ndarray
    couplings: np.ndarray
    largest: float

    def plan(self, beta: float) -> StarPriorPlan:
        if not beta * self.largest <= LARGEST:
            raise ValueError(
                f"beta = {beta!r} times the largest local field of ham is {beta * self.largest:g}, "
                f"more than {LARGEST:g}"
            )
        return StarPriorPlan(
            fields=torch.from_numpy(beta * self.fields),
            start=torch.from_numpy(self.start),
            sites=torch.from_numpy(self.sites),
            couplings=torch.from_numpy(beta * self.couplings),
        )


def _star(ham: Hamiltonian, order: np.ndarray | None) -> _Star:
    N = ham.num_sites
    rank = np.arange(N)
    if order is not None:
        rank[order] = np.arange(N)
    coupled = ham.couplings != 0
    couplings = ham.couplings[coupled]
    i, j = rank[ham.edges[coupled]].T.reshape(2, -1)
    with np.errstate(over="ignore"):
        strengths = np.tile(np.abs(couplings), 2)
        local = np.abs(ham.fields) + np.bincount(ham.edges[coupled].T.flatten(), strengths, minlength=N)
    late, early = np.maximum(i, j), np.minimum(i, j)
    sorted_ = np.lexsort((early, late))
    return _Star(
        fields=ham.fields if order is None else ham.fields[order],
        start=np.concatenate([[0], np.cumsum(np.bincount(late, minlength=N))]).astype(np.int64),
        sites=early[sorted_].astype(np.int64),
        couplings=couplings[sorted_],
        largest=float(local.max()),
    )
