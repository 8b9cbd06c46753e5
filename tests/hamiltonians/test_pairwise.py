"""Dense and sparse couplings, and the fully connected models drawn from a seed or from patterns."""

import copy
import itertools
import json
import math
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

from vanfast import hamiltonians as H


def symmetric(num_sites: int, density: float = 1.0, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.normal(size=(num_sites, num_sites)), 1)
    upper *= generator.random(upper.shape) < density
    return upper + upper.T


@pytest.mark.parametrize("num_sites", [1, 2, 7, 30])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_dense_sparse_and_edges_are_one_system(num_sites, density) -> None:
    J = symmetric(num_sites, density)
    h = np.random.default_rng(1).normal(size=num_sites)
    i, j = np.nonzero(np.triu(J))
    systems = [
        H.Pairwise(J, h),
        H.Pairwise(J.tolist(), h.tolist()),
        H.Pairwise(torch.tensor(J), torch.tensor(h)),
        H.Pairwise(scipy.sparse.csr_matrix(J), h),
        H.Pairwise(scipy.sparse.coo_array(J), h),
        H.Pairwise.from_edges(num_sites, np.stack([j, i], axis=1)[::-1], J[i, j][::-1], h),
    ]
    for ham in systems:
        np.testing.assert_array_equal(ham.to_dense(), J)
        np.testing.assert_array_equal(ham.fields, h)
        assert (ham.edges[:, 0] < ham.edges[:, 1]).all()
        assert ham.edges.tolist() == sorted(ham.edges.tolist())
        assert ham.edges.dtype == np.int32
        assert ham.shape == (num_sites,)


def test_asymmetry_within_rounding_is_accepted() -> None:
    J = symmetric(20)
    J[3, 5] *= 1 + 2e-16
    assert H.Pairwise(J).num_sites == 20
    single = symmetric(20).astype(np.float32)
    single[3, 5] *= np.float32(1 + 2e-7)
    assert H.Pairwise(single).num_sites == 20
    with pytest.raises(ValueError, match="J must be symmetric"):
        H.Pairwise(single.astype(np.float64))


