"""Closed formulas: right order of the error as the couplings vanish, exact where they should be, printed forms."""

import math

import numpy as np
import pytest

from tests.training.inverse.conftest import exact_moments, random_system
from vanfast.training import Moments, inverse_ising, reconstruction_error

FORMULAS = ("nmf", "tap", "ip", "sm", "bethe")
# Order in beta of the error of beta J and of beta h, without fields and where couplings and fields are both of order
# beta; then where only the couplings are.
ORDERS = {
    "nmf": ((3, None), (3, 3), (2, 2)),
    "tap": ((3, None), (3, 4), (3, 3)),
    "ip": ((2, None), (2, 3), (2, 2)),
    "sm": ((5, None), (5, 7), (4, 4)),
    "bethe": ((4, None), (4, 4), (3, 3)),
}


def errors(method, J, h, beta, strong_fields):
    """Largest errors of beta J and beta h."""
    field = h if strong_fields else beta * h
    found = inverse_ising(exact_moments(beta * J, field), method, 1.0)
    return np.array([np.abs(found.J - beta * J).max(), np.abs(found.h - field).max()])


@pytest.mark.parametrize("method", FORMULAS)
@pytest.mark.parametrize("case", [0, 1, 2])
def test_error_vanishes_with_the_right_order(method, case):
    J, h = random_system(5, seed=case, fields=0.0 if case == 0 else 0.7)
    small, large = (errors(method, J, h, beta, case == 2) for beta in (0.02, 0.04))
    for name, order, a, b in zip("Jh", ORDERS[method][case], small, large, strict=True):
        if order is None:
            assert b < 1e-12
        else:
            assert math.log2(b / a) == pytest.approx(order, abs=0.3), name


@pytest.mark.parametrize("method", ["ip", "sm", "bethe"])
def test_two_spins_are_exact(method):
    J = np.array([[0, -0.9], [-0.9, 0]])
    found = inverse_ising(exact_moments(J, [0.4, -1.1]), method)
    np.testing.assert_allclose(found.J, J, atol=1e-12)
    np.testing.assert_allclose(found.h, [0.4, -1.1], atol=1e-12)


def test_bethe_is_exact_on_a_tree_and_the_others_are_not():
    J = np.zeros((5, 5))
    for i, j, value in ((0, 1, 0.8), (1, 2, -0.6), (1, 3, 1.1), (3, 4, 0.5)):
        J[i, j] = J[j, i] = value
    h = np.array([0.3, -0.2, 0.5, 0.1, -0.7])
    moments = exact_moments(J, h)
    found = inverse_ising(moments, "bethe")
    np.testing.assert_allclose(found.J, J, atol=1e-12)
    np.testing.assert_allclose(found.h, h, atol=1e-12)
    assert min(inverse_ising(moments, method).error(J) for method in ("nmf", "tap", "ip", "sm")) > 1e-3


def test_without_magnetisation_they_are_the_printed_formulas():
    """Eqs. 24 to 27 of the supplement, but for the sign of the last."""
    moments = exact_moments(*random_system(6, seed=3))
    C = moments.correlation
    inverse = np.linalg.inv(C)
    pairs = ~np.eye(6, dtype=bool)
    off = np.where(pairs, C, 0)
    ip = np.log((1 + off) ** 2 / (1 - off) ** 2) / 4
    printed = {
        "nmf": np.eye(6) - inverse,
        "tap": np.eye(6) - inverse,
        "ip": ip,
        "sm": -inverse + ip - off / (1 - off**2),
        "bethe": -np.arcsinh(2 * inverse) / 2,
    }
    for method, J in printed.items():
        np.testing.assert_allclose(inverse_ising(moments, method).J[pairs], J[pairs], atol=1e-12, err_msg=method)


def test_bethe_with_magnetisation_is_the_formula_in_the_literature():
    """H. C. Nguyen, J. Berg, J. Stat. Mech. (2012) P03004; F. Ricci-Tersenghi, J. Stat. Mech. (2012) P08015, eq. 15."""
    moments = exact_moments(*random_system(5, seed=4, fields=0.6))
    m, inverse = moments.magnetization, np.linalg.inv(moments.connected)
    found = inverse_ising(moments, "bethe").J
    for i, j in zip(*np.triu_indices(5, 1), strict=True):
        c, product = inverse[i, j], m[i] * m[j]
        root = math.sqrt(1 + 4 * (1 - m[i] ** 2) * (1 - m[j] ** 2) * c**2)
        inner = math.sqrt((root - 2 * product * c) ** 2 - 4 * c**2)
        assert found[i, j] == pytest.approx(-math.atanh(root / (2 * c) - product - inner / (2 * c)), abs=1e-10)


def test_beta_is_divided_out_and_nothing_is_on_the_diagonal():
    J, h = random_system(6, seed=5, fields=0.5)
    moments = exact_moments(J, h, beta=0.3)
    for method in (*FORMULAS, "mle"):
        found = inverse_ising(moments, method, beta=0.3)
        plain = inverse_ising(moments, method)
        np.testing.assert_allclose(found.J, plain.J / 0.3, rtol=1e-14)
        np.testing.assert_allclose(found.h, plain.h / 0.3, rtol=1e-14)
        assert not found.J.diagonal().any()
        np.testing.assert_array_equal(found.J, found.J.T)
        assert found.to_hamiltonian().to_dense().tolist() == found.J.tolist()
    np.testing.assert_allclose(inverse_ising(moments, "mle", beta=0.3).J, J, atol=1e-9)


def test_reconstruction_error_counts_ordered_pairs():
    a, b = np.zeros((2, 2)), np.array([[0, 3.0], [3.0, 0]])
    assert reconstruction_error(a, b) == pytest.approx(math.sqrt(18) / 2)
    with pytest.raises(ValueError, match="truth has 3 spins"):
        reconstruction_error(a, np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"truth has shape \[2\]"):
        reconstruction_error(a, [1.0, 2.0])


def test_what_has_no_solution_is_told():
    never = Moments([0.0, 0.0, 0.0], [[1, -1, 0], [-1, 1, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match=r"spins 0 and 1 are never \+1 and \+1"):
        inverse_ising(never, "ip")
    with pytest.raises(ValueError, match="tap has no solution for spins 0 and 1"):
        inverse_ising(Moments([0.6, 0.6], [[1, 0.21], [0.21, 1]]), "tap")
    assert inverse_ising(never, "ip", regularizer=0.1).J[0, 1] == pytest.approx(math.atanh(-0.9))
