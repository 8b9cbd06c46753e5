"""Masked convolutions drawn by csrc/cuda/conv_sample.cu: packs weights as its fragments want them, and launches.

A fragment of weights for one tile of 8 columns is what the 32 lanes of a warp hold of it: lane 4 g + t has column g and
the channels 2t, 2t + 1 (fp32, tf32: 8 channels) or 2t, 2t + 1, 2t + 8, 2t + 9 (bf16: 16 channels).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vanfast.backends.engines.base import CudaEngine, Drawn, precision_code, stream_of, to_tf32
from vanfast.backends.engines.star_tables import NO_STAR, StarArrays
from vanfast.networks.plan import ConvLayer, ConvPlan, Plan, StarPriorPlan

Index = NDArray[np.int64]
PIECES = {"fp32": 3, "tf32": 2, "bf16": 1}  # bf16 numbers whose sum is a weight of the first layer
PAIR = np.array([0, 1])
LANE = np.arange(32)


def _up(value: int, to: int) -> int:
    return -(-value // to) * to


def _slots(bf16: bool) -> Index:
    """[32, e]: the channel, of a fragment's, of each element of a lane."""
    first = 2 * (LANE % 4)[:, None]
    return first + (np.array([0, 1, 8, 9]) if bf16 else PAIR)


def _axes(*axes: Any) -> list[Index]:
    """Index vectors as arrays of one dimension each, in this order, and one more at the end."""
    return [a[..., None] for a in np.meshgrid(*axes, indexing="ij", sparse=True)]


class _Source:
    """The plan's numbers in one vector, a zero at its end, and where each tensor's entries lie in it."""

    def __init__(self, plan: ConvPlan) -> None:
        self.starts: dict[tuple[int, str], tuple[int, tuple[int, ...]]] = {}
        size = 0
        for l, layer in enumerate(plan.layers):
            for name in ("weight", "bias", "slope", "pointwise", "pointwise_bias"):
                tensor = getattr(layer, name)
                if tensor is not None:
                    self.starts[l, name] = size, tuple(tensor.shape)
                    size += tensor.numel()
        self.zero = size

    def entries(self, layer: int, name: str, *at: Any) -> Index:
        """Positions of the tensor's entries at broadcast indices; of the zero outside the tensor and without one."""
        indices = np.broadcast_arrays(*at)
        if (layer, name) not in self.starts:
            return np.full(indices[0].shape, self.zero)
        start, shape = self.starts[layer, name]
        inside = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(indices, shape, strict=True)])
        flat = np.ravel_multi_index([np.where(inside, i, 0) for i in indices], shape)
        return np.where(inside, start + flat, self.zero)

    def vector(self, plan: ConvPlan) -> Tensor:
        parts = [getattr(plan.layers[l], name).flatten() for l, name in self.starts]
        return torch.cat([*parts, parts[0].new_zeros(1)]).float()


