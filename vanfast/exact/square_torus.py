"""The square-lattice Ising model on a torus: Kaufman's partition function and its derivatives.

B. Kaufman, Phys. Rev. 76, 1232 (1949); A. E. Ferdinand and M. E. Fisher, Phys. Rev. 185, 832 (1969). For m rows of
n sites and K = beta J > 0

    Z = 1/2 (2 sinh 2K)^(mn/2) [ prod 2 cosh(m g_odd / 2) + prod 2 sinh(m g_odd / 2)
                               + prod 2 cosh(m g_even / 2) + prod 2 sinh(m g_even / 2) ],

    cosh g_l = cosh 2K coth 2K - cos(pi l / n),  g_l > 0 for l = 1 .. 2n - 1,  g_0 = 2K + ln tanh K (< 0 above T_c).

How it is evaluated, so that nothing cancels at small, large or critical K (u = exp(-2K), e_l = exp(-m g_l)):
  - the prefactor is joined with every mode: x_l = sinh(2K) exp(g_l) stays finite as K -> 0, and exp(-4K) x_l as
    K -> infinity; 4K of every mode, the ground-state energy, is split off;
  - the even products are added before their logarithm is taken, with the mode l = 0 written out:
    (P+ + P-) exp(m g_0 / 2) + (P+ - P-) exp(-m g_0 / 2),  P± = prod_{l != 0} (1 ± e_l), two positive terms, of which
    the first alone would need the cancelling sinh at g_0 < 0;
  - derivatives in K are those of these formulas, written out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vanfast.exact._result import Thermodynamics, check_beta

_FROZEN = 300.0  # K beyond which exp(-4K), the weight of the lowest excitation, is below the smallest double
_FREE = 1e-50  # K below which ln Z = N ln 2 + O(K^2) to the last digit


class _Series(NamedTuple):
    """A function of K with its first two derivatives."""

    value: float
    first: float
    second: float

    def __add__(self, other: object) -> _Series:
        assert isinstance(other, _Series)
        return _Series(*(a + b for a, b in zip(tuple(self), tuple(other), strict=True)))


def kaufman(L: int | tuple[int, int], beta: float, coupling: float = 1.0) -> Thermodynamics:
    """Exact thermodynamics of the Ising model on a periodic square lattice, any size and temperature.

    Absolute rounding errors of U / J and C are a few 1e-16 a site.

    Args:
        L: side of an L x L torus, or (Ly, Lx). Sides of 2 are joined by two bonds, as in IsingSquare.
        beta: inverse temperature, positive.
        coupling: J. An antiferromagnet (J < 0) is the ferromagnet with one sublattice turned round, which needs
            even sides; J = 0 is free spins.

    Raises:
        ValueError: beta not positive and finite, a side below 2, J not finite, or J < 0 with an odd side.
    """
    beta = check_beta(beta)
    rows, columns = _sides(L)
    if not math.isfinite(coupling):
        raise ValueError(f"coupling must be finite, not {coupling}")
    if coupling < 0 and (rows % 2 or columns % 2):
        raise ValueError(
            f"coupling {coupling} is antiferromagnetic and frustrated on a torus of {rows} x {columns} sites: "
            "even sides are needed (transfer_matrix takes any sides)"
        )
    sites = rows * columns
    K = beta * abs(coupling)
    excess = _log_z_excess(rows, columns, K)
    ground = -2.0 * sites * abs(coupling)
    log_z = excess.value - beta * ground
    return Thermodynamics(
        num_sites=sites,
        beta=beta,
        log_z=log_z,
        free_energy=-log_z / beta,
        energy=ground - excess.first * abs(coupling),
        entropy=excess.value - K * excess.first,
        heat_capacity=max(K**2 * excess.second, 0.0),
    )


def _sides(L: int | tuple[int, int]) -> tuple[int, int]:
    sides = tuple(L) if isinstance(L, (tuple, list)) else (L, L)
    if len(sides) != 2 or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 2 for n in sides):
        raise ValueError(f"L must be an integer of at least 2, or two of them (Ly, Lx), not {L!r}")
    return int(sides[0]), int(sides[1])


def _log_z_excess(m: int, n: int, K: float) -> _Series:
    """ln Z - 2 K m n with derivatives in K."""
    sites = m * n
    if K < _FREE:
        bonds = sites * (2 + (m == 2) + (n == 2))  # sum of squared couplings
        return _Series(sites * math.log(2), -2.0 * sites, float(bonds))
    if K > _FROZEN:
        return _Series(math.log(2), 0.0, 0.0)
    u = math.exp(-2 * K)
    odd = _modes(np.arange(1, 2 * n, 2) * (np.pi / n), m, K, u)
    even = _modes(np.arange(2, 2 * n, 2) * (np.pi / n), m, K, u)
    terms = [odd.bulk + odd.plus]
    # Mode 0 above and below its sign change: sinh(2K) exp(±g_0) = 2 sinh^2 K exp(2K) and 2 cosh^2 K exp(-2K).
    half = 0.5 * m
    rising = _Series(
        half * 2 * math.log(-math.expm1(-2 * K)), half * 4 / math.expm1(2 * K), half * -2 / math.sinh(K) ** 2
    )
    falling = _Series(half * (2 * math.log1p(u) - 4 * K), half * (2 * math.tanh(K) - 6), half * 2 / math.cosh(K) ** 2)
    terms.append(even.bulk + even.plus + rising)
    if even.minus is not None:
        terms.append(even.bulk + even.minus + falling)
    top = max(term.value for term in terms)
    weights = [math.exp(term.value - top) for term in terms]
    norm = sum(weights)
    first = sum(w * term.first for w, term in zip(weights, terms, strict=True)) / norm
    second = sum(w * (term.second + (term.first - first) ** 2) for w, term in zip(weights, terms, strict=True)) / norm
    return _Series(top + math.log(norm) - math.log(2), first, second)


class _Modes(NamedTuple):
    bulk: _Series  # (m / 2) sum ln(2 exp(-4K) x_l)
    plus: _Series  # ln (P+ + P-)
    minus: _Series | None  # ln (P+ - P-), None where that is 0


def _modes(angle: np.ndarray, m: int, K: float, u: float) -> _Modes:
    """The modes l != 0 with angles pi l / n.

    Everything of size exp(4K) is divided by it: x + sinh^2(2K) / x = 2a, a = cosh^2 2K - sinh 2K cos(angle), and
    w = sqrt(a^2 - sinh^2 2K) = sinh 2K sinh g.
    """
    cosine, sine = np.cos(angle), np.sin(0.5 * angle)
    gap = -math.expm1(-4 * K)  # 1 - u^2
    critical = u * u + 2 * u - 1  # 0 at K_c
    low = (critical**2 + 4 * u * gap * sine**2) / 4  # a - sinh 2K
    high = (1 + u * u) ** 2 / 4 + u * gap * (1 - cosine) / 2  # a + sinh 2K
    a, w = 0.5 * (low + high), np.sqrt(low * high)
    x = a + w
    # g' and g'' from cosh g = sinh 2K + 1 / sinh 2K - cos(angle)
    inverse, coth2 = 2 * u / gap, (1 + u * u) / gap  # 1 / sinh 2K, coth 2K
    gamma = 2 * np.arcsinh(np.sqrt(low / (u * gap)))
    gamma1 = 0.5 * gap * (1 + u * u) * (1 - inverse**2) / w
    gamma2 = gap * (gap + 2 * u * inverse * (2 * coth2**2 - 1)) / w - a / w * gamma1**2
    # (ln x)' and (ln x)'' from x + S^2/x = 2a
    product = u * u * (1 - u**4) / (2 * x)  # S S' / x
    x1 = ((1 - u**4) - u * (1 + u * u) * cosine - product) / w
    x2 = 4 * (1 + u**4) - 2 * u * gap * cosine - a * x1**2 + 2 * product * x1 - 2 * u * u * (1 + u**4) / x
    half = 0.5 * m
    bulk = _Series(half * np.log(2 * x).sum(), half * (x1 - 4).sum(), half * (x2 / w).sum())

    e = np.exp(-m * gamma)
    # derivatives of ln(1 + e), and of t = sum ln tanh(m g / 2) so that P- = P+ exp(t)
    rate, bend = m * gamma1, m * gamma2
    filled = e / (1 + e)
    plus = _Series(np.log1p(e).sum(), -(filled * rate).sum(), (filled * ((1 - filled) * rate**2 - bend)).sum())
    cosech, coth = 2 * e / (1 - e * e), (1 + e * e) / (1 - e * e)
    t = _Series(
        (np.log1p(-e) - np.log1p(e)).sum(),
        (rate * cosech).sum(),
        ((bend - rate**2 * coth) * cosech).sum(),
    )
    share = math.exp(t.value) / (1 + math.exp(t.value))  # P- / (P+ + P-)
    both = _Series(math.log1p(math.exp(t.value)), share * t.first, share * (t.second + (1 - share) * t.first**2))
    if t.value == 0:
        return _Modes(bulk, plus + both, None)
    ratio = 1 / math.expm1(-t.value)  # P- / (P+ - P-)
    difference = _Series(
        math.log(-math.expm1(t.value)), -ratio * t.first, -ratio * (t.second + (1 + ratio) * t.first**2)
    )
    return _Modes(bulk, plus + both, plus + difference)
