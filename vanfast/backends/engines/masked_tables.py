"""What the CUDA samplers of masked stacks read besides weights, made once for a network's shape.

Units are sorted by degree, so a block of consecutive sites owns a run of units in every layer. Here are the lists that
csrc/cuda/masked_stack.cu works through (tasks of the prefix, stages of the scan, segments to be stored) and where each
packed weight comes from: indices into all layers' weights one after the other, with a 0 behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

WORD = 32  # sites of a block of masked_single.cu, and of a word of spins
TILE = 16  # units of a task, rows of a product
CHUNK = 4  # units that a stage activates together; the weights of a degree start at multiples of it
BLOCK_SITES = (32, 16, 8, 4, 2, 1)
BLOCK_SCAN_FLOATS = 1 << 13  # 32 KB of weights inside a block
BLOCK_ROWS = 480  # 62 KB of pre-activations for 32 samples


def spin_fragment() -> tuple[Ints, Ints]:
    """Rows and columns [32 lanes, 4 registers, 2 halves] of the first operand of a 16 x 8 x 16 product (PTX manual)."""
    lane, register, half = np.ogrid[:32, :4, :2]
    return lane // 4 + 8 * (register % 2) + 0 * half, 2 * (lane % 4) + 8 * (register // 2) + half


def unit_fragment() -> tuple[Ints, Ints]:
    """The same of a 16 x 8 x 8 product: [32 lanes, 4 registers]."""
    lane, register = np.ogrid[:32, :4]
    return lane // 4 + 8 * (register % 2), lane % 4 + 4 * (register // 2)


def entries(rows: Ints, columns: Ints, row_end: int, column_end: int, width: int, start: int, zero: int) -> Ints:
    """Indices of a matrix' entries, [row_end, column_end] of rows `width` apart, and `zero` outside."""
    inside = (rows < row_end) & (columns < column_end)
    return np.where(inside, start + rows * width + columns, zero)


