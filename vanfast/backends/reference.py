"""The slow truth: evaluates the whole network in float64 for every site that is drawn, straight from its plan.

Precision "fp32" is the network with its parameters as they are, all arithmetic in float64. Precision "bf16" rounds the
weights of every linear layer (channel layers and 1 x 1 convolutions too) and the inputs of every linear layer, after
PReLU, to bf16, ties to even; biases, slopes, sums and what a residual block adds are not rounded. A bf16 engine that
keeps its sums in fp32 may round an input differently where it lies next to the middle of two bf16 numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vanfast._spins import as_spins
from vanfast.backends.base import Backend, Program
from vanfast.networks.plan import (
    CategoricalPlan,
    ConvPlan,
    MagnetizationPlan,
    MaskedPlan,
    MixturePlan,
    NestPlan,
    Plan,
    PrefixPlan,
    StarPriorPlan,
    moved,
)
from vanfast.random import draw_spins, draw_states, random_words, symmetry_elements

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network

STACKS = ConvPlan | MaskedPlan | CategoricalPlan  # with products that can be rounded
ORDERED = MaskedPlan | CategoricalPlan  # with an order of their own
TILE = 64  # samples evaluated together, always as many, so that no result depends on the caller's batch

Round = Callable[[Tensor], Tensor]


def identity(x: Tensor) -> Tensor:
    return x.double()


def to_bf16(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).double()


def activate(z: Tensor, slope: Tensor | None) -> Tensor:
    """PReLU with one slope for each entry of dimension 1; the identity without slopes."""
    return z if slope is None else functional.prelu(z, slope.double())


def conv_logits(plan: ConvPlan, spins: Tensor, rounded: Round = identity) -> Tensor:
    """Logits float64 [B, N] of spins float64 [B, N]: every layer as a convolution over the zero-padded lattice."""
    k = plan.half_kernel
    z = spins.view(-1, 1, *plan.shape)
    for layer in plan.layers:
        hidden = z
        if layer.pointwise is not None:
            bias = None if layer.pointwise_bias is None else layer.pointwise_bias.double()
            hidden = functional.conv2d(rounded(z), rounded(layer.pointwise)[:, :, None, None], bias)
        bias = None if layer.bias is None else layer.bias.double()
        padded = functional.pad(rounded(activate(hidden, layer.slope)), (k, k, k, 0))
        out = functional.conv2d(padded, rounded(layer.weight), bias)
        z = out + z if layer.residual else out
    return z.flatten(1)


def masked_logits(plan: MaskedPlan | CategoricalPlan, spins: Tensor, rounded: Round = identity) -> Tensor:
    """The last layer float64 [B, .] of its input float64 [B, .], both in drawing order: full matrix products."""
    z: Tensor = spins
    before: Tensor | None = None
    for layer in plan.layers:
        out = rounded(activate(z, layer.slope)) @ rounded(layer.weight).T
        if layer.bias is not None:
            out = out + layer.bias.double()
        if layer.skip:
            assert before is not None
            out = out + before
        z, before = out, z
    return z


def star_logits(plan: StarPriorPlan, spins: Tensor) -> Tensor:
    """What a prior adds, float64 [B, N], to the logits of spins float64 [B, N] in drawing order: site by site, a field
    f on site l by ln cosh(K + f) - ln cosh(K - f)."""
    N, counts = len(plan.fields), plan.start.diff()
    K = torch.zeros(N, N, dtype=torch.float64)
    K[plan.sites, torch.arange(N).repeat_interleave(counts)] = plan.couplings
    out = torch.empty_like(spins)
    for i in range(N):
        fields = plan.fields + spins[:, :i] @ K[:i]  # [B, N]
        later = K[i].nonzero().flatten()
        a, f = K[i, later], fields[:, later]
        up, down = (a + f).abs(), (a - f).abs()
        star = up - down + torch.log1p(torch.exp(-2 * up)) - torch.log1p(torch.exp(-2 * down))
        out[:, i] = 2 * fields[:, i] + star.sum(1)
    return out


def mixture_logits(plan: MixturePlan, spins: Tensor) -> Tensor:
    """Logits float64 [B, N] of spins float64 [B, N]: posterior weights of the components site by site."""
    x = plan.logits.double()
    weights = plan.log_weights.double().expand(len(spins), -1)
    out = torch.empty_like(spins)
    for i in range(plan.num_sites):
        up, down = functional.logsigmoid(x[:, i]), functional.logsigmoid(-x[:, i])
        out[:, i] = torch.logsumexp(weights + up, 1) - torch.logsumexp(weights + down, 1)
        weights = weights + torch.where(spins[:, i : i + 1] > 0, up, down)
    return out


def magnetization_logits(plan: MagnetizationPlan, spins: Tensor) -> Tensor:
    """Logits float64 [B, N] of spins float64 [B, N]: one look-up a site."""
    out = torch.empty_like(spins)
    for i in range(plan.num_sites):
        up = (spins[:, :i] > 0).sum(1)
        out[:, i] = plan.logits[i, up]
    return out


def prefix_logits(plan: PrefixPlan, spins: Tensor) -> Tensor:
    """Logits float64 [B, N] of spins float64 [B, N]: one look-up a site."""
    out = torch.empty_like(spins)
    for i in range(plan.num_sites):
        prefix = ((spins[:, :i] > 0).long() * 2 ** torch.arange(i)).sum(1)
        out[:, i] = plan.logits[2**i - 1 + prefix]
    return out


def nest_logits(plan: NestPlan, spins: Tensor) -> Tensor:
    """Logits float64 [B, N] of spins float64 [B, N]: site by site, the fields of the sites before it as one product."""
    J, weight, shift = plan.couplings.double(), plan.weight.double(), plan.shift.double()
    out = torch.empty_like(spins)
    for i in range(plan.num_sites):
        fields = spins[:, :i] @ J[:i]  # [B, N]
        w, b = weight[i, i + 1 :], shift[i, i + 1 :]  # [N - 1 - i, 2, k + 2], [N - 1 - i, 2, k + 1]
        y = functional.logsigmoid(b[:, :, 0] + w[:, :, 0] * fields[:, i + 1 :, None])
        for j in range(1, plan.nestings + 1):
            y = functional.logsigmoid(b[:, :, j] + w[:, :, j] * y)
        read_out = (w[:, :, -1] * y).sum((1, 2))
        out[:, i] = plan.bias[i].double() + plan.direct[i].double() * fields[:, i] + read_out
    return out


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread, so that sums are always in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class ReferenceProgram(Program):
    """Naive sampling: N evaluations of the whole network, tiles of `TILE` consecutive sample indices."""

    def __init__(self, plan: Plan, z2: bool, precision: str) -> None:
        self.plan, self.z2, self.num_sites = plan, z2, plan.num_sites
        self.q = plan.q if isinstance(plan, CategoricalPlan) else None
        self.rounded = to_bf16 if precision == "bf16" else identity
        self.order = plan.order.numpy() if isinstance(plan, ORDERED) and plan.order is not None else None

    def logits(self, drawn: Tensor) -> Tensor:
        """Logits float64 [B, N] of q_theta, [B, N, q] of sites with states, both in drawing order."""
        if isinstance(self.plan, CategoricalPlan):
            one_hot = functional.one_hot(drawn.long(), self.plan.q).double().flatten(1)
            return masked_logits(self.plan, one_hot, self.rounded).unflatten(1, (self.num_sites, self.plan.q))
        if isinstance(self.plan, ConvPlan | MaskedPlan):
            out = self._layers(self.plan, drawn.double())
            return out if self.plan.prior is None else out + star_logits(self.plan.prior, drawn.double())
        if isinstance(self.plan, MagnetizationPlan):
            return magnetization_logits(self.plan, drawn.double())
        if isinstance(self.plan, PrefixPlan):
            return prefix_logits(self.plan, drawn.double())
        if isinstance(self.plan, NestPlan):
            return nest_logits(self.plan, drawn.double())
        return mixture_logits(self.plan, drawn.double())

    def _layers(self, plan: ConvPlan | MaskedPlan, spins: Tensor) -> Tensor:
        if isinstance(plan, ConvPlan):
            return conv_logits(plan, spins, self.rounded)
        return masked_logits(plan, spins, self.rounded)

    def sample(
        self, count: int, seed: int, first: int, ham: Hamiltonian | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        spins = torch.empty((count, self.num_sites), dtype=torch.int8)
        log_q = torch.empty(count, dtype=torch.float64)
        with one_thread(), torch.no_grad():
            for begin in range(first - first % TILE, first + count, TILE):
                tile_spins, tile_log_q = self._sample_tile(seed, begin)
                start, end = max(begin, first), min(begin + TILE, first + count)
                spins[start - first : end - first] = tile_spins[start - begin : end - begin]
                log_q[start - first : end - first] = tile_log_q[start - begin : end - begin]
        return spins, log_q, None if ham is None else torch.as_tensor(ham.energy(spins))

    def _sample_tile(self, seed: int, begin: int) -> tuple[Tensor, Tensor]:
        words = random_words(seed, begin, TILE, self.num_sites)
        drawn = np.ones((TILE, self.num_sites), dtype=np.int8)  # 1 is a spin as well as a state
        draw = draw_spins if self.q is None else draw_states
        for site in range(self.num_sites):
            logits = self.logits(torch.from_numpy(drawn))[:, site].numpy()
            drawn[:, site] = draw(logits, words[:, site])
        images = np.stack([image.numpy() for image in self._images(torch.from_numpy(drawn))])
        drawn = images[symmetry_elements(seed, begin, TILE, len(images)), np.arange(TILE)]
        log_q = self._log_q(torch.from_numpy(drawn))
        if self.order is None:
            return torch.from_numpy(drawn), log_q
        raster = np.empty_like(drawn)
        raster[:, self.order] = drawn
        return torch.from_numpy(raster), log_q

    def log_prob(self, spins: Any) -> Tensor:
        drawn = as_spins(spins, self.num_sites, q=self.q)
        if self.order is not None:
            drawn = drawn[:, self.order]
        padding = -len(drawn) % TILE
        tiles = torch.cat([drawn, torch.ones((padding, self.num_sites), dtype=torch.int8)]).split(TILE)
        with one_thread(), torch.no_grad():
            parts = [self._log_q(tile) for tile in tiles if len(tile)]
        return torch.cat([*parts, torch.empty(0, dtype=torch.float64)])[: len(drawn)]

    def _images(self, drawn: Tensor) -> list[Tensor]:
        """Configurations int8 [B, N] under each element of the symmetry group, the identity first."""
        if isinstance(self.plan, CategoricalPlan):
            return [table.to(torch.int8)[drawn.long()] for table in self.plan.maps]
        return [drawn, -drawn] if self.z2 else [drawn]

    def _log_q_theta(self, drawn: Tensor) -> Tensor:
        if self.q is None:
            return functional.logsigmoid(drawn * self.logits(drawn)).sum(1)
        ln = functional.log_softmax(self.logits(drawn), -1)
        return ln.gather(-1, drawn.long()[..., None]).sum((1, 2))

    def _log_q(self, drawn: Tensor) -> Tensor:
        """ln q, float64 [TILE], of one tile in drawing order."""
        terms = torch.stack([self._log_q_theta(image) for image in self._images(drawn)])
        return terms[0] if len(terms) == 1 else torch.logsumexp(terms, 0) - np.log(len(terms))


class ReferenceBackend(Backend):
    """Selected by the name "reference"; it runs on one thread whatever `threads` says."""

    name = "reference"

    def unavailable(self) -> str | None:
        return None

    def refuses(self, net: Network, precision: str) -> str | None:
        if precision not in ("fp32", "bf16"):
            return f"precision {precision!r} is not one of its precisions, 'fp32' and 'bf16'"
        if precision == "bf16" and not issubclass(net.plan_type, STACKS):
            return f"{type(net).__name__} has no matrix products that could be rounded to bf16"
        return None

    def compile(self, net: Network, precision: str, threads: int | None, isa: str | None = None) -> Program:
        if isa is not None:
            raise ValueError(f"isa = {isa!r}: the reference backend has no instruction sets to choose from")
        return ReferenceProgram(moved(net.plan(), "cpu"), net.z2, precision)


BACKEND = ReferenceBackend()
