"""Couplings that an SK network has learnt in its first layer.

The fields u_il = sum_{s<i} J_sl x_s act on the logits as direct_l u_ll and, for i < l, as weight_{i,l,e,0} u_il. So the
row J_sl, s < l, of site l is free up to a factor c_l, its sign included: c_l J_sl with direct_l / c_l and
weight_{i,l,e,0} / c_l is the same distribution. I. Biazzo, Commun. Phys. 6, 296 (2023), compares |J_sl| with |J|.

In the Boltzmann distribution direct_l = 2 beta for every site. That fixes the sign without knowing the couplings,
direct_l > 0, and the scale too: direct_l J_sl / (2 beta) does not depend on c_l.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vanfast.networks import SK, Network
from vanfast.networks._system import as_beta
from vanfast.training.inverse.result import coupling_matrix, symmetric


@dataclass(frozen=True)
class CouplingComparison:
    """Found against true couplings over all pairs i < j.

    slope, intercept: of the least-squares line of |found| against |truth|; pearson: their correlation.
    signed_pearson: the correlation of found and truth with their signs. NaN where one of them is constant.
    """

    slope: float
    intercept: float
    pearson: float
    signed_pearson: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class LearnedCouplings:
    """The first layer of a network, float64 [N, N], symmetric with zero diagonal.

    raw: as the network has it. J: the same with every row's sign fixed; row l holds the pairs (s, l) with s < l.
    signs: int8 [N], -1 where the row was flipped. direct: float64 [N], what the network multiplies u_ll with, after
    that flip. rule: "direct", each direct positive, or "reference", each row along that of known couplings.
    """

    raw: np.ndarray
    J: np.ndarray
    signs: np.ndarray
    direct: np.ndarray
    rule: str

    @property
    def num_sites(self) -> int:
        return len(self.signs)

    @property
    def flipped(self) -> int:
        """Rows whose sign was changed, of the N - 1 that there are."""
        return int((self.signs < 0).sum())

    def scaled(self, beta: float) -> np.ndarray:
        """direct_l J_sl / (2 beta), float64 [N, N]: an estimate of the couplings, whatever the rows' factors are."""
        i, j = np.triu_indices(self.num_sites, 1)
        return symmetric(self.direct[j] * self.J[i, j] / (2 * as_beta(beta)), self.num_sites)

    def compare(self, truth: Any) -> CouplingComparison:
        """`compare_couplings` of J."""
        return compare_couplings(self.J, truth)


def learned_couplings(net: Network, reference: Any = None) -> LearnedCouplings:
    """The couplings in the first layer of `net`, an SK network with learn_couplings, its rows' signs fixed.

    reference: [N, N] or a Hamiltonian: each row is taken with the sign that gives it a positive scalar product with the
    reference's. None: with the sign that makes `direct` positive, as it is in a Boltzmann distribution.

    Raises TypeError or ValueError for another network and for a reference that does not fit.
    """
    if not isinstance(net, SK):
        raise TypeError(f"net must be a vanfast.networks.SK, got {type(net).__name__}")
    if not net.learn_couplings:
        raise ValueError("net has learn_couplings = False: its first layer is that of its Hamiltonian")
    upper = np.triu(net.couplings().detach().cpu().double().numpy(), 1)
    direct = net.direct.detach().cpu().double().numpy()
    along = direct
    if reference is not None:
        known = coupling_matrix(reference, "reference")
        _check_size(len(upper), known, "reference")
        along = (upper * known).sum(0)
    signs = np.where(along < 0, -1, 1).astype(np.int8)
    signs[0] = 1  # site 0 has no row
    fixed = upper * signs
    rule = "direct" if reference is None else "reference"
    return LearnedCouplings(upper + upper.T, fixed + fixed.T, signs, direct * signs, rule)


def compare_couplings(found: Any, truth: Any) -> CouplingComparison:
    """Slope, intercept and correlations over all pairs; both are [N, N] or Hamiltonians, N >= 3.

    Raises TypeError or ValueError where they do not fit each other.
    """
    a, b = coupling_matrix(found, "found"), coupling_matrix(truth, "truth")
    _check_size(len(a), b, "truth")
    if len(a) < 3:
        raise ValueError(f"truth has {len(a)} spins; at least 3, which make 3 pairs, can be compared")
    i, j = np.triu_indices(len(a), 1)
    x, y = np.abs(b[i, j]), np.abs(a[i, j])
    r = _pearson(x, y)
    slope = r * float(y.std() / x.std()) if math.isfinite(r) else math.nan
    return CouplingComparison(slope, float(y.mean() - slope * x.mean()), r, _pearson(b[i, j], a[i, j]))


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if min(x.std(), y.std()) <= 1e-12 * max(np.abs(x).max(), np.abs(y).max()):
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def _check_size(num_sites: int, known: np.ndarray, name: str) -> None:
    if len(known) != num_sites:
        raise ValueError(f"{name} has {len(known)} spins and the couplings compared have {num_sites}; must be equal")
