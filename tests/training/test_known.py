"""Which exact values are known at once, and that all methods that fit a system agree on them."""

import numpy as np
import pytest

from vanfast.hamiltonians import (
    CurieWeiss,
    EdwardsAnderson,
    IsingSquare,
    IsingTriangular,
    Neural,
    SherringtonKirkpatrick,
)
from vanfast.networks import MADE
from vanfast.training.known import known_json, known_values, quick_method


@pytest.mark.parametrize(
    ("ham", "method"),
    [
        (IsingSquare(L=64), "kaufman"),
        (IsingSquare(shape=(6, 4), coupling=-1.0), "kaufman"),
        (IsingSquare(shape=(5, 4), coupling=-1.0), "enumeration"),
        (IsingSquare(shape=(7, 4), coupling=-1.0), "transfer-matrix"),
        (IsingSquare(L=4, field=0.1), "enumeration"),
        (IsingSquare(L=4, boundary="open"), "enumeration"),
        (IsingSquare(L=6, coupling=[1.0, 0.5]), "transfer-matrix"),
        (IsingTriangular(L=6), "transfer-matrix"),
        (EdwardsAnderson((16, 16), boundary="open"), "transfer-matrix"),
        (EdwardsAnderson((24, 24)), None),
        (CurieWeiss(1000), "curie-weiss"),
        (SherringtonKirkpatrick(20), "enumeration"),
        (SherringtonKirkpatrick(21), None),
        (Neural(MADE(14, seed=1)), "enumeration"),
        (Neural(MADE(15, seed=1)), None),
    ],
)
def test_method(ham, method):
    assert quick_method(ham) == method
    known = known_values(ham, 0.3)
    assert (known is None) == (method is None)
    assert known_json(known).keys() == (
        set()
        if method is None
        else {
            "exact_log_z",
            "exact_free_energy_per_site",
            "exact_energy_per_site",
            "exact_entropy_per_site",
            "exact_heat_capacity_per_site",
        }
    )


@pytest.mark.parametrize(
    "ham", [IsingSquare(shape=(2, 5)), IsingSquare(shape=(4, 4), coupling=-0.7), CurieWeiss(9, J=1.3, h=0.2)]
)
def test_methods_agree(ham):
    quick, states = known_values(ham, 0.6), known_values(ham, 0.6, "enumeration")
    assert quick_method(ham) != "enumeration"
    for name in ("log_z", "free_energy", "energy", "entropy", "heat_capacity"):
        np.testing.assert_allclose(getattr(quick, name), getattr(states, name), rtol=1e-10)


def test_a_method_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="kaufman solves"):
        known_values(IsingSquare(L=4, field=0.1), 1.0, "kaufman")
    with pytest.raises(ValueError, match="curie-weiss solves"):
        known_values(IsingSquare(L=4), 1.0, "curie-weiss")
    with pytest.raises(ValueError, match="method must be"):
        known_values(IsingSquare(L=4), 1.0, "guess")
