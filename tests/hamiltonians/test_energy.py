"""The C++ energy against its plain twin, on shapes that fit nothing, and its independence of how it is called."""

import numpy as np
import pytest
import torch

from vanfast import _cpu
from vanfast import hamiltonians as H

BATCHES = (1, 5, 7, 63, 257)


def twin(ham: H.Hamiltonian, spins: torch.Tensor) -> torch.Tensor:
    """E(s) bond by bond in plain PyTorch."""
    edges = torch.tensor(ham.edges, dtype=torch.long)
    pairs = (spins[:, edges[:, 0]] * spins[:, edges[:, 1]]).double() @ torch.tensor(ham.couplings)
    return -pairs - spins.double() @ torch.tensor(ham.fields)


def draw_spins(count: int, num_sites: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randint(0, 2, (count, num_sites), generator=generator) - 1).to(torch.int8)


def random_graph(num_sites: int, density: float, seed: int, integers: bool = False) -> H.Pairwise:
    generator = np.random.default_rng(seed)
    J = generator.normal(size=(num_sites, num_sites))
    J = np.rint(3 * J) if integers else J
    J = np.triu(J * (generator.random(J.shape) < density), 1)
    h = np.rint(3 * generator.normal(size=num_sites)) if integers else generator.normal(size=num_sites)
    return H.Pairwise(J + J.T, h)


SYSTEMS = [
    H.IsingSquare(1),
    H.IsingSquare(2),
    H.IsingSquare(shape=(1, 7), field=1.0),
    H.IsingSquare(shape=(3, 5), coupling=-1.0),
    H.IsingSquare(shape=(11, 13), coupling=0.3, boundary="open", field=np.linspace(-1, 1, 143)),
    H.IsingTriangular(shape=(2, 2)),
    H.IsingTriangular(shape=(9, 4), coupling=-1.0),
    H.IsingCubic(shape=(2, 3, 5), field=0.5),
    H.EdwardsAnderson((5, 7), "gaussian", seed=3),
    H.EdwardsAnderson((12, 12), "pm", seed=4),
    H.EdwardsAnderson((3, 4, 5), "gaussian", seed=5, field=0.25),
    H.Pairwise([[0.0]], h=[1.5]),
    H.Pairwise([[0.0, -2.0], [-2.0, 0.0]]),
    H.SherringtonKirkpatrick(3),
    H.SherringtonKirkpatrick(17),
    H.SherringtonKirkpatrick(100),
    H.CurieWeiss(1, h=0.5),
    H.CurieWeiss(65, J=1.5, h=0.25),
    H.Hopfield(H.random_patterns(3, 33, seed=1)),
    H.Hopfield(H.orthogonal_patterns(2, 100, seed=2)),
    random_graph(64, 1.0, seed=1),
    random_graph(131, 0.02, seed=2),
    random_graph(40, 0.3, seed=3),
]


@pytest.mark.parametrize("ham", SYSTEMS, ids=lambda ham: ham.describe())
def test_energy_is_that_of_the_plain_twin(ham: H.Hamiltonian) -> None:
    scale = np.abs(ham.couplings).sum() + np.abs(ham.fields).sum() + 1
    for count in (*BATCHES, 2100):
        spins = draw_spins(count, ham.num_sites, seed=count)
        energy = ham.energy(spins)
        assert energy.dtype == torch.float64
        assert energy.shape == (count,)
        torch.testing.assert_close(energy, twin(ham, spins), rtol=0, atol=1e-14 * scale)


@pytest.mark.parametrize(
    "ham",
    [
        H.IsingSquare(shape=(7, 9), coupling=-3.0, field=2.0),
        H.IsingTriangular(6),
        H.EdwardsAnderson((9, 9), "pm"),
        random_graph(50, 1.0, seed=4, integers=True),
        random_graph(90, 0.05, seed=5, integers=True),
        H.Pairwise.from_edges(3, [[0, 1], [1, 2]], [2.0**52, 1.0]),
    ],
    ids=lambda ham: ham.describe(),
)
def test_integer_couplings_give_exact_energies(ham: H.Hamiltonian) -> None:
    spins = draw_spins(257, ham.num_sites)
    s = spins.numpy().astype(np.int64)
    i, j = ham.edges.T
    exact = -(s[:, i] * s[:, j]) @ ham.couplings.astype(np.int64) - s @ ham.fields.astype(np.int64)
    assert [int(e) for e in ham.energy(spins)] == exact.tolist()


def test_one_rounding_for_a_uniform_coupling() -> None:
    ham = H.IsingSquare(L=16, coupling=0.1)
    spins = draw_spins(300, 256)
    unsatisfied = H.IsingSquare(L=16).energy(spins)
    assert torch.equal(ham.energy(spins), 0.1 * unsatisfied)


