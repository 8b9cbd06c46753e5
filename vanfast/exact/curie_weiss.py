"""The Curie-Weiss model E(s) = -(J/N) sum_{i<j} s_i s_j - h sum_i s_i, summed over the N + 1 magnetisations.

Z = exp(-beta J / 2) sum_k C(N, k) exp(beta J M^2 / (2N) + beta h M),  M = N - 2k   (I. Biazzo, Commun. Phys. 6, 296
(2023), supplement, with the 1/N of the exponent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vanfast.exact._result import Thermodynamics, check_beta, weigh

MAX_SITES = 10**8


@dataclass(frozen=True, kw_only=True)
class CurieWeissResult(Thermodynamics):
    """Adds <m>, <|m|> and <m^2> of m = sum_i s_i / N."""

    magnetization: float
    abs_magnetization: float
    magnetization_squared: float


def curie_weiss(N: int, beta: float, J: float = 1.0, h: float = 0.0) -> CurieWeissResult:
    """Exact thermodynamics and magnetisation of the Curie-Weiss model, O(N).

    Raises:
        ValueError: N not an integer in [1, 10^8], beta not positive and finite, J or h not finite.
    """
    beta = check_beta(beta)
    if isinstance(N, bool) or not isinstance(N, (int, np.integer)) or not 1 <= N <= MAX_SITES:
        raise ValueError(f"N must be an integer in [1, {MAX_SITES}], not {N!r}")
    for name, value in (("J", J), ("h", h)):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, not {value}")
    N = int(N)
    m = 1.0 - 2.0 * np.arange(N + 1) / N
    energy = -N * (0.5 * J * m**2 + h * m) + 0.5 * J
    values, weight = weigh(N, beta, energy, log_binomials(N) - beta * energy)
    return CurieWeissResult(
        **values,
        magnetization=float(weight @ m),
        abs_magnetization=float(weight @ np.abs(m)),
        magnetization_squared=float(weight @ m**2),
    )


def log_binomials(N: int) -> np.ndarray:
    """ln C(N, k), k = 0 .. N, to N times 1e-16: Stirling's leading terms cancel before anything is rounded.

    ln n! = (n + 1/2) ln n - n + ln(2 pi) / 2 + d(n), and for 0 < k < N what remains is
    k ln(N/k) + (N-k) ln(N/(N-k)) + ln(N / (2 pi k (N-k))) / 2 + d(N) - d(k) - d(N-k).
    """
    result = np.zeros(N + 1)
    k = np.arange(1.0, N)
    rest = N - k
    result[1:-1] = (
        -k * np.log(k / N)
        - rest * np.log(rest / N)
        + 0.5 * np.log(N / (2 * np.pi * k * rest))
        + _stirling_rest(np.array([float(N)]))
        - _stirling_rest(k)
        - _stirling_rest(rest)
    )
    return result


def _stirling_rest(n: np.ndarray) -> np.ndarray:
    """d(n) of ln n!, n >= 1: the asymptotic series from 16 on, where five terms are below 1e-16."""
    square = n * n
    series = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / n
    small = np.flatnonzero(n < 16)
    for place in small:
        value = float(n[place])
        exact = math.lgamma(value + 1) - (value + 0.5) * math.log(value) + value - 0.5 * math.log(2 * math.pi)
        series[place] = exact
    return series