def _row_weights(source: _Source, plan: ConvPlan, bf16: bool) -> Index:
    """Of what rows above give: [row][fragment of channels][tap][pair of tiles][lane][tile][element]."""
    k, slots = plan.half_kernel, _slots(bf16)
    taps, per = np.arange(2 * k + 1), 16 if bf16 else 8
    parts = []
    for l, layer in list(enumerate(plan.layers))[1:]:
        last = l == len(plan.layers) - 1
        columns = k if last else layer.weight.shape[0]
        pairs, chunks = np.arange(_up(columns, 16) // 16), np.arange(_up(layer.weight.shape[1], 16) // per)
        row, chunk, tap, pair, lane, tile = _axes([0] if last else np.arange(k), chunks, taps, pairs, LANE, PAIR)
        column = (2 * pair + tile) * 8 + lane // 4
        channel = chunk * per + slots.reshape(32, 1, -1)
        if last:  # column n is the row n + 1 below
            entries = source.entries(l, "weight", 0, channel, np.where(column < k, k - 1 - column, -1), tap)
        else:
            entries = source.entries(l, "weight", column, channel, k - 1 - row, tap)
        parts.append(entries.ravel())
    return np.concatenate([np.empty(0, np.int64), *parts])


def _scan_weights(source: _Source, plan: ConvPlan, bf16: bool) -> Index:
    """Of what a site gives: the last layer, whose columns are the taps, then of each layer pointwise products and a tap
    o = 0 .. k to the right: [tap][tile][pair of fragments][lane][fragment][element]."""
    k, slots, per = plan.half_kernel, _slots(bf16), 16 if bf16 else 8
    layers, parts = list(enumerate(plan.layers))[1:], []
    for l, layer in (*layers[-1:], *layers[:-1]):
        out, channels = layer.weight.shape[:2]
        last = l == len(plan.layers) - 1
        pairs = np.arange((_up(channels, 16) // per + 1) // 2)

        def axes(taps: Any, columns: int, to: int, pairs: Index = pairs) -> tuple[Index, Index, Index]:
            tap, tile, pair, lane, half = _axes(taps, np.arange(_up(columns, to) // 8), pairs, LANE, PAIR)
            return tap, tile * 8 + lane // 4, (2 * pair + half) * per + slots.reshape(32, 1, -1)

        if layer.residual:
            _, column, channel = axes([0], out, 16)
            parts.append(source.entries(l, "pointwise", column, channel).ravel())
        tap, column, channel = axes([0] if last else np.arange(k + 1), k + 1 if last else out, 8 if last else 16)
        if last:
            entries = source.entries(l, "weight", 0, channel, k, np.where(column <= k, k - column, -1))
        else:
            entries = source.entries(l, "weight", column, channel, k, k - tap)
        parts.append(entries.ravel())
    return np.concatenate([np.empty(0, np.int64), *parts])


def _first_weights(source: _Source, plan: ConvPlan) -> tuple[Index, Index]:
    """Of the spins, always in bf16: [1][fragment of taps][tile][lane][element] of the sites on the left, then [row] of
    the rows above. Pieces of the numbers follow the fragment."""
    k, slots = plan.half_kernel, _slots(True)
    tiles = np.arange(_up(plan.layers[0].weight.shape[0], 16) // 8)

    def part(rows: Any, taps: int) -> Index:
        row, chunk, tile, lane = _axes(rows, np.arange(_up(taps, 16) // 16), tiles, LANE)
        tap = chunk * 16 + slots
        return source.entries(0, "weight", tile * 8 + lane // 4, 0, row, np.where(tap < taps, tap, -1))

    return part([k], k), part(k - 1 - np.arange(k), 2 * k + 1)


def _constants(source: _Source, plan: ConvPlan) -> Index:
    parts = []
    for l, layer in enumerate(plan.layers):
        out, channels = layer.weight.shape[:2]
        parts += [source.entries(l, "bias", np.arange(_up(out, 16)))]
        parts += [source.entries(l, "slope", np.arange(_up(channels, 16)))]
        if layer.residual:
            parts += [source.entries(l, "pointwise_bias", np.arange(_up(channels, 16)))]
    return np.concatenate(parts)


class CudaConv(CudaEngine):
    """A ConvPlan in one launch. Raises ValueError for networks so wide that a block's shared memory cannot hold a site.

    `shared_limit`, in bytes, makes it do with less shared memory than the device has; for tests.
    """

    def __init__(
        self, plan: ConvPlan, precision: str, device: torch.device, module: Any, shared_limit: int = 0
    ) -> None:
        super().__init__(plan, device)
        self.precision, code = precision, precision_code(precision)
        layers = [(w.shape[1], w.shape[0], layer.residual) for layer in plan.layers for w in (layer.weight,)]
        (height, width), index = plan.shape, device.index or 0
        star = plan.prior is not None
        self.native = module.ConvSampler(height, width, plan.half_kernel, layers, code, index, shared_limit, star)
        self._star = None if plan.prior is None else StarArrays(plan.prior, module.conv_star_slots, device)
        outputs = [out for layer in plan.layers for out in _outputs(layer)]
        self._kept = [*((height, width, out) for out in outputs[:-1]), (self.num_sites,)]
        bf16, source = precision == "bf16", _Source(plan)
        self._source = source
        self._index = [
            torch.from_numpy(index).to(device)
            for index in (
                _row_weights(source, plan, bf16),
                _scan_weights(source, plan, bf16),
                *_first_weights(source, plan),
                _constants(source, plan),
            )
        ]
        rows, scan, left, above, constants = self._index
        kind = torch.bfloat16 if bf16 else torch.float32
        self._rows = torch.empty(rows.numel(), dtype=kind, device=device)
        self._scan = torch.empty(scan.numel(), dtype=kind, device=device)
        pieces = PIECES[precision]
        self._first = torch.empty(pieces * (left.numel() + above.numel()), dtype=torch.bfloat16, device=device)
        self._constants = torch.empty(constants.numel(), device=device)
        for buffer, size in (
            (self._rows, self.native.rows_bytes),
            (self._scan, self.native.scan_bytes),
            (self._first, self.native.first_bytes),
            (self._constants, 4 * self.native.num_constants),
        ):
            assert buffer.numel() * buffer.element_size() == size
        self.load(plan)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, ConvPlan)
        rows, scan, left, above, constants = self._index
        values = self._source.vector(plan)
        weights = to_tf32(values) if self.precision == "tf32" else values
        self._rows.copy_(weights[rows])
        self._scan.copy_(weights[scan])
        self._first.copy_(torch.cat([self._pieces(weights[index]).flatten() for index in (left, above)]))
        self._constants.copy_(values[constants])
        if plan.prior is not None:
            self.load_prior(plan.prior)

    def load_prior(self, prior: StarPriorPlan) -> None:
        assert self._star is not None
        self._star.load(prior)

    def _pieces(self, weights: Tensor) -> Tensor:
        """[row, chunk, tile, lane, element] to bf16 [row, chunk, piece, ...] whose pieces sum to the doubled weights:
        the kernel's spins are +-1/2."""
        rest, pieces = 2 * weights, []
        for _ in range(PIECES[self.precision]):
            pieces.append(rest.bfloat16())
            rest = rest - pieces[-1]
        return torch.stack(pieces, dim=2)

    def _run(self, spins: Tensor, given: bool, seed: int, first: int, step: Tensor | None, keep: bool) -> Drawn:
        count = len(spins)
        log_q = torch.empty(count, dtype=torch.float64, device=self.device)
        kept = tuple(torch.empty((count, *shape), device=self.device) for shape in self._kept if keep)
        blocks = min(self.native.blocks, (count + 30) // 16)  # tiles begin at multiples of 16 of the sample index
        workspace = torch.empty(self.native.workspace_bytes(blocks), dtype=torch.uint8, device=self.device)
        self.native.sample(
            *(buffer.data_ptr() for buffer in (self._rows, self._scan, self._first, self._constants, workspace)),
            blocks,
            spins.data_ptr(),
            log_q.data_ptr(),
            [buffer.data_ptr() for buffer in kept],
            given,
            count,
            seed,
            first % 2**64,
            0 if step is None else step.data_ptr(),
            NO_STAR if self._star is None else self._star.pointers(),
            stream_of(self.device),
        )
        return Drawn(spins, log_q, kept)


def _outputs(layer: ConvLayer) -> list[int]:
    """Channels of the layer's pre-activations."""
    out, channels = layer.weight.shape[:2]
    return [channels, out] if layer.residual else [out]