def test_patterns_are_summed_as_integers() -> None:
    patterns = H.random_patterns(5, 77, seed=8)
    spins = draw_spins(100, 77)
    overlaps = spins.numpy().astype(np.int64) @ patterns.T.astype(np.int64)
    expected = -(((overlaps**2 - 77) // 2).sum(axis=1) / 77)
    np.testing.assert_array_equal(H.Hopfield(patterns).energy(spins.numpy()), expected)


@pytest.mark.parametrize(
    "ham",
    [
        H.EdwardsAnderson((6, 11), "gaussian"),
        H.SherringtonKirkpatrick(70),
        H.CurieWeiss(30, 0.7, 0.1),
        random_graph(75, 0.4, seed=6),
        random_graph(300, 0.01, seed=7),
    ],
    ids=lambda ham: ham.describe(),
)
def test_energy_does_not_depend_on_batch_threads_or_chunks(ham: H.Hamiltonian) -> None:
    spins = draw_spins(5000, ham.num_sites)
    whole = ham.energy(spins, threads=1)
    for threads in (None, 2, 3):
        assert torch.equal(ham.energy(spins, threads=threads), whole)
    for chunk in (1, 7, 23, 24, 64, 257, 1000):
        starts = range(0, 1000, chunk) if chunk < 100 else range(0, 5000, chunk)
        pieces = torch.cat([ham.energy(spins[start : start + chunk]) for start in starts])
        assert torch.equal(pieces, whole[: len(pieces)])
    shifted = torch.cat([spins[137:], spins[:137]])
    assert torch.equal(ham.energy(shifted), torch.cat([whole[137:], whole[:137]]))


def test_spin_flip_symmetry_is_exact_without_fields() -> None:
    for ham in (H.SherringtonKirkpatrick(50), H.EdwardsAnderson((5, 5), "gaussian"), H.CurieWeiss(50)):
        spins = draw_spins(100, ham.num_sites)
        assert torch.equal(ham.energy(spins), ham.energy(-spins))


def test_every_array_type_gives_the_same_energies() -> None:
    ham = H.IsingSquare(shape=(3, 4), field=0.5)
    spins = draw_spins(10, 12)
    expected = ham.energy(spins)
    for dtype in (torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert torch.equal(ham.energy(spins.to(dtype)), expected)
    assert torch.equal(ham.energy(spins.reshape(10, 3, 4)), expected)
    assert torch.equal(ham.energy(spins[3]), expected[3:4])
    assert torch.equal(ham.energy(spins.t().contiguous().t()), expected)
    for dtype in (np.int8, np.int64, np.float32, ">f8"):
        energy = ham.energy(spins.numpy().astype(dtype))
        assert isinstance(energy, np.ndarray)
        np.testing.assert_array_equal(energy, expected.numpy())
    assert ham.energy(spins[:0]).shape == (0,)


@pytest.mark.parametrize("count", [1, 30, 700])
@pytest.mark.parametrize("ham", [H.IsingSquare(shape=(5, 15)), H.SherringtonKirkpatrick(75)], ids=["lattice", "dense"])
def test_wrong_spins_are_found_wherever_they_stand(ham: H.Hamiltonian, count: int) -> None:
    for value in (0, 2, 3, -2, -3, 127, -127, -128):
        for row, site in ((0, 0), (count - 1, 74), (count // 2, 64)):
            spins = draw_spins(count, 75)
            spins[row, site] = value
            with pytest.raises(ValueError, match=rf"found {value} at configuration {row}, site {site}$"):
                ham.energy(spins)


def test_wrong_spins_are_refused_before_conversion() -> None:
    ham = H.IsingSquare(2)
    with pytest.raises(ValueError, match=r"found 0\.5 at configuration 0, site 1"):
        ham.energy(torch.tensor([1.0, 0.5, 1.0, -1.0]))
    with pytest.raises(ValueError, match="found 257"):
        ham.energy(np.array([1, 257, 1, 1]))
    with pytest.raises(ValueError, match=r"spins has shape \[2, 5\], expected \[4\], \[B, 4\]"):
        ham.energy(torch.ones(2, 5, dtype=torch.int8))
    with pytest.raises(TypeError, match="torch tensor or a numpy array, not list"):
        ham.energy([1, 1, 1, 1])  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="threads must be at least 1 or None, not 0"):
        ham.energy(torch.ones(4), threads=0)


def test_the_native_model_refuses_what_would_crash_it() -> None:
    edges, fields = np.array([[0, 1]], dtype=np.int32), np.zeros(2)
    make = _cpu.EnergyModel
    with pytest.raises(ValueError, match=r"edges row 0 is \(0, 2\)"):
        make(2, np.array([[0, 2]], dtype=np.int32), np.ones(1), fields)
    with pytest.raises(ValueError, match=r"edges row 0 is \(1, 1\)"):
        make(2, np.array([[1, 1]], dtype=np.int32), np.ones(1), fields)
    with pytest.raises(ValueError, match="couplings must be finite"):
        make(2, edges, np.array([np.nan]), fields)
    with pytest.raises(ValueError, match="couplings must have one entry"):
        make(2, edges, np.ones(2), fields)
    with pytest.raises(ValueError, match="fields must have one entry"):
        make(3, edges, np.ones(1), fields)
    with pytest.raises(ValueError, match="num_sites must be at least 1"):
        make(0, edges, np.ones(1), fields)
    with pytest.raises(ValueError, match="patterns must hold only"):
        make.from_patterns(np.zeros((1, 2), dtype=np.int8), 1.0, fields)
    model = make(2, edges, np.ones(1), fields)
    with pytest.raises(ValueError, match=r"spins must be \[3, 2\]"):
        model.evaluate(np.ones((2, 2), dtype=np.int8), np.empty(3))
