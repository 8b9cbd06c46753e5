"""Hamiltonians that energy kernels stumble over, and the plain sum over bonds that they are compared with."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vanfast import hamiltonians as H


def draw_spins(count: int, num_sites: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randint(0, 2, (count, num_sites), generator=generator) - 1).to(torch.int8)


def random_graph(num_sites: int, density: float, seed: int, integers: bool = False) -> H.Pairwise:
    generator = np.random.default_rng(seed)
    J = generator.normal(size=(num_sites, num_sites))
    h = generator.normal(size=num_sites)
    J, h = (np.rint(3 * J), np.rint(3 * h)) if integers else (J, h)
    J = np.triu(J * (generator.random(J.shape) < density), 1)
    return H.Pairwise(J + J.T, h)


def plus_minus(shape: tuple[int, int], strengths: tuple[float, float], boundary: object, seed: int) -> H.IsingSquare:
    """Couplings that differ by their sign inside each direction; NaN where an open lattice has no bond."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(2, *shape))
    couplings = signs * np.array(strengths)[:, None, None]
    return H.IsingSquare(shape=shape, coupling=couplings, boundary=boundary)


# Each with the kernel that must take it.
SYSTEMS = [
    ("lattice", H.IsingSquare(1, field=0.5)),
    ("lattice", H.IsingSquare(shape=(1, 7), field=1.0)),
    ("lattice", H.IsingSquare(shape=(7, 1), coupling=-2.0)),
    ("lattice", H.IsingSquare(2)),  # double bonds
    ("lattice", H.IsingSquare(shape=(2, 5), coupling=[1.0, -0.25], boundary=["periodic", "open"])),
    ("lattice", H.IsingSquare(shape=(3, 5), coupling=-1.0)),
    ("lattice", H.IsingSquare(shape=(11, 13), coupling=0.3, boundary="open", field=np.linspace(-1, 1, 143))),
    ("lattice", H.IsingSquare(shape=(3, 31), boundary=["open", "periodic"])),
    ("lattice", H.IsingSquare(shape=(2, 32), boundary=["periodic", "open"], field=-1.0)),
    ("lattice", H.IsingSquare(shape=(3, 33), coupling=[0.5, 2.0])),
    ("lattice", H.IsingSquare(shape=(3, 65))),
    ("lattice", H.IsingSquare(L=16)),
    ("lattice", H.IsingTriangular(shape=(2, 2))),
    ("lattice", H.IsingTriangular(shape=(9, 4), coupling=[-1.0, -1.0, 0.5])),
    ("lattice", H.IsingTriangular(shape=(5, 6), boundary=["periodic", "open"], field=np.arange(30.0))),
    ("lattice", H.IsingTriangular(shape=(4, 33), coupling=-1.0, boundary="open")),
    ("lattice", H.IsingCubic(shape=(2, 3, 5), field=0.5)),
    ("lattice", H.IsingCubic(shape=(3, 1, 4), coupling=[1.0, 2.0, 3.0], boundary=["open", "periodic", "open"])),
    ("lattice", H.EdwardsAnderson((12, 9), "pm", seed=4)),
    ("lattice", H.EdwardsAnderson((3, 2, 2, 3), "pm", seed=6, boundary="open")),
    ("lattice", H.EdwardsAnderson((37,), "pm", seed=7)),
    ("lattice", plus_minus((5, 34), (1.5, 0.25), ["open", "periodic"], seed=1)),
    ("bonds", H.EdwardsAnderson((5, 7), "gaussian", seed=3)),
    ("bonds", H.EdwardsAnderson((3, 4, 5), "gaussian", seed=5, field=0.25)),
    ("bonds", H.Pairwise([[0.0]], h=[1.5])),
    ("bonds", random_graph(131, 0.02, seed=2)),
    ("bonds", random_graph(40, 0.3, seed=3)),
    ("bonds", random_graph(90, 0.05, seed=5, integers=True)),
    ("bonds", H.Pairwise.from_edges(3, [[0, 1]], [2.0**52], h=[1.0, 0.0, 0.0])),
    ("dense", H.Pairwise([[0.0, -2.0], [-2.0, 0.0]])),
    ("dense", H.SherringtonKirkpatrick(3)),
    ("dense", H.SherringtonKirkpatrick(17)),
    ("dense", random_graph(20, 1.0, seed=1)),
    ("dense", random_graph(48, 0.7, seed=8, integers=True)),
    ("dense", random_graph(66, 0.9, seed=9)),
    ("patterns", H.CurieWeiss(1, h=0.5)),
    ("patterns", H.CurieWeiss(65, J=1.5, h=0.25)),
    ("patterns", H.Hopfield(H.random_patterns(3, 33, seed=1))),
    ("patterns", H.Hopfield(H.orthogonal_patterns(2, 100, seed=2))),
]
NAMES = [f"{kind} {ham.describe()}" for kind, ham in SYSTEMS]


def is_integer(ham: H.Hamiltonian) -> bool:
    return all(np.array_equal(values, np.rint(values)) for values in (ham.couplings, ham.fields))


def assert_energies(energy: torch.Tensor, ham: H.Hamiltonian, spins: torch.Tensor) -> None:
    """Exact for integer couplings and fields, else 1e-12 of the largest energy that there can be."""
    expected = ham.energy(spins)
    assert energy.dtype == torch.float64
    assert energy.shape == expected.shape
    scale = 0.0 if is_integer(ham) else float(np.abs(ham.couplings).sum() + np.abs(ham.fields).sum())
    torch.testing.assert_close(energy.cpu(), expected, rtol=0, atol=1e-12 * scale)


# A batch whose spins are more than 2^31 bytes, for each kind.
LARGE = [
    (H.IsingSquare(64, field=1.0), 2**19 + 77),
    (H.EdwardsAnderson((64, 64), "gaussian"), 2**19 + 77),
    (H.SherringtonKirkpatrick(1024), 2**21 + 77),
    (H.CurieWeiss(4097, h=0.5), 2**19 + 77),
]


def need_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no NVIDIA GPU on this machine")


def assert_energies_past_2_31(evaluate: Callable[[torch.Tensor], torch.Tensor], index: int) -> None:
    """Rows on both sides of byte 2^31, and the last ones, on a GPU."""
    ham, count = LARGE[index]
    assert count * ham.num_sites > 2**31
    generator = torch.Generator("cuda").manual_seed(index)
    spins = torch.empty((count, ham.num_sites), dtype=torch.int8, device="cuda")
    for part in spins.split(2**17):
        part.random_(0, 2, generator=generator).mul_(2).sub_(1)
    energy = evaluate(spins)
    for first in (0, 2**31 // ham.num_sites - 40, count - 80):
        assert_energies(energy[first : first + 80], ham, spins[first : first + 80].cpu())


def assert_captured(evaluate: Callable[[torch.Tensor], torch.Tensor], ham: H.Hamiltonian) -> None:
    """A captured evaluation, replayed on other spins, gives theirs."""
    spins, others = (draw_spins(300, ham.num_sites, seed=seed).cuda() for seed in (1, 2))
    evaluate(spins)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        energy = evaluate(spins)
    spins.copy_(others)
    graph.replay()
    assert_energies(energy, ham, others.cpu())
