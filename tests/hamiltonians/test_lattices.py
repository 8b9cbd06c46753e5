"""Which sites the lattices join, with which couplings, at which boundaries."""

import itertools
import json
import math

import numpy as np
import pytest

from vanfast import hamiltonians as H


def bonds_by_hand(shape, steps, boundary, coupling):
    """Couplings of all pairs, walking from every site along every step; coupling(direction, site) -> J."""
    bonds: dict[tuple[int, int], float] = {}
    number = {site: n for n, site in enumerate(itertools.product(*map(range, shape)))}
    for site in number:
        for direction, step in enumerate(steps):
            if any(hop and length == 1 for hop, length in zip(step, shape, strict=True)):
                continue
            there = [x + hop for x, hop in zip(site, step, strict=True)]
            if any(x == length and edge == "open" for x, length, edge in zip(there, shape, boundary, strict=True)):
                continue
            end = number[tuple(x % length for x, length in zip(there, shape, strict=True))]
            pair = min(number[site], end), max(number[site], end)
            bonds[pair] = bonds.get(pair, 0.0) + coupling(direction, site)
    return bonds


SQUARE, TRIANGULAR = ((0, 1), (1, 0)), ((0, 1), (1, 0), (1, 1))
CUBIC = ((0, 0, 1), (0, 1, 0), (1, 0, 0))


@pytest.mark.parametrize("edges", ["periodic", "open", ("open", "periodic")])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 5), (5, 1), (2, 2), (2, 3), (3, 2), (4, 5)])
@pytest.mark.parametrize(("cls", "steps"), [(H.IsingSquare, SQUARE), (H.IsingTriangular, TRIANGULAR)])
def test_bonds_of_flat_lattices(cls, steps, shape, edges) -> None:
    coupling = np.random.default_rng(0).normal(size=(len(steps), *shape))
    ham = cls(shape=shape, coupling=coupling, boundary=edges)
    boundary = (edges, edges) if isinstance(edges, str) else edges
    expected = bonds_by_hand(shape, steps, boundary, lambda d, site: coupling[(d, *site)])
    assert [tuple(pair) for pair in ham.edges.tolist()] == sorted(expected)
    np.testing.assert_allclose(ham.couplings, [expected[pair] for pair in sorted(expected)], rtol=1e-15)
    assert ham.edges.dtype == np.int32
    assert ham.shape == shape


@pytest.mark.parametrize("edges", ["periodic", "open"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3), (2, 2, 2), (3, 4, 5)])
def test_bonds_of_the_cubic_lattice(shape, edges) -> None:
    coupling = (1.0, 10.0, 100.0)
    ham = H.IsingCubic(shape=shape, coupling=coupling, boundary=edges)
    expected = bonds_by_hand(shape, CUBIC, (edges,) * 3, lambda d, site: coupling[d])
    assert dict(zip(map(tuple, ham.edges.tolist()), ham.couplings.tolist(), strict=True)) == expected


def test_numbers_of_bonds() -> None:
    assert len(H.IsingSquare(16).edges) == 2 * 256
    assert len(H.IsingSquare(16, boundary="open").edges) == 2 * 16 * 15
    assert len(H.IsingTriangular(16).edges) == 3 * 256
    assert len(H.IsingCubic(6).edges) == 3 * 216
    assert len(H.IsingSquare(shape=(1, 9)).edges) == 9
    assert len(H.IsingSquare(1).edges) == 0


def test_two_by_two_torus_has_its_known_partition_function() -> None:
    ham, beta = H.IsingSquare(2), 0.4
    states = np.array(list(itertools.product((-1, 1), repeat=4)))
    z = np.exp(-beta * ham.energy(states)).sum()
    assert math.isclose(z, 2 * math.exp(8 * beta) + 12 + 2 * math.exp(-8 * beta), rel_tol=1e-14)


def test_ring_has_its_known_partition_function() -> None:
    ham, beta = H.IsingSquare(shape=(1, 9), coupling=-1.0), 0.7
    states = np.array(list(itertools.product((-1, 1), repeat=9)))
    z = np.exp(-beta * ham.energy(states)).sum()
    assert math.isclose(z, (2 * math.cosh(beta)) ** 9 - (2 * math.sinh(beta)) ** 9, rel_tol=1e-13)


def test_fields() -> None:
    assert H.IsingSquare(3).is_z2_symmetric
    ham = H.IsingSquare(3, field=0.5)
    assert not ham.is_z2_symmetric
    assert ham.energy(np.ones(9))[0] == -18 - 4.5
    grid = np.arange(6.0).reshape(2, 3)
    for field in (grid, grid.ravel()):
        np.testing.assert_array_equal(H.IsingSquare(shape=(2, 3), field=field).fields, np.arange(6.0))


def test_couplings_of_absent_bonds_are_not_read() -> None:
    coupling = np.ones((2, 3, 4))
    coupling[0, :, -1] = coupling[1, -1, :] = np.nan
    np.testing.assert_array_equal(H.IsingSquare(shape=(3, 4), coupling=coupling, boundary="open").couplings, 1.0)
    message = r"coupling must be finite, found nan on the bond of site \[0, 3\] in direction 0"
    with pytest.raises(ValueError, match=message):
        H.IsingSquare(shape=(3, 4), coupling=coupling)


