"""The Curie-Weiss sum against enumeration, published values and the limit of infinite size."""

import math

import numpy as np
import pytest

from vanfast.exact import curie_weiss, enumerate
from vanfast.hamiltonians import CurieWeiss


@pytest.mark.parametrize(
    ("N", "beta", "J", "h"),
    [(12, 0.8, 1, 0), (11, 1.5, 1, 0), (12, 1.3, 1, 0.2), (9, 2, 0.7, -0.35), (10, 1, -1.5, 0.1), (1, 1, 1, 0.5)],
)
def test_equals_enumeration(N, beta, J, h, same_thermodynamics, brute_force):
    ham = CurieWeiss(N, J=J, h=h)
    result = curie_weiss(N, beta, J, h)
    same_thermodynamics(result, enumerate(ham, beta), tolerance=1e-12)
    sums = brute_force(ham, beta)
    m, p = sums.states.mean(1), np.exp(sums.log_prob)
    assert result.magnetization == pytest.approx(p @ m, abs=1e-13)
    assert result.abs_magnetization == pytest.approx(p @ np.abs(m), abs=1e-13)
    assert result.magnetization_squared == pytest.approx(p @ m**2, abs=1e-13)


@pytest.mark.parametrize(
    ("N", "beta", "f"),
    [
        (50, 0.5, -1.389967), (50, 1.0, -0.709300), (50, 1.2, -0.610433), (50, 1.5, -0.541882), (50, 2.0, -0.507739),
        (200, 0.5, -1.387248), (200, 1.0, -0.698838), (200, 2.0, -0.509299), (800, 1.0, -0.694993),
    ],
)  # fmt: skip
def test_published_free_energies(N, beta, f):
    assert curie_weiss(N, beta).free_energy / N == pytest.approx(f, abs=6e-7)


@pytest.mark.parametrize(("beta", "h"), [(0.5, 0.1), (1.5, 0.1), (2.0, -0.3)])
def test_a_million_spins(beta, h):
    """f = J m^2 / 2 - ln(2 cosh beta (J m + h)) / beta with m = tanh beta (J m + h), up to O(1/N)."""
    m = math.copysign(0.9, h)
    for _ in range(1000):
        m = math.tanh(beta * (m + h))
    N = 10**6
    result = curie_weiss(N, beta, 1.0, h)
    assert result.free_energy / N == pytest.approx(m * m / 2 - math.log(2 * math.cosh(beta * (m + h))) / beta, abs=3e-6)
    assert result.magnetization == pytest.approx(m, abs=1e-5)
    assert result.energy / N == pytest.approx(-m * m / 2 - h * m, abs=1e-5)
    assert result.heat_capacity > 0


def test_derivatives():
    """U and C against differences of ln Z."""
    step, beta = 1e-4, 1.1
    low, mid, high = (curie_weiss(300, b, 1.0, 0.05).log_z for b in (beta - step, beta, beta + step))
    result = curie_weiss(300, beta, 1.0, 0.05)
    assert result.energy == pytest.approx(-(high - low) / (2 * step), rel=1e-6)
    assert result.heat_capacity == pytest.approx(beta**2 * (high - 2 * mid + low) / step**2, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1.0), "N must be an integer"),
        ((2.5, 1.0), "N must be an integer"),
        ((10, 0.0), "beta must be positive"),
        ((10, 1.0, math.nan), "J must be finite"),
        ((10, 1.0, 1.0, math.inf), "h must be finite"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        curie_weiss(*arguments)