def single_tables(sites: int) -> tuple[Ints, Ints]:
    """Indices into [weights of N x N, N biases, 0] of masked_single.cu: prefix [word, step 2, tile 2, 32, 4, 2], of the
    words 0 .. B - 1 of block 1, of block 2, ..., with a word of zeros behind an odd number of them; and diagonal
    [block, 32 * 32 + 32]."""
    blocks, zero = -(-sites // WORD), sites * sites + sites
    row, column = spin_fragment()
    pairs = np.array([(block, word) for block in range(blocks) for word in range(block + block % 2)]).reshape(-1, 2)
    block, word = (pairs[:, i].reshape(-1, 1, 1, 1, 1, 1) for i in range(2))
    step, tile = np.arange(2).reshape(2, 1, 1, 1, 1), np.arange(2).reshape(2, 1, 1, 1)
    rows, columns = WORD * block + TILE * tile + row, WORD * word + TILE * step + column
    prefix = np.where(word < block, entries(rows, columns, sites, sites, sites, 0, zero), zero)
    at, unit = WORD * np.arange(blocks)[:, None, None], np.arange(WORD)
    diagonal = entries(at + unit[:, None], at + unit, sites, sites, sites, 0, zero).reshape(blocks, -1)
    own = at[:, :, 0] + unit
    bias = np.where(own < sites, sites * sites + own, zero)
    return prefix, np.concatenate([diagonal, bias], 1)


@dataclass(frozen=True)
class Shape:
    """Layers of a stack without their weights."""

    sites: int
    degrees: tuple[Ints, ...]
    local: tuple[bool, ...]
    skip: tuple[bool, ...]

    def __post_init__(self) -> None:
        for l, skip in enumerate(self.skip):
            if skip and (l < 2 or not np.array_equal(self.degrees[l], self.degrees[l - 2])):
                raise ValueError(f"layer {l} adds what it cannot: layer {l - 2} has not the same degrees")
        if not np.array_equal(self.degrees[-1], np.arange(self.sites)):
            raise ValueError("unit p of the last layer must have degree p")


class StackTables:
    """Lists and indices for blocks of `block_sites` sites."""

    def __init__(self, shape: Shape, bf16: bool, block_sites: int) -> None:
        self.shape, self.bf16, self.block_sites = shape, bf16, block_sites
        sites, self._depth = shape.sites, len(shape.degrees)
        self.units = [len(degree) for degree in shape.degrees]
        self._first = [np.searchsorted(degree, np.arange(sites + 1)) for degree in shape.degrees]
        self._inputs = [sites, *self.units[:-1]]
        self.offset = np.concatenate([[0], np.cumsum(self.units)])  # units before a layer
        self._start = np.concatenate([[0], np.cumsum([a * b for a, b in zip(self.units, self._inputs, strict=True)])])
        self._zero = int(self._start[-1])
        rows = [(n + 1) // 2 if bf16 else n for n in self.units]
        wanted = [l + 1 < self._depth and not shape.local[l + 1] for l in range(self._depth)]
        row_start = np.concatenate([[0], np.cumsum([n if yes else 0 for n, yes in zip(rows, wanted, strict=True)])])
        self._active = [int(row_start[l]) if yes else -1 for l, yes in enumerate(wanted)]
        self.active_rows = int(row_start[-1])
        self.blocks: list[list[int]] = []
        self.tasks: list[list[int]] = []
        self.stages: list[list[int]] = []
        self.segments: list[list[int]] = []
        self.z_rows = self.scan_floats = 0
        self._spins: list[Ints] = []
        self._hidden: list[Ints] = []
        self._scan: list[Ints] = []
        for begin in range(0, sites, block_sites):
            self._block(begin, min(sites, begin + block_sites))

    @property
    def spin_index(self) -> Ints:
        """[step, 32, 4, 2], in steps of 16 spins."""
        return np.concatenate([np.zeros((0, 32, 4, 2), np.int64), *self._spins])

    @property
    def hidden_index(self) -> Ints:
        """[step, 32, 4, 2] in steps of 16 units in bf16, else [step, 32, 4] in steps of 8."""
        tail = (32, 4, 2) if self.bf16 else (32, 4)
        return np.concatenate([np.zeros((0, *tail), np.int64), *self._hidden])

    @property
    def scan_index(self) -> Ints:
        """[entry]"""
        return np.concatenate([np.zeros(0, np.int64), *self._scan])

    def _block(self, begin: int, end: int) -> None:
        rows = [int(first[end] - first[begin]) for first in self._first]
        sums = np.concatenate([[0], np.cumsum(rows)])  # rows of pre-activations before skip terms
        top, final = int(sums[-1]), [int(s) for s in sums[:-1]]
        for l in range(self._depth):
            if self.shape.skip[l]:
                final[l], top = top, top + rows[l]
        self.z_rows = max(self.z_rows, top)
        lists = [len(self.tasks)]
        tasks = [task for l in range(self._depth) for task in self._prefix(l, begin, rows[l], int(sums[l]))]
        self.tasks += sorted(tasks, key=lambda task: -task[3])  # long ones first: warps take them in turn
        lists += [len(self.tasks), len(self.stages)]
        scan_begin = sum(map(len, self._scan))
        places = [self._inside(l, begin, end, scan_begin) for l in range(self._depth)]
        for site in range(begin, end):
            for l in range(self._depth):
                self._stage(l, site, begin, end, sums, final, places)
        lists += [len(self.stages), len(self.segments)]
        for l in range(self._depth):
            if rows[l]:
                active = self._active[l] if end < self.shape.sites else -1
                unit = int(self._first[l][begin])
                self.segments.append([final[l], rows[l], unit, self.units[l], int(self.offset[l]), active, 0, 0])
        floats = sum(map(len, self._scan)) - scan_begin
        self.scan_floats = max(self.scan_floats, floats)
        self.blocks.append([*lists, len(self.segments), scan_begin, floats])

    def _prefix(self, l: int, begin: int, rows: int, z_row: int) -> list[list[int]]:
        """The tasks of one layer; the place of their weights is counted in steps for now."""
        known = 0 if self.shape.local[l] else begin if l == 0 else int(self._first[l - 1][begin])
        wide = l == 0 or self.bf16
        steps = -(-known // (16 if wide else 8))
        row, column = spin_fragment() if wide else unit_fragment()
        index = self._hidden if l else self._spins
        unit, tasks = int(self._first[l][begin]), []
        for tile in range(0, rows, TILE):
            step = np.arange(steps).reshape(-1, *[1] * row.ndim)
            here, width = np.int64(unit + tile) + row, self._inputs[l]
            columns = (16 if wide else 8) * step + column
            wanted = entries(here + 0 * step, columns, unit + rows, known, width, int(self._start[l]), self._zero)
            place = sum(map(len, index))
            index.append(wanted)
            active = self._active[l - 1] if l else -1
            count = min(TILE, rows - tile)
            tasks.append([z_row + tile, count, int(self.offset[l]) + unit + tile, steps, place, active, known, 0])
        return tasks

    def _inside(self, l: int, begin: int, end: int, scan_begin: int) -> tuple[Ints, Ints]:
        """Packs the weights inside a block, [unit of the block][input] with the inputs of a degree from multiples of
        CHUNK on, and of a local layer [unit][input of its degree]. For each site: where the weights of its first input
        lie for unit 0 of the block (of the site, if local), from the block's first weight; and how far rows are apart.
        """
        at = sum(map(len, self._scan)) - scan_begin
        first, width = self._first[l], self._inputs[l]
        inputs = np.arange(self.shape.sites + 1) if l == 0 else self._first[l - 1]
        size = np.diff(inputs[begin : end + 1])
        padded = size if l == 0 else -(-size // CHUNK) * CHUNK
        before = np.concatenate([[0], np.cumsum(padded)])
        columns = np.full(int(before[-1]), width)  # beyond the matrix: a 0
        for i, count in enumerate(size):
            columns[before[i] : before[i] + count] = inputs[begin + i] + np.arange(count)
        start, zero = int(self._start[l]), self._zero
        if not self.shape.local[l]:
            rows = np.arange(first[begin], first[end])[:, None]
            self._pack(entries(rows, columns[None, :], self.units[l], width, width, start, zero))
            return at + before[:-1], np.full(end - begin, before[-1])
        places = []
        for i, site in enumerate(range(begin, end)):
            places.append(sum(map(len, self._scan)) - scan_begin)
            rows, own = np.arange(first[site], first[site + 1])[:, None], columns[None, before[i] : before[i + 1]]
            self._pack(entries(rows, own, self.units[l], width, width, start, zero))
        return np.array(places), padded

    def _pack(self, index: Ints) -> None:
        flat = index.reshape(-1)
        self._scan.append(np.concatenate([flat, np.full(-len(flat) % 4, self._zero)]))

    def _stage(
        self, l: int, site: int, begin: int, end: int, sums: Ints, final: list[int], places: list[tuple[Ints, Ints]]
    ) -> None:
        first, last = self._first[l], l + 1 == self._depth
        source, count = int(first[site]), int(first[site + 1] - first[site])
        row, skip = int(sums[l]) + source - int(first[begin]), self.shape.skip[l]
        out, add = (
            (final[l] + source - int(first[begin]), final[l - 2] + source - int(first[begin])) if skip else (-1, -1)
        )
        to = 0 if last else l + 1
        from_degree = site + 1 if last else site  # a spin is seen by larger degrees, a unit by its own, too
        local = self.shape.local[to]
        target = int(self._first[to][from_degree])
        targets = int(self._first[to][site + 1 if local else end]) - target
        if not last and (count == 0 or (targets == 0 and not skip)):
            return
        origin = target - int(self._first[to][begin])
        place, stride = (int(x[site - begin]) for x in places[to])
        weights = place + (0 if local else origin * stride)
        unit = int(self.offset[l]) + source
        rows = [int(sums[to]) + origin, targets, weights, stride]
        self.stages.append([row, count, out, add, *rows, unit, site if last else -1, 0, 0])


def stack_tables(shape: Shape, bf16: bool, block_sites: Sequence[int] = BLOCK_SITES) -> StackTables:
    """Tables of the largest blocks whose weights and pre-activations are few enough, of one site if none are."""
    for size in block_sites:
        tables = StackTables(shape, bf16, size)
        if tables.scan_floats <= BLOCK_SCAN_FLOATS and tables.z_rows <= BLOCK_ROWS:
            break
    return tables
