"""PixelCNN by Triton: row after row, every layer's prefix as one masked convolution, then the scan of the row."""

from __future__ import annotations

import torch
from torch import Tensor

from vanfast.backends.engines.base import Drawn, Engine
from vanfast.backends.engines.triton_star import LoadedStar
from vanfast.kernels._dot import check, rounded
from vanfast.kernels.activate import activate
from vanfast.kernels.conv import ConvShape, conv, pack
from vanfast.kernels.conv_scan import TILE, ConvScanShape, ConvScanWeights, conv_scan, own_row
from vanfast.networks.plan import ConvPlan, Plan, StarPriorPlan

STATE_BYTES = 1 << 32  # samples are drawn in as many parts as keep their rows of pre-activations below this


class TritonConv(Engine):
    """Weights packed for prefixes and for the scan; pre-activations of k + 1 rows, or of all rows to keep them."""

    def __init__(self, plan: Plan, precision: str, device: torch.device) -> None:
        super().__init__(plan, device)
        assert isinstance(plan, ConvPlan)
        layers, k = plan.layers, plan.half_kernel
        channels = layers[0].weight.shape[0]
        residual = any(layer.residual for layer in layers)
        for index, layer in enumerate(layers):
            hidden = 0 < index < len(layers) - 1
            wanted = (1 if index + 1 == len(layers) else channels, channels if index else 1, k + 1, 2 * k + 1)
            if tuple(layer.weight.shape) != wanted:
                raise ValueError(
                    f"weight of layer {index} has shape {list(layer.weight.shape)}, must be {list(wanted)}"
                )
            if (layer.residual, layer.pointwise is not None) != (hidden and residual,) * 2:
                raise ValueError("residual blocks must be all the layers between the first and the last, or none")
        self.shape = ConvScanShape(plan.shape, k, len(layers), channels, residual, precision)
        self._weights = ConvScanWeights.empty(self.shape, device)
        self._prefixes = [
            ConvShape(
                plan.shape, k, layer.inclusive, layer.weight.shape[1], layer.weight.shape[0], precision, index == 0
            )
            for index, layer in enumerate(layers)
        ]
        self._packed = [torch.zeros(s.packed_shape(), dtype=s.packed_dtype(), device=device) for s in self._prefixes]
        self._biases = [torch.zeros(s.c_out, device=device) for s in self._prefixes]
        self._slopes = [torch.ones(s.c_in, device=device) for s in self._prefixes]
        self._no_step = torch.zeros(1, dtype=torch.int64, device=device)
        self._star = None if plan.prior is None else LoadedStar(plan.prior, device)
        self.load(plan)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, ConvPlan)
        shape, w = self.shape, self._weights
        for index, layer in enumerate(plan.layers):
            pack(self._prefixes[index], layer.weight, out=self._packed[index])
            if layer.bias is not None:
                self._biases[index].copy_(layer.bias)
            if layer.slope is not None:
                self._slopes[index].copy_(layer.slope)
            taps, c, hidden = own_row(layer.weight, shape.precision), layer.weight.shape[1], index - 1
            if index == 0:
                w.first[:, : shape.channels].copy_(taps[:, :, 0])
            elif index + 1 < shape.depth:
                w.row[hidden, :, :c, :c].copy_(taps)
                w.slope[hidden, :c].copy_(self._slopes[index])
            else:
                w.last[:, :c].copy_(taps[:, 0])
                w.last_slope[:c].copy_(self._slopes[index])
            if layer.pointwise is not None:
                w.mix[hidden, 0, :c, :c].copy_(rounded(layer.pointwise, shape.precision))
                if layer.pointwise_bias is not None:
                    w.mix_bias[hidden, :c].copy_(layer.pointwise_bias)

        if plan.prior is not None:
            self.load_prior(plan.prior)

    def load_prior(self, prior: StarPriorPlan) -> None:
        assert self._star is not None
        self._star.load(prior)

    def draw(self, count: int, seed: int, first: int, step: Tensor | None = None, keep: bool = False) -> Drawn:
        # Tiles begin at multiples of TILE where the host knows the index; no sum depends on a sample's place in a tile.
        lead = first % TILE if step is None else 0
        spins = torch.empty((lead + count, self.num_sites), dtype=torch.int8, device=self.device)
        log_q, kept = self._run(spins, seed, first - lead, step, keep, given=False)
        return Drawn(spins[lead:], log_q[lead:], tuple(z[lead:] for z in kept))

    def evaluate(self, spins: Tensor, keep: bool = False) -> Drawn:
        check("spins", spins, (torch.int8,), (None, self.num_sites))
        spins = spins.contiguous()
        return Drawn(spins, *self._run(spins, 0, 0, None, keep, given=True))

    def _run(
        self, spins: Tensor, seed: int, first: int, step: Tensor | None, keep: bool, given: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        (ly, lx), shape, count = self.shape.lattice, self.shape, len(spins)
        log_q = torch.zeros(count, dtype=torch.float64, device=self.device)
        rings = ly if keep else min(ly, shape.half_kernel + 1)
        step = self._no_step if step is None else step
        bytes_each = 4 * rings * lx * (shape.slots * shape.channels + 1)
        part = max(count, 1) if keep else max(TILE, STATE_BYTES // bytes_each // TILE * TILE)
        for start in range(0, max(count, 1), part):
            end = min(count, start + part)
            state = torch.empty((shape.slots, end - start, rings, lx, shape.channels), device=self.device)
            logits = torch.empty((end - start, rings, lx), device=self.device)
            star = None if self._star is None else self._star.star
            running = None if star is None else star.running(end - start)
            for row in range(ly):
                self._prefix(spins[start:end], state, logits, row)
                conv_scan(
                    shape, self._weights, spins[start:end], log_q[start:end], state, logits, step, row, seed,
                    (first + start) % 2**64, given, star, running,
                )  # fmt: skip
        return log_q, (*state, logits.flatten(1)) if keep else ()

    def _prefix(self, spins: Tensor, state: Tensor, logits: Tensor, row: int) -> None:
        """Bias and the taps of rows above for every convolution, into the row's place in state and logits."""
        ly, lx = self.shape.lattice
        ring = row % logits.shape[1]
        each = 2 if self.shape.residual else 1
        for index, prefix in enumerate(self._prefixes):
            last = index + 1 == self.shape.depth
            out = logits.unsqueeze(3) if last else state[each * index]
            slope = None
            if index == 0:
                x = spins.view(-1, ly, lx, 1)
            else:
                x, slope = state[-1 if last else each * index - 1], self._slopes[index]
                if prefix.c_in == 1:  # the convolution has no PReLU for one channel
                    x, slope = activate(x, slope, self.shape.precision), None
            conv(prefix, x, self._packed[index], self._biases[index], slope, None, out[:, ring : ring + 1], row, True)
