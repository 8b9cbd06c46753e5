"""Kaufman's formula against sums over states, against a plain high-precision evaluation, and in its limits."""

import math

import mpmath
import numpy as np
import pytest

from vanfast.exact import kaufman, transfer_matrix
from vanfast.hamiltonians import IsingSquare

CRITICAL = 0.5 * math.log(1 + math.sqrt(2))


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2), (3, 4), (4, 3), (4, 4), (2, 7), (3, 5)])
@pytest.mark.parametrize("beta", [1e-3, 0.2, CRITICAL, 0.5, 1.0, 20.0])
def test_equals_enumeration(shape, beta, brute_force, same_thermodynamics):
    same_thermodynamics(kaufman(shape, beta), brute_force(IsingSquare(shape=shape), beta))


@pytest.mark.parametrize("shape", [(2, 2), (2, 6), (4, 4)])
def test_antiferromagnet_and_strength(shape, brute_force, same_thermodynamics):
    ham = IsingSquare(shape=shape, coupling=-0.7)
    same_thermodynamics(kaufman(shape, 0.6, coupling=-0.7), brute_force(ham, 0.6))


@pytest.mark.parametrize("shape", [(16, 8), (16, 9), (24, 7)])
@pytest.mark.parametrize("beta", [0.1, 0.44, CRITICAL, 0.8])
def test_equals_transfer_matrix(shape, beta, same_thermodynamics):
    same_thermodynamics(kaufman(shape, beta), transfer_matrix(IsingSquare(shape=shape), beta))


def _textbook(L, beta):
    """ln Z of the formula as printed, in 60 digits."""
    K = mpmath.mpf(beta)
    gammas = [2 * K + mpmath.log(mpmath.tanh(K))]
    for l in range(1, 2 * L):
        gammas.append(mpmath.acosh(mpmath.cosh(2 * K) * mpmath.coth(2 * K) - mpmath.cos(mpmath.pi * l / L)))
    total = mpmath.mpf(0)
    for first in (1, 0):
        for function in (mpmath.cosh, mpmath.sinh):
            total += mpmath.fprod(2 * function(L * gamma / 2) for gamma in gammas[first::2])
    return mpmath.log(total / 2) + mpmath.mpf(L * L) / 2 * mpmath.log(2 * mpmath.sinh(2 * K))


@pytest.mark.parametrize("L", [16, 32])
@pytest.mark.parametrize("beta", [0.02, 0.44, CRITICAL, CRITICAL + 1e-12, 0.4407, 2.0])
def test_equals_the_formula_as_printed(L, beta):
    result = kaufman(L, beta)
    with mpmath.workdps(60):
        log_z = _textbook(L, beta)
        energy = -mpmath.diff(lambda b: _textbook(L, b), beta, h=mpmath.mpf(10) ** -20)
        heat_capacity = beta**2 * mpmath.diff(lambda b: _textbook(L, b), beta, 2, h=mpmath.mpf(10) ** -15)
    assert result.log_z == pytest.approx(float(log_z), rel=1e-14)
    assert result.energy == pytest.approx(float(energy), rel=1e-12)
    assert result.heat_capacity == pytest.approx(float(heat_capacity), rel=1e-11)
    assert result.entropy == pytest.approx(float(log_z + beta * energy), abs=1e-11)


@pytest.mark.parametrize("beta", [1e-100, 1e-40, 1e-8, 1e-3, 0.3, CRITICAL, 0.5, 3.0, 50.0, 299.0, 301.0, 1e5])
@pytest.mark.parametrize("shape", [(1000, 1000), (2000, 3), (3, 2000)])
def test_large_lattices_at_any_temperature(shape, beta):
    sites = shape[0] * shape[1]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = kaufman(shape, beta)
    assert all(math.isfinite(value) for value in result.to_json().values())
    assert result.heat_capacity >= 0
    assert math.log(2) - 1e-12 <= result.entropy <= sites * math.log(2) * (1 + 1e-15)
    assert -2 * sites <= result.energy <= 1e-9
    assert result.log_z == pytest.approx(result.entropy - beta * result.energy, rel=1e-13)


def test_limits():
    assert kaufman(64, 20.0).entropy == pytest.approx(math.log(2), abs=1e-12)
    assert kaufman(64, 1e-9).entropy == pytest.approx(64**2 * math.log(2), rel=1e-15)
    # high temperature: U = -2 K N and C = 2 K^2 N in leading order
    assert kaufman(10, 1e-6).energy == pytest.approx(-2e-4, rel=1e-9)
    assert kaufman(10, 1e-6).heat_capacity == pytest.approx(2e-10, rel=1e-9)
    # Onsager: u = -sqrt 2 at the critical point, with a finite-size correction of order 1/L
    assert kaufman(2000, CRITICAL).energy / 2000**2 == pytest.approx(-math.sqrt(2), abs=1e-3)
    assert kaufman(8, 0.5, coupling=0.0).energy == 0


@pytest.mark.parametrize("offset", [0.0, 1e-15, -1e-15, 1e-9, -1e-9, 1e-5, -1e-5])
def test_smooth_where_the_first_mode_changes_sign(offset):
    at, near = kaufman(500, CRITICAL), kaufman(500, CRITICAL + offset)
    assert near.energy == pytest.approx(at.energy - offset * at.heat_capacity / CRITICAL**2, rel=1e-7)
    assert near.heat_capacity == pytest.approx(at.heat_capacity, rel=1e-2)


def test_transposed_lattices_agree(same_thermodynamics):
    for beta in (0.1, CRITICAL, 0.7):
        same_thermodynamics(kaufman((6, 40), beta), kaufman((40, 6), beta))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((16, 0.0), "beta must be positive"),
        ((16, -1.0), "beta must be positive"),
        ((16, math.nan), "beta must be positive"),
        ((1, 0.4), "L must be an integer of at least 2"),
        (((4, 4, 4), 0.4), "L must be an integer of at least 2"),
        ((4.5, 0.4), "L must be"),
        ((4, 0.4, math.inf), "coupling must be finite"),
        (((4, 5), 0.4, -1.0), "even sides are needed"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        kaufman(*arguments)