def test_duplicate_entries_of_a_sparse_matrix_add() -> None:
    coo = scipy.sparse.coo_array(([1.0, 2.0, 3.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert H.Pairwise(coo).couplings.tolist() == [3.0]


def test_explicit_zeros_are_no_bonds_in_matrices_and_kept_in_edge_lists() -> None:
    zeros = scipy.sparse.csr_array(([0.0, 1.0, 1.0], ([0, 1, 2], [1, 2, 1])), shape=(3, 3))
    assert H.Pairwise(zeros).edges.tolist() == [[1, 2]]
    assert len(H.Pairwise.from_edges(3, [[0, 1], [1, 2]], [0.0, 1.0]).edges) == 2


def test_shape_names_a_lattice() -> None:
    ham = H.Pairwise(symmetric(6), h=np.ones((2, 3)), shape=(2, 3))
    assert ham.shape == (2, 3)
    assert ham.energy(np.ones((4, 2, 3))).shape == (4,)


def _with(J: np.ndarray, i: int, j: int, value: float) -> np.ndarray:
    J = J.copy()
    J[i, j] = value
    return J


@pytest.mark.parametrize("wrap", [lambda J: J, scipy.sparse.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    ("J", "message"),
    [
        (_with(symmetric(5), 1, 3, 9.0), r"J must be symmetric, but J\[1, 3\] = 9.0 and J\[3, 1\] = .* T \+ T.T"),
        (np.triu(np.ones((4, 4)), 1), r"J must be symmetric, but J\[0, 1\] = 1.0 and J\[1, 0\] = 0.0"),
        (np.tril(np.ones((4, 4)), -1), r"J must be symmetric, but J\[0, 1\] = 0.0 and J\[1, 0\] = 1.0"),
        (_with(symmetric(5), 2, 2, 1.0), r"J must have a zero diagonal, but J\[2, 2\] = 1.0"),
        (_with(symmetric(5), 0, 4, math.nan), "J must be finite, found nan"),
        (_with(symmetric(5), 0, 4, -math.inf), "J must be finite, found -inf"),
        (np.ones((2, 3)), r"J has shape \[2, 3\], expected a square \[N, N\]"),
    ],
)
def test_wrong_matrices(J, message, wrap) -> None:
    with pytest.raises(ValueError, match=message):
        H.Pairwise(wrap(J))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: H.Pairwise(np.zeros(4)), r"J has shape \[4\], expected a square"),
        (lambda: H.Pairwise(np.zeros((0, 0))), r"J has shape \[0, 0\]"),
        (lambda: H.Pairwise(np.zeros((2, 2), dtype=complex)), "J must hold real numbers, not complex128"),
        (lambda: H.Pairwise([["a", "b"], ["c", "d"]]), "J must hold real numbers"),
        (lambda: H.Pairwise(np.zeros((2, 2)), h=[1.0]), r"h has shape \[1\], expected one number, \[2\]"),
        (lambda: H.Pairwise(np.zeros((2, 2)), h=[1.0, math.inf]), r"h must be finite, found inf at \[1\]"),
        (lambda: H.Pairwise(np.zeros((6, 6)), shape=(2, 2)), r"shape \(2, 2\) has 4 sites, but the couplings have 6"),
        (lambda: H.Pairwise.from_edges(0, [], []), "num_sites must be an integer of at least 1, not 0"),
        (lambda: H.Pairwise.from_edges(2**31, [], []), "num_sites must be below"),
        (lambda: H.Pairwise.from_edges(3, [[0, 3]], [1.0]), r"edges row 0 is \[0, 3\], sites must be in \[0, 3\)"),
        (lambda: H.Pairwise.from_edges(3, [[0, 1], [-1, 2]], 1.0), r"edges row 1 is \[-1, 2\]"),
        (lambda: H.Pairwise.from_edges(3, [[1, 1]], [1.0]), "edges row 0 joins site 1 with itself"),
        (lambda: H.Pairwise.from_edges(3, [[0, 1], [1, 0]], 1.0), r"edges holds the pair \[0, 1\] twice"),
        (lambda: H.Pairwise.from_edges(3, [0, 1], 1.0), r"edges has shape \[2\], expected \[M, 2\]"),
        (lambda: H.Pairwise.from_edges(3, [[0.0, 1.0]], 1.0), "edges must hold integer site numbers, not float64"),
        (lambda: H.Pairwise.from_edges(3, [[0, 1]], [1.0, 2.0]), r"couplings has shape \[2\], expected one number"),
        (lambda: H.Pairwise.from_edges(3, [[0, 1]], [math.nan]), r"couplings must be finite, found nan at \[0\]"),
        (lambda: H.SherringtonKirkpatrick(0), "N must be an integer of at least 1"),
        (lambda: H.SherringtonKirkpatrick(5, seed=1.5), "seed must be an integer"),
        (lambda: H.CurieWeiss(5, J=math.nan), "J must be finite"),
        (lambda: H.CurieWeiss(5, h=[1.0, 2.0]), "h must be one number"),
        (lambda: H.Hopfield(np.ones(5)), r"patterns has shape \[5\], expected \[P, N\]"),
        (lambda: H.Hopfield(np.zeros((2, 5))), r"patterns must hold only \+1 and -1, found 0.0"),
        (lambda: H.orthogonal_patterns(2, 7), "no 2 orthogonal patterns of 7 spins"),
        (lambda: H.orthogonal_patterns(3, 10), "no 3 orthogonal patterns of 10 spins"),
        (lambda: H.orthogonal_patterns(5, 4), "no 5 orthogonal patterns of 4 spins"),
        (lambda: H.random_patterns(0, 4), "P must be an integer of at least 1"),
    ],
)
def test_wrong_arguments(make, message) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_sherrington_kirkpatrick_is_the_seeded_draw() -> None:
    N, seed = 12, 4
    state = np.random.RandomState(seed)
    J = np.zeros((N, N))
    for i in range(N):
        for j in range(i):
            J[i, j] = J[j, i] = state.normal(0, 1 / np.sqrt(N))
    np.testing.assert_array_equal(H.SherringtonKirkpatrick(N, seed).to_dense(), J)
    assert not np.array_equal(H.SherringtonKirkpatrick(N).to_dense(), J)


def test_curie_weiss_is_the_sum_over_magnetisations() -> None:
    N, J, h, beta = 9, 1.3, 0.2, 0.8
    ham = H.CurieWeiss(N, J, h)
    np.testing.assert_allclose(ham.couplings, J / N)
    assert len(ham.edges) == N * (N - 1) // 2
    states = np.array(list(itertools.product((-1, 1), repeat=N)))
    z = np.exp(-beta * ham.energy(states)).sum()
    exact = sum(
        math.comb(N, k) * math.exp(beta * J * (N - 2 * k) ** 2 / (2 * N) + beta * h * (N - 2 * k)) for k in range(N + 1)
    ) * math.exp(-beta * J / 2)
    assert math.isclose(z, exact, rel_tol=1e-13)


def test_large_curie_weiss_needs_no_list_of_pairs() -> None:
    ham = H.CurieWeiss(300_000)
    assert ham.describe() == "CurieWeiss 300000, 300000 sites, 44999850000 bonds"
    spins = np.ones((2, 300_000), dtype=np.int8)
    spins[1, ::2] = -1
    assert ham.energy(spins).tolist() == [-(300_000 - 1) / 2, 0.5]


def test_hopfield_couplings_and_stored_patterns() -> None:
    patterns = H.orthogonal_patterns(2, 100, seed=3)
    ham = H.Hopfield(patterns)
    xi = patterns.astype(np.float64)
    expected = xi.T @ xi / 100
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_array_equal(ham.to_dense(), expected)
    np.testing.assert_array_equal(ham.energy(np.concatenate([patterns, -patterns])), -(100**2 - 200) / 200)


@pytest.mark.parametrize(("P", "N"), [(1, 7), (2, 10), (2, 100), (4, 100), (12, 36), (20, 100), (16, 16), (24, 48)])
def test_orthogonal_patterns(P, N) -> None:
    patterns = H.orthogonal_patterns(P, N, seed=1)
    assert patterns.dtype == np.int8
    np.testing.assert_array_equal(patterns.astype(int) @ patterns.T.astype(int), N * np.eye(P))
    assert not np.array_equal(patterns, H.orthogonal_patterns(P, N, seed=2))
    np.testing.assert_array_equal(patterns, H.orthogonal_patterns(P, N, seed=1))


def test_random_patterns() -> None:
    patterns = H.random_patterns(40, 250, seed=1)
    assert patterns.shape == (40, 250)
    assert set(np.unique(patterns)) == {-1, 1}
    assert abs(patterns.mean()) < 0.05


@pytest.mark.parametrize(
    "ham",
    [
        H.Pairwise(symmetric(6), h=np.arange(6.0), shape=(2, 3)),
        H.Pairwise(symmetric(5)),
        H.SherringtonKirkpatrick(8, seed=3),
        H.CurieWeiss(7, 1.5, -0.5),
        H.Hopfield(H.random_patterns(2, 9)),
    ],
    ids=lambda ham: type(ham).__name__,
)
def test_config_pickle_and_copy_make_the_same_system_again(ham) -> None:
    spins = np.random.default_rng(0).choice([-1, 1], size=(20, ham.num_sites))
    energy = ham.energy(spins)
    configured = H.from_config(json.loads(json.dumps(ham.config())), ham.arrays())
    for again in (configured, pickle.loads(pickle.dumps(ham)), copy.deepcopy(ham)):
        assert type(again) is type(ham)
        assert again.shape == ham.shape
        np.testing.assert_array_equal(again.energy(spins), energy)
        np.testing.assert_array_equal(again.to_dense(), ham.to_dense())


def test_arrays_cannot_be_changed() -> None:
    for ham in (H.IsingSquare(4), H.SherringtonKirkpatrick(4), H.Pairwise(symmetric(4))):
        for array in (ham.edges, ham.couplings, ham.fields):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
