"""Masked linear stacks by Triton: block after block of sites, the prefix of every layer, then the scan of the block."""

from __future__ import annotations

import torch
from torch import Tensor

from vanfast.backends.engines.base import Drawn, Engine
from vanfast.backends.engines.triton_star import LoadedStar
from vanfast.kernels._dot import check, rounded
from vanfast.kernels.masked import masked, pack
from vanfast.kernels.masked_scan import TILE, MaskedScanTables, masked_scan
from vanfast.networks.plan import MaskedPlan, Plan, StarPriorPlan

STATE_BYTES = 1 << 32  # samples are drawn in as many parts as keep their pre-activations below this


class TritonMasked(Engine):
    """All layers' weights in one buffer, with tables of the units that belong to each site and block."""

    def __init__(self, plan: Plan, precision: str, device: torch.device, block: int | None = None) -> None:
        """block: sites finished together; None chooses."""
        super().__init__(plan, device)
        assert isinstance(plan, MaskedPlan)
        self.precision = precision
        sites, units = plan.num_sites, tuple(len(layer.degree) for layer in plan.layers)
        # About 64 units to a prefix product, at most 32 sites: the scan's share of the work grows with the block.
        self.block = block or min(max(64 * sites // max(*units, 1), 8), 32)
        self._blocks = [(begin, min(begin + self.block, sites)) for begin in range(0, sites, self.block)]
        self._inputs = (sites, *units[:-1])
        self._first = [_first_units(layer.degree, sites) for layer in plan.layers]
        self._local = [layer.local for layer in plan.layers]
        self.tables = self._tables(plan, units)
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        sizes = [n * m for n, m in zip(self._inputs, units, strict=True)]
        self._weight = torch.zeros(sum(sizes), dtype=kind, device=device)
        self._weights = [
            part.view(1, m, n) for part, n, m in zip(self._weight.split(sizes), self._inputs, units, strict=True)
        ]
        self._bias = torch.zeros(self.tables.total, device=device)
        self._slope = torch.ones(self.tables.total, device=device)
        self._spin_weight = pack(plan.layers[0].weight, precision, spins=True)
        order = plan.order
        self._order = None if order is None else order.to(device)
        self._raster = None if order is None else torch.argsort(order).to(device)
        self._no_step = torch.zeros(1, dtype=torch.int64, device=device)
        self._star = None if plan.prior is None else LoadedStar(plan.prior, device)
        self.load(plan)

    def _done(self, layer: int, site: int) -> int:
        """Inputs of a layer that are finished before a site."""
        return self._first[layer - 1][site] if layer else site

    def _tables(self, plan: MaskedPlan, units: tuple[int, ...]) -> MaskedScanTables:
        offsets, weights = [0, plan.num_sites], 0
        layers, places = [], []
        for index, layer in enumerate(plan.layers):
            skip = offsets[index - 1] if layer.skip else -1
            layers.append([offsets[index], self._inputs[index], offsets[index + 1], units[index], skip, weights])
            weights += self._inputs[index] * units[index]
            offsets.append(offsets[-1] + units[index])
            for site in range(plan.num_sites):
                start = self._done(index, site - site % self.block)
                begin = self._done(index, site) if layer.local else start
                end = self._done(index, site + 1) if index else site
                prefix = start > 0 and not layer.local
                places.append([self._first[index][site], self._first[index][site + 1], begin, end, prefix])
        return MaskedScanTables(
            plan.num_sites,
            units,
            torch.tensor(layers, dtype=torch.int64, device=self.device),
            torch.tensor(places, dtype=torch.int32, device=self.device),
        )

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, MaskedPlan)
        at = plan.num_sites
        for index, layer in enumerate(plan.layers):
            self._weights[index][0].copy_(rounded(layer.weight, self.precision))
            if layer.slope is not None:
                self._slope[at - self._inputs[index] : at].copy_(layer.slope)
            if layer.bias is not None:
                self._bias[at : at + len(layer.bias)].copy_(layer.bias)
            at += self.tables.units[index]
        pack(plan.layers[0].weight, self.precision, spins=True, out=self._spin_weight)
        if plan.prior is not None:
            self.load_prior(plan.prior)

    def load_prior(self, prior: StarPriorPlan) -> None:
        assert self._star is not None
        self._star.load(prior)

    def draw(self, count: int, seed: int, first: int, step: Tensor | None = None, keep: bool = False) -> Drawn:
        # Tiles begin at multiples of TILE where the host knows the index; no sum depends on a sample's place in a tile.
        lead = first % TILE if step is None else 0
        drawn = torch.empty((lead + count, self.num_sites), dtype=torch.int8, device=self.device)
        log_q, kept = self._run(drawn, seed, first - lead, step, keep, given=False)
        spins = drawn[lead:] if self._raster is None else drawn[lead:, self._raster]
        return Drawn(spins, log_q[lead:], tuple(z[lead:] for z in kept))

    def evaluate(self, spins: Tensor, keep: bool = False) -> Drawn:
        check("spins", spins, (torch.int8,), (None, self.num_sites))
        drawn = spins.contiguous() if self._order is None else spins[:, self._order].contiguous()
        return Drawn(spins, *self._run(drawn, 0, 0, None, keep, given=True))

    def _run(
        self, drawn: Tensor, seed: int, first: int, step: Tensor | None, keep: bool, given: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        tables, count = self.tables, len(drawn)
        log_q = torch.zeros(count, dtype=torch.float64, device=self.device)
        step = self._no_step if step is None else step
        part = max(count, 1) if keep else max(TILE, STATE_BYTES // (4 * tables.total) // TILE * TILE)
        z: list[Tensor] = []
        for start in range(0, max(count, 1), part):
            end = min(count, start + part)
            state = torch.empty((end - start) * tables.total, device=self.device)
            sizes = [(end - start) * n for n in (tables.sites, *tables.units)]
            z = [run.view(end - start, -1) if end > start else run.view(0, n)
                 for run, n in zip(state.split(sizes), (tables.sites, *tables.units), strict=True)]  # fmt: skip
            star = None if self._star is None else self._star.star
            running = None if star is None else star.running(end - start)
            for begin, stop in self._blocks:
                self._prefix(drawn[start:end], z, begin, stop)
                masked_scan(
                    tables, self._weight, self._bias, self._slope, drawn[start:end], log_q[start:end], state, step,
                    begin, stop, seed, (first + start) % 2**64, given, self.precision, star, running,
                )  # fmt: skip
        return log_q, tuple(z[1:]) if keep else ()

    def _prefix(self, drawn: Tensor, z: list[Tensor], begin: int, stop: int) -> None:
        """What is finished before the block, for the block's units of every layer, without their biases."""
        at = 0
        for index, size in enumerate(self._inputs):
            units, limit = (self._first[index][begin], self._first[index][stop]), self._done(index, begin)
            if limit and units[0] < units[1] and not self._local[index]:
                x, slope = (drawn, None) if index == 0 else (z[index], self._slope[at : at + size])
                weight = self._weights[index] if index else self._spin_weight
                out = z[index + 1][:, units[0] : units[1]]
                masked(x, weight, None, self.precision, slope=slope, out=out, units=units, limit=limit)
            at += size


def _first_units(degree: Tensor, sites: int) -> list[int]:
    """[sites + 1]: the first unit of a degree not below p."""
    return torch.searchsorted(degree.cpu(), torch.arange(sites + 1)).tolist()
