"""The Hopfield model E(s) = -(1/2N) sum_mu M_mu^2 + P/2, M_mu = sum_i xi_i^mu s_i, summed over few magnetisations.

Sites whose columns (xi_i^1 .. xi_i^P) are equal, or opposite, are alike: with t_i = +-s_i the class c of n_c sites
enters through A_c = sum_{i in c} t_i alone, M_mu = sum_c xi_c^mu A_c, and
    Z = sum_{A_1, A_2, ..} prod_c C(n_c, (n_c + A_c) / 2) exp(-beta E).
Two patterns make two classes; for orthogonal ones E = 1 - (A_1^2 + A_2^2) / N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vanfast.exact._result import Thermodynamics, check_beta, weigh
from vanfast.exact.curie_weiss import log_binomials

MAX_TERMS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class HopfieldResult(Thermodynamics):
    """Adds <|o|> and <o^2> of the overlaps o_mu = M_mu / N, float64 [P]; <o> is 0."""

    abs_overlap: np.ndarray
    overlap_squared: np.ndarray


def number_of_terms(patterns: Any) -> int:
    """Terms of the sum for patterns +-1 [P, N], prod_c (n_c + 1)."""
    return math.prod(int(size) + 1 for size in _classes(_checked(patterns))[1])


def hopfield(patterns: Any, beta: float) -> HopfieldResult:
    """Exact thermodynamics of `Hopfield(patterns)` and overlaps with the patterns, for few patterns or few sites.

    Args:
        patterns: xi, +1 and -1, [P, N].

    Raises:
        ValueError: patterns of another shape or with other values, beta not positive and finite, or a sum of more than
            2^22 terms (N = 100: up to three orthogonal patterns).
    """
    beta = check_beta(beta)
    xi = _checked(patterns)
    columns, sizes = _classes(xi)
    terms = number_of_terms(xi)
    if terms > MAX_TERMS:
        raise ValueError(
            f"patterns has {len(xi)} rows and {len(sizes)} kinds of columns: a sum of {terms} terms, where at most "
            f"{MAX_TERMS} are taken"
        )
    P, N = xi.shape
    overlap, log_weight = np.zeros((P, 1)), np.zeros(1)
    for column, size in zip(columns.T, sizes, strict=True):
        A = 2.0 * np.arange(size + 1) - size
        overlap = (overlap[:, :, None] + column[:, None, None] * A / N).reshape(P, -1)
        log_weight = (log_weight[:, None] + log_binomials(int(size))).reshape(-1)
    energy = P / 2 - N / 2 * (overlap**2).sum(0)
    values, weight = weigh(N, beta, energy, log_weight - beta * energy)
    return HopfieldResult(
        **values,
        abs_overlap=np.abs(overlap) @ weight,
        overlap_squared=overlap**2 @ weight,
    )


def _checked(patterns: Any) -> np.ndarray:
    xi = np.asarray(patterns)
    if xi.ndim != 2 or 0 in xi.shape:
        raise ValueError(f"patterns has shape {list(xi.shape)}, expected [P, N] with P, N >= 1")
    if not np.isin(xi, (-1, 1)).all():
        raise ValueError("patterns must hold +1 and -1 alone")
    return xi.astype(np.int8)


def _classes(xi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns xi_c [P, classes], the first entry +1, and the number of sites of each class."""
    columns, sizes = np.unique(xi * xi[:1], axis=1, return_counts=True)
    return columns.astype(np.float64), sizes