def test_edwards_anderson_couplings() -> None:
    pm = H.EdwardsAnderson((16, 16), "pm", seed=1)
    assert set(pm.couplings.tolist()) == {-1.0, 1.0}
    assert abs(pm.couplings.mean()) < 4 / math.sqrt(512)
    gaussian = H.EdwardsAnderson((10, 10, 10), "gaussian", seed=1)
    assert gaussian.couplings.shape == (3000,)
    assert abs(gaussian.couplings.std() - 1) < 0.06
    assert not np.array_equal(pm.couplings, H.EdwardsAnderson((16, 16), "pm", seed=2).couplings)
    np.testing.assert_array_equal(pm.couplings, H.EdwardsAnderson(16, "pm", seed=1).couplings)


def test_edwards_anderson_draws_are_frozen() -> None:
    expected = np.where(np.random.RandomState(7).random_sample((2, 3, 3)) < 0.5, 1.0, -1.0)
    ham = H.EdwardsAnderson((3, 3), "pm", seed=7)
    assert ham.to_dense()[0, 1] == expected[0, 0, 0]
    assert ham.to_dense()[0, 3] == expected[1, 0, 0]
    assert ham.to_dense()[6, 0] == expected[1, 2, 0]
    opened = H.EdwardsAnderson((3, 3), "pm", seed=7, boundary="open").to_dense()
    present = opened != 0
    np.testing.assert_array_equal(opened[present], ham.to_dense()[present])
    assert len(H.EdwardsAnderson((6,), "gaussian").edges) == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: H.IsingSquare(), "give either L or shape"),
        (lambda: H.IsingSquare(4, shape=(4, 4)), "give either L or shape"),
        (lambda: H.IsingSquare(0), "L must be an integer of at least 1, not 0"),
        (lambda: H.IsingSquare(2.5), "L must be an integer of at least 1, not 2.5"),
        (lambda: H.IsingSquare(shape=(2, 3, 4)), "shape must have 2 lengths, not"),
        (lambda: H.IsingSquare(shape=(2, -3)), "shape must be an integer of at least 1, not -3"),
        (lambda: H.IsingSquare(shape=16), r"shape must be a sequence of lattice lengths such as \(4, 6\), not 16"),
        (lambda: H.IsingSquare(100_000), "at most 2"),
        (lambda: H.IsingSquare(4, boundary="free"), "boundary must be 'periodic', 'open' or a list of 2"),
        (lambda: H.IsingSquare(4, boundary=("open",)), "boundary must be"),
        (lambda: H.IsingSquare(4, coupling=math.inf), "coupling must be finite, found inf"),
        (lambda: H.IsingSquare(4, coupling="strong"), "coupling must hold real numbers"),
        (lambda: H.IsingSquare(4, coupling=np.ones((3, 4, 4))), r"coupling has shape \[3, 4, 4\], expected one number"),
        (lambda: H.IsingSquare(4, coupling=[[1.0, 2.0], [3.0]]), "coupling must be a regular array"),
        (lambda: H.IsingSquare(4, field=math.nan), "field must be finite, found nan"),
        (lambda: H.IsingSquare(4, field=np.ones(5)), r"field has shape \[5\], expected one number, \[16\] or \[4, 4\]"),
        (lambda: H.IsingSquare(4, field=np.ones(16) * 1j), "field must hold real numbers, not complex"),
        (lambda: H.EdwardsAnderson((4, 4), "uniform"), "disorder must be 'pm' or 'gaussian', not 'uniform'"),
        (lambda: H.EdwardsAnderson((4, 4), seed=-1), "seed must be an integer of at least 0, not -1"),
        (lambda: H.EdwardsAnderson((4, 4), seed=2**32), r"seed must be below 2\*\*32"),
        (lambda: H.EdwardsAnderson(()), "shape must have at least 1 lengths"),
    ],
)
def test_wrong_arguments(make, message) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    "ham",
    [
        H.IsingSquare(shape=(3, 4), coupling=-0.5, boundary=("open", "periodic"), field=0.1),
        H.IsingTriangular(3, coupling=(1.0, 2.0, 3.0), field=np.arange(9.0)),
        H.IsingCubic(shape=(2, 3, 2), coupling=np.random.default_rng(1).normal(size=(3, 2, 3, 2))),
        H.EdwardsAnderson((3, 3), "gaussian", seed=5, boundary="open", field=1.0),
    ],
    ids=lambda ham: type(ham).__name__,
)
def test_config_makes_the_same_system_again(ham) -> None:
    again = H.from_config(json.loads(json.dumps(ham.config())), ham.arrays())
    assert type(again) is type(ham)
    assert again.shape == ham.shape
    np.testing.assert_array_equal(again.edges, ham.edges)
    np.testing.assert_array_equal(again.couplings, ham.couplings)
    np.testing.assert_array_equal(again.fields, ham.fields)
    assert len(repr(ham)) < 160
