"""What the inverse problem starts from: magnetisations and correlations, or the samples they are the averages of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vanfast.hamiltonians._checks import as_array, finite

SLACK = 1e-9  # rounding allowed in moments that a caller gives
CHUNK = 1 << 18  # spins that are widened to float64 at a time: as many as a cache holds
SHOWN = 8  # spins named in a message


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of N spins.

    magnetization: <s_i>, float64 [N]. correlation: <s_i s_j>, not connected, float64 [N, N], symmetric, 1 on the
    diagonal. Raises TypeError or ValueError, naming the entry, for moments that no distribution of spins +-1 has:
    outside [-1, 1], asymmetric, or such that two spins would have a combination of negative probability.
    """

    magnetization: np.ndarray
    correlation: np.ndarray

    def __post_init__(self) -> None:
        m = finite(as_array(self.magnetization, "magnetization"), "magnetization")
        c = finite(as_array(self.correlation, "correlation"), "correlation")
        if m.ndim != 1 or len(m) < 2:
            raise ValueError(f"magnetization has shape {list(m.shape)}, expected [N] with N >= 2")
        if c.shape != (len(m), len(m)):
            raise ValueError(f"correlation has shape {list(c.shape)}, expected [{len(m)}, {len(m)}]")
        _refuse("magnetization", np.abs(m) > 1 + SLACK, m, "be in [-1, 1]")
        _refuse("correlation", np.abs(c) > 1 + SLACK, c, "be in [-1, 1]")
        _refuse("correlation", np.abs(np.diag(np.diag(c)) - np.eye(len(m))) > SLACK, c, "be 1 on the diagonal")
        _refuse("correlation", np.abs(c - c.T) > SLACK, c, "be symmetric")
        # Four times the probability that spins i and j are a and b.
        least = np.minimum(1 + c - np.abs(m[:, None] + m), 1 - c - np.abs(m[:, None] - m))
        what = "be <s_i s_j> (not connected) of two spins with these magnetizations"
        _refuse("correlation", least < -4 * SLACK, c, what)
        c = (c + c.T) / 2
        np.fill_diagonal(c, 1.0)
        for name, value in (("magnetization", m.clip(-1, 1)), ("correlation", c.clip(-1, 1))):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def num_sites(self) -> int:
        return len(self.magnetization)

    @property
    def connected(self) -> np.ndarray:
        """<s_i s_j> - <s_i><s_j>, with 1 - m_i^2 on the diagonal."""
        return self.correlation - np.outer(self.magnetization, self.magnetization)

    def mixed(self, share: float) -> Moments:
        """Moments of a mixture: these with weight 1 - share, those of independent fair spins with weight share."""
        c = (1 - share) * self.correlation
        np.fill_diagonal(c, 1.0)
        return Moments((1 - share) * self.magnetization, c)


