"""P(q): how alike two independent configurations are, from all pairs of a set of samples.

q_ab = sum_i s_i^a s_i^b / N takes N + 1 values. Pairs share samples, so errors come from a jackknife: the samples are
cut into groups, and each is left out in turn with all the pairs that it belongs to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vanfast._estimates import ArrayEstimate, Estimate
from vanfast._spins import Spins, as_spins

GROUPS = 20
_BLOCK = 2048  # samples a side of the squares that pairs are counted in


class OverlapDistribution:
    """P(q) on its N + 1 values.

    Attributes:
        q: -1, -1 + 2/N .. 1, float64 [N + 1].
        probability, error: share of the pairs, and its standard error, [N + 1].
        count: samples; no sample is paired with itself.
    """

    def __init__(self, sums: np.ndarray, count: int) -> None:
        """sums: [G, G, N + 1], weight of the ordered pairs of samples in groups g and h."""
        sites = sums.shape[2] - 1
        self.q, self.count = 2.0 * np.arange(sites + 1) / sites - 1.0, count
        total = sums.sum((0, 1))
        self.probability = total / total.sum()
        diagonal = sums[np.arange(len(sums)), np.arange(len(sums))]
        left = total - sums.sum(0) - sums.sum(1) + diagonal
        self._replicas = left / left.sum(1, keepdims=True)  # [G, N + 1], group g left out
        self.error = self._spread(self._replicas)

    @staticmethod
    def _spread(replicas: np.ndarray) -> np.ndarray:
        groups = len(replicas)
        spread: np.ndarray = np.sqrt((groups - 1) / groups * ((replicas - replicas.mean(0)) ** 2).sum(0))
        return spread

    def mean(self, values: Any) -> Estimate:
        """<f(q)> of f given on `q`, [N + 1]: `mean(abs(p.q))`, `mean(p.q**2)`. Raises ValueError for another shape."""
        f = np.asarray(values, dtype=np.float64)
        if f.shape != self.q.shape:
            raise ValueError(f"values has shape {list(f.shape)}, expected {list(self.q.shape)}, one for each q")
        return Estimate(float(self.probability @ f), float(self._spread(self._replicas @ f)))

    def density(self, bins: int = 50) -> tuple[np.ndarray, ArrayEstimate]:
        """Edges [bins + 1] of equal bins on [-1, 1], and the density with its errors [bins]; its integral is 1.

        The share of each q is spread evenly over 2/N around it (1/N at the ends), so that bins that hold more values
        than others do not stand out. Raises ValueError unless bins >= 1.
        """
        if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
            raise ValueError(f"bins must be an integer >= 1, got {bins!r}")
        edges = np.linspace(-1.0, 1.0, bins + 1)
        walls = np.concatenate([[-1.0], (self.q[1:] + self.q[:-1]) / 2, [1.0]])

        def binned(share: np.ndarray) -> np.ndarray:
            below = np.concatenate([[0.0], np.cumsum(share)])
            result: np.ndarray = np.diff(np.interp(edges, walls, below)) * bins / 2
            return result

        spread = self._spread(np.stack([binned(replica) for replica in self._replicas]))
        return edges, ArrayEstimate(binned(self.probability), spread)


def overlap_distribution(
    spins: Spins, num_sites: int, log_weight: Any = None, mirror: bool = False
) -> OverlapDistribution:
    """P(q) of two independent configurations, from all pairs of different samples, O(B^2 N).

    Args:
        spins: independent samples +-1, [B, N]; num_sites: N.
        log_weight: ln w [B], as of `observables.log_weights`: the distribution is then that of the Boltzmann
            distribution, of which these are weighted samples.
        mirror: count q and -q as one, as they are where energies do not change when all spins flip.

    Raises ValueError for spins other than +-1, fewer than 2 * 20 of them, or weights that do not fit.
    """
    rows = as_spins(spins, num_sites).cpu()
    count = len(rows)
    if count < 2 * GROUPS:
        raise ValueError(f"spins holds {count} samples, expected at least {2 * GROUPS}: two in each jackknife group")
    weight = None if log_weight is None else _weights(log_weight, count)
    bounds = [round(g * count / GROUPS) for g in range(GROUPS + 1)]
    groups = [slice(*bounds[g : g + 2]) for g in range(GROUPS)]
    sums = np.zeros((GROUPS, GROUPS, num_sites + 1))
    for g, one in enumerate(groups):
        for h in range(g, GROUPS):
            other = groups[h]
            sums[g, h] = sums[h, g] = _count(rows[one], rows[other], *_parts(weight, one, other))
        # of the pairs within a group those of a sample with itself are taken out
        sums[g, g, -1] -= one.stop - one.start if weight is None else float((weight[one] ** 2).sum())
    if mirror:
        sums = (sums + sums[:, :, ::-1]) / 2
    return OverlapDistribution(sums, count)


def _weights(log_weight: Any, count: int) -> torch.Tensor:
    values = torch.as_tensor(np.asarray(log_weight, dtype=np.float64))
    if values.shape != (count,) or not bool(values.isfinite().all()):
        raise ValueError(f"log_weight must hold {count} finite numbers, one a sample, got shape {list(values.shape)}")
    return torch.exp(values - values.max())


def _parts(weight: torch.Tensor | None, *slices: slice) -> tuple[torch.Tensor | None, ...]:
    return tuple(None if weight is None else weight[part] for part in slices)


def _count(a: torch.Tensor, b: torch.Tensor, wa: torch.Tensor | None, wb: torch.Tensor | None) -> np.ndarray:
    """Weight of the pairs of each overlap, float64 [N + 1]."""
    N = a.shape[1]
    total = np.zeros(N + 1)
    for first in range(0, len(a), _BLOCK):
        rows = a[first : first + _BLOCK].float()
        for second in range(0, len(b), _BLOCK):
            columns = b[second : second + _BLOCK].float()
            # float32 products of +-1 are exact; (N + sum) / 2 sites agree
            agree = ((rows @ columns.T + N) / 2).to(torch.int64).flatten()
            pairs = None
            if wa is not None and wb is not None:
                pairs = torch.outer(wa[first : first + _BLOCK], wb[second : second + _BLOCK]).flatten()
            total += torch.bincount(agree, pairs, N + 1).numpy()
    return total
