"""A Hamiltonian's bonds in the forms that the CUDA kernels take, sites by colour; see csrc/cuda/mcmc_launch.cuh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vanfast.mcmc._tables import Neighbours, PairArrays, PlaneArrays

# PlaneRun of csrc/cuda/mcmc_planes.cuh
PLANE_RUN = np.dtype([("first", "i4"), ("count", "i4"), ("bonds", "i4"), ("last_of_colour", "i4"), ("offset", "i8")])


@dataclass(frozen=True)
class Colours:
    """Sites in the order in which a sweep tries them: by colour, number of bonds and site.

    No two sites of a colour are neighbours: their updates do not see each other, whatever their order.
    """

    site: np.ndarray  # int32 [N]: that of every position
    position: np.ndarray  # int32 [N]: of every site
    start: np.ndarray  # int32 [K + 1]: first position of every colour

    @property
    def largest(self) -> int:
        """Sites of the largest colour."""
        return int(np.diff(self.start).max())


def colours(start: np.ndarray, neighbour: np.ndarray) -> Colours:
    """Two colours where the graph is bipartite, the sublattices of a lattice with even periods; else greedily.

    start [N + 1] and neighbour are rows as in `Neighbours`.
    """
    found = _two_colours(start, neighbour)
    if found is None:
        found = _greedy(start, neighbour)
    N = len(start) - 1
    site = np.lexsort((np.arange(N), np.diff(start), found)).astype(np.int32)
    position = np.empty(N, dtype=np.int32)
    position[site] = np.arange(N, dtype=np.int32)
    return Colours(site, position, np.concatenate([[0], np.cumsum(np.bincount(found))]).astype(np.int32))


def _two_colours(start: np.ndarray, neighbour: np.ndarray) -> np.ndarray | None:
    """The parity of a site's distance from the first site of its component; None where an odd ring forbids that."""
    N = len(start) - 1
    found = np.where(np.diff(start) == 0, 0, -1)
    for root in range(N):
        if found[root] >= 0:
            continue
        front, parity = np.array([root]), 0
        while len(front):
            found[front] = parity
            other = neighbour[_entries(start, front)]
            front, parity = np.unique(other[found[other] < 0]), 1 - parity
    ends = np.repeat(np.arange(N), np.diff(start))
    return None if (found[ends] == found[neighbour]).any() else found


def _greedy(start: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
    """The smallest colour that no earlier neighbour has, in raster order."""
    found = [-1] * (len(start) - 1)
    begin, other = start.tolist(), neighbour.tolist()
    for site in range(len(found)):
        taken = {found[j] for j in other[begin[site] : begin[site + 1]]}
        colour = 0
        while colour in taken:
            colour += 1
        found[site] = colour
    return np.array(found, dtype=np.int64)


def _entries(start: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """The entries of these sites' rows, one row after the other."""
    counts = start[sites + 1] - start[sites]
    behind = np.repeat(start[sites] - (np.cumsum(counts) - counts), counts)
    return np.arange(counts.sum()) + behind


@dataclass(frozen=True)
class PlaneRuns:
    """Runs of positions of one colour and one number of bonds, and their neighbours side by side."""

    runs: np.ndarray  # PLANE_RUN [R]
    neighbour: np.ndarray  # int32: positions, with the top bit set where the coupling is negative

    @property
    def largest(self) -> int:
        """Sites of the largest run."""
        return int(self.runs["count"].max())


def plane_runs(planes: PlaneArrays, order: Colours) -> PlaneRuns:
    N = len(order.site)
    bonds = np.diff(planes.start)[order.site]
    colour = np.repeat(np.arange(len(order.start) - 1), np.diff(order.start))
    first = np.flatnonzero(np.r_[True, (np.diff(bonds) != 0) | (np.diff(colour) != 0)])
    runs = np.zeros(len(first), dtype=PLANE_RUN)
    runs["first"], runs["count"], runs["bonds"] = first, np.diff(np.r_[first, N]), bonds[first]
    runs["last_of_colour"] = np.r_[colour[first][1:] != colour[first][:-1], True]
    sizes = runs["count"].astype(np.int64) * runs["bonds"]
    runs["offset"] = np.cumsum(sizes) - sizes
    packed = order.position[planes.neighbour].view(np.uint32) | (planes.negative.astype(np.uint32) << np.uint32(31))
    neighbour = np.empty(sizes.sum(), dtype=np.uint32)
    for run, size in zip(runs, sizes.tolist(), strict=True):
        sites = order.site[run["first"] : run["first"] + run["count"]]
        entries = planes.start[sites] + np.arange(run["bonds"])[:, None]  # [bonds, count]
        neighbour[run["offset"] : run["offset"] + size] = packed[entries].reshape(-1)
    return PlaneRuns(runs, neighbour.view(np.int32))


def digit_masks(thresholds: np.ndarray) -> np.ndarray:
    """The 64 digits of thresholds uint64 [bonds, class], highest first: uint32 [bonds, 16, class, 4], ones or 0."""
    shifts = np.arange(63, -1, -1, dtype=np.uint64).reshape(16, 1, 4)
    digits = thresholds[:, None, :, None] >> shifts & np.uint64(1)
    return np.where(digits, np.uint32(0xFFFFFFFF), np.uint32(0))


@dataclass(frozen=True)
class SparseRows:
    """Rows of bonds by position."""

    start: np.ndarray  # int32 [N + 1]
    bonds: np.ndarray  # int32 [2 M, 2]: position of the other site, J / quantum
    field: np.ndarray  # int32 [N]
    is_free: np.ndarray  # uint8 [N]


def sparse_rows(arrays: PairArrays, order: Colours) -> SparseRows:
    assert arrays.start is not None
    assert arrays.neighbour is not None
    entries = _entries(arrays.start, order.site)
    counts = np.diff(arrays.start)[order.site]
    bonds = np.stack([order.position[arrays.neighbour[entries]], arrays.twice[entries] // 2], axis=1)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return SparseRows(
        start, np.ascontiguousarray(bonds, dtype=np.int32), arrays.field[order.site], arrays.is_free[order.site]
    )


@dataclass(frozen=True)
class NumberedBonds:
    """Bonds by number, in the order of their smaller and then their larger site, and the rows that name them."""

    ends: np.ndarray  # int32 [M, 2], smaller site first
    threshold: np.ndarray  # uint32 [M]
    start: np.ndarray  # int32 [N + 1]
    entries: np.ndarray  # int32 [2 M, 2]: other site, number of the bond


def numbered_bonds(rows: Neighbours, thresholds: np.ndarray) -> NumberedBonds:
    """thresholds: of every entry of `rows`."""
    N = len(rows.start) - 1
    site = np.repeat(np.arange(N, dtype=np.int64), np.diff(rows.start))
    up = site < rows.neighbour  # entries are sorted by site and neighbour, so these by bond
    key = np.minimum(site, rows.neighbour) * N + np.maximum(site, rows.neighbour)
    number = np.searchsorted(key[up], key)
    ends = np.stack([site[up], rows.neighbour[up]], axis=1).astype(np.int32)
    entries = np.stack([rows.neighbour, number], axis=1).astype(np.int32)
    return NumberedBonds(ends, thresholds[up], rows.start, entries)
