"""Site-by-site transfer against enumeration, against Kaufman, and on systems too long for either."""

import math

import numpy as np
import pytest

from vanfast.exact import enumerate, kaufman, transfer_matrix
from vanfast.hamiltonians import (
    EdwardsAnderson,
    IsingCubic,
    IsingSquare,
    IsingTriangular,
    Pairwise,
    SherringtonKirkpatrick,
)

RNG = np.random.default_rng(5)
SYSTEMS = {
    "square torus": IsingSquare(4),
    "square torus in a field": IsingSquare(shape=(3, 5), field=0.3),
    "square strip": IsingSquare(shape=(7, 2), boundary="open", coupling=-0.5),
    "square cylinder": IsingSquare(shape=(4, 4), boundary=["open", "periodic"]),
    "square cylinder, turned": IsingSquare(shape=(5, 3), boundary=["periodic", "open"], field=RNG.normal(size=15)),
    "triangular antiferromagnet": IsingTriangular(4, coupling=-1.0),
    "triangular, any bonds": IsingTriangular(
        shape=(5, 3), coupling=RNG.normal(size=(3, 5, 3)), field=RNG.normal(size=15)
    ),
    "triangular cylinder": IsingTriangular(
        shape=(3, 5), boundary=["periodic", "open"], coupling=RNG.normal(size=(3, 3, 5))
    ),
    "spin glass": EdwardsAnderson((4, 4), "gaussian", 1),
    "cubic": IsingCubic(shape=(2, 2, 4), field=0.1),
    "cubic torus": IsingCubic(shape=(2, 3, 3), coupling=RNG.normal(size=(3, 2, 3, 3))),
    "chain": IsingSquare(shape=(1, 9)),
    "two by two": IsingSquare(2),
    "one site": IsingSquare(shape=(1, 1), field=0.4),
    "all pairs": SherringtonKirkpatrick(10, seed=1),
    "no bonds": Pairwise(np.zeros((5, 5)), RNG.normal(size=5)),
}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0])
def test_equals_enumeration(name, beta, same_thermodynamics):
    same_thermodynamics(transfer_matrix(SYSTEMS[name], beta), enumerate(SYSTEMS[name], beta))


# 30: rescaled at nearly every site; 100 and 300: beyond the range of double
@pytest.mark.parametrize("beta", [30.0, 100.0, 300.0])
@pytest.mark.parametrize("name", ["square torus", "triangular antiferromagnet", "spin glass", "triangular, any bonds"])
def test_low_temperature(name, beta, same_thermodynamics):
    same_thermodynamics(transfer_matrix(SYSTEMS[name], beta), enumerate(SYSTEMS[name], beta), tolerance=1e-9)


def test_a_late_field_decides_at_low_temperature(same_thermodynamics):
    """The first rows prefer one phase by a factor that a double cannot hold, the last row overrules them."""
    fields = np.zeros((4, 4))
    fields[0], fields[3] = 3.0, -3.5
    ham = IsingSquare(shape=(4, 4), boundary="open", field=fields, coupling=2.0)
    for beta in (20.0, 150.0):
        same_thermodynamics(transfer_matrix(ham, beta), enumerate(ham, beta), tolerance=1e-10)


@pytest.mark.parametrize("shape", [(8, 8), (300, 6), (7, 300)])
def test_equals_kaufman(shape, same_thermodynamics):
    for beta in (0.3, 0.4407):
        same_thermodynamics(transfer_matrix(IsingSquare(shape=shape), beta), kaufman(shape, beta))


def test_twelve_wide_torus(same_thermodynamics):
    same_thermodynamics(transfer_matrix(IsingSquare(shape=(12, 12)), 0.44), kaufman(12, 0.44))


def test_long_ring_keeps_its_digits():
    """Z = (2 cosh K)^N + (2 sinh K)^N, the second term negligible."""
    sites, K = 20_000, 0.7
    result = transfer_matrix(IsingSquare(shape=(1, sites)), K)
    assert result.log_z == pytest.approx(sites * math.log(2 * math.cosh(K)), rel=1e-13)
    assert result.energy == pytest.approx(-sites * math.tanh(K), rel=1e-12)
    assert result.heat_capacity == pytest.approx(sites * (K / math.cosh(K)) ** 2, rel=1e-9)


def test_transposed_lattices_agree(same_thermodynamics):
    couplings = RNG.normal(size=(2, 4, 9))
    turned = np.stack([couplings[1].T, couplings[0].T])
    a = transfer_matrix(IsingSquare(shape=(4, 9), coupling=couplings), 0.8)
    b = transfer_matrix(IsingSquare(shape=(9, 4), coupling=turned), 0.8)
    same_thermodynamics(a, b)


def test_triangular_antiferromagnet_ground_state_entropy():
    """Wannier's 0.323066 a site, from the growth of long tori.

    On a circumference L (a multiple of 3) the entropy a site is above it by pi sqrt(3) / (12 L^2) and higher orders.
    """

    def per_site(L):
        short, long = (
            transfer_matrix(IsingTriangular(shape=(rows, L), coupling=-1.0), 20.0).entropy for rows in (36, 48)
        )
        return (long - short) / (12 * L)

    three, six = per_site(3), per_site(6)
    assert six - 0.323066 == pytest.approx(math.pi * math.sqrt(3) / (12 * 36), rel=0.06)
    assert (4 * six - three) / 3 == pytest.approx(0.323066, abs=2e-3)


def test_threads_do_not_change_a_bit():
    ham = EdwardsAnderson((7, 7), "gaussian", 3, field=0.1)
    assert transfer_matrix(ham, 0.9, threads=1) == transfer_matrix(ham, 0.9, threads=3)


@pytest.mark.parametrize(
    ("ham", "beta", "message"),
    [
        (IsingSquare(40), 0.4, "too wide for the transfer matrix"),
        (SherringtonKirkpatrick(60, seed=1), 0.4, "too wide for the transfer matrix"),
        (IsingSquare(4), 0.0, "beta must be positive"),
        (IsingSquare(4), 1e6, "beta is too large"),
    ],
)
def test_refuses(ham, beta, message):
    with pytest.raises(ValueError, match=message):
        transfer_matrix(ham, beta)
