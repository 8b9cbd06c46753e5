"""The sum over magnetisations of alike sites, against enumeration and the Curie-Weiss model."""

import numpy as np
import pytest

from vanfast import exact
from vanfast.exact.hopfield import number_of_terms
from vanfast.hamiltonians import CurieWeiss, Hopfield, orthogonal_patterns, random_patterns

NAMES = ("log_z", "free_energy", "energy", "entropy", "heat_capacity")


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 12), (3, 9), (5, 10)])
def test_it_agrees_with_enumeration(shape, beta):
    patterns = random_patterns(*shape, seed=3)
    found, ham = exact.hopfield(patterns, beta), Hopfield(patterns)
    table = exact.enumerate(ham, beta, log_prob=True)
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(getattr(table, name), rel=1e-11, abs=1e-11)
    overlap = exact.states(shape[1]) @ patterns.T / shape[1]
    probability = np.exp(table.log_prob)
    np.testing.assert_allclose(found.abs_overlap, probability @ np.abs(overlap), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.overlap_squared, probability @ overlap**2, rtol=1e-11, atol=1e-13)


def test_one_pattern_is_a_ferromagnet():
    patterns = random_patterns(1, 500, seed=1)
    found, ferromagnet = exact.hopfield(patterns, 1.2), exact.curie_weiss(500, 1.2)
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(getattr(ferromagnet, name), rel=1e-11)
    assert found.abs_overlap[0] == pytest.approx(ferromagnet.abs_magnetization, rel=1e-11)
    assert CurieWeiss(500).energy(np.ones(500)) == pytest.approx(Hopfield(patterns).energy(patterns[0]))


def test_two_orthogonal_patterns_are_two_ferromagnets():
    patterns = orthogonal_patterns(2, 100, seed=4)
    assert number_of_terms(patterns) == 51**2
    assert exact.hopfield(patterns, 1.5).log_z == pytest.approx(2 * exact.curie_weiss(50, 1.5).log_z, rel=1e-12)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (np.ones(4), r"patterns has shape \[4\], expected \[P, N\]"),
        (np.ones((0, 4)), r"patterns has shape \[0, 4\]"),
        ([[1, 0, -1]], r"patterns must hold \+1 and -1 alone"),
        (random_patterns(6, 200), "patterns has 6 rows and .* at most 4194304"),
    ],
)
def test_wrong_patterns_are_refused(patterns, message):
    with pytest.raises(ValueError, match=message):
        exact.hopfield(patterns, 1.0)