@dataclass(frozen=True, eq=False)
class Samples:
    """Configurations +-1, int8 [M, N], and how often each was seen, float64 [M] (any positive weights)."""

    spins: np.ndarray
    counts: np.ndarray

    @property
    def num_sites(self) -> int:
        return int(self.spins.shape[1])

    def __len__(self) -> int:
        return len(self.spins)

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Spins as float64 and counts, of as many samples at a time as CHUNK allows."""
        size = max(1, CHUNK // self.num_sites)
        for start in range(0, len(self), size):
            yield self.spins[start : start + size].astype(np.float64), self.counts[start : start + size]

    def moments(self) -> Moments:
        """Averages over the samples."""
        first, second = np.zeros(self.num_sites), np.zeros((self.num_sites, self.num_sites))
        for s, counts in self.chunks():
            weighted = s * counts[:, None]
            first += weighted.sum(0)
            second += weighted.T @ s
        total = self.counts.sum()
        return Moments(first / total, second / total)

    def distinct(self) -> Samples:
        """The same sample set with every configuration once."""
        packed = np.packbits(self.spins > 0, axis=1)
        rows = np.ascontiguousarray(packed).view([("", packed.dtype)] * packed.shape[1]).ravel()
        _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
        return Samples(self.spins[first], np.bincount(inverse.ravel(), self.counts))


def as_samples(spins: Any, counts: Any = None) -> Samples:
    """Samples of an array or tensor [M, N] of +-1, or of 0 and 1 (0 is spin -1), with optional counts [M].

    Raises TypeError or ValueError that names row and spin of a value that is neither, or what is wrong with counts.
    """
    if hasattr(spins, "detach"):
        spins = spins.detach().cpu().numpy()
    array = np.asarray(spins)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"data must hold spins +-1 or 0/1, not {array.dtype}")
    if array.ndim > 2:
        array = array.reshape(len(array), -1)
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] < 2:
        raise ValueError(f"data has shape {list(array.shape)}, expected samples [M, N] with M >= 1 and N >= 2")
    up, down, zero = array == 1, array == -1, array == 0
    bad = ~(up | down | zero)
    if bad.any():
        row, site = (int(k) for k in np.argwhere(bad)[0])
        raise ValueError(f"data must hold spins +-1 or 0/1, found {array[row, site]} at sample {row}, spin {site}")
    if zero.any() and down.any():
        row, site = (int(k) for k in np.argwhere(zero)[0])
        raise ValueError(f"data mixes 0/1 with +-1: it holds -1, and 0 at sample {row}, spin {site}")
    weights = np.ones(len(array)) if counts is None else finite(as_array(counts, "counts"), "counts")
    if weights.shape != (len(array),):
        raise ValueError(f"counts has shape {list(weights.shape)}, expected [{len(array)}], one for each sample")
    _refuse("counts", weights < 0, weights, "be 0 or more")
    seen = weights > 0
    if not seen.any():
        raise ValueError("counts must not all be 0")
    values = np.where(up, np.int8(1), np.int8(-1))
    return Samples(values, weights) if seen.all() else Samples(values[seen], weights[seen])


def check_constant(moments: Moments) -> None:
    """ValueError that names the spins which never change: no finite field does that."""
    fixed = np.flatnonzero(np.abs(moments.magnetization) >= 1 - 1e-12)
    if len(fixed):
        raise ValueError(f"constant in all data: {names_of(fixed)}; leave them out, or give regularizer > 0")


def check_singular(moments: Moments, samples: Samples | None) -> None:
    """ValueError that names the spins of a singular connected correlation matrix: no finite couplings give it."""
    if samples is not None and len(samples) <= moments.num_sites:
        raise ValueError(
            f"too few samples: {len(samples)} configurations of {moments.num_sites} spins, at least "
            f"{moments.num_sites + 1} are needed; give more, or regularizer > 0"
        )
    scale = np.sqrt(np.diag(moments.connected))
    r = moments.connected / np.outer(scale, scale)
    i, j = np.nonzero(np.triu(np.abs(r) > 1 - 1e-12, 1))
    if len(i):
        kind = "equal" if r[i[0], j[0]] > 0 else "opposite"
        raise ValueError(
            f"the correlation matrix is singular: spins {i[0]} and {j[0]} are always {kind}; leave one out, or give "
            "regularizer > 0"
        )
    values, vectors = np.linalg.eigh(r)
    if values[0] < -1e-6:
        raise ValueError(f"correlation is that of no distribution: it has the negative eigenvalue {values[0]:.3g}")
    if values[0] < 1e-11:
        weight = np.abs(vectors[:, 0])
        spins = np.flatnonzero(weight > 1e-3 * weight.max())
        raise ValueError(
            f"the correlation matrix is singular: {names_of(spins)} determine each other; leave one out, or give "
            "regularizer > 0"
        )


def names_of(spins: np.ndarray) -> str:
    """ "spins 0, 3, 5", cut after a few."""
    shown = ", ".join(str(int(k)) for k in spins[:SHOWN])
    more = f" and {len(spins) - SHOWN} more" if len(spins) > SHOWN else ""
    return f"spin{'s' if len(spins) > 1 else ''} {shown}{more}"


def _refuse(name: str, bad: np.ndarray, values: np.ndarray, rule: str) -> None:
    if bad.any():
        where = tuple(int(k) for k in np.argwhere(bad)[0])
        place = list(where) if len(where) > 1 else where[0]
        raise ValueError(f"{name} must {rule}, found {values[where]:.6g} at {place}")
