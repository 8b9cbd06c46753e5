"""Small networks with a star prior, for the tests of the GPU engines: lattices, sparse and dense systems, all sizes of
couplings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vanfast.backends.reference import ReferenceProgram
from vanfast.hamiltonians import EdwardsAnderson, Hamiltonian, IsingSquare, IsingTriangular, Pairwise
from vanfast.hamiltonians import SherringtonKirkpatrick as SK
from vanfast.networks import MADE, Dense, PixelCNN
from vanfast.networks.base import LayeredNetwork
from vanfast.networks.plan import Plan


def random_system(N: int, bonds: float | None = None, scale: float = 1.0) -> Pairwise:
    """All pairs coupled, or each site to about `bonds` others, with fields."""
    rng = np.random.default_rng(N)
    J = np.triu(rng.normal(0, scale * N**-0.5, (N, N)), 1)
    if bonds is not None:
        J *= 3 * (rng.random((N, N)) < bonds / N)
    return Pairwise(J + J.T, rng.normal(0, 0.5, N))


def star(kind: type[LayeredNetwork], *sizes: Any, ham: Hamiltonian, beta: float, **options: Any) -> LayeredNetwork:
    return kind(*sizes, prior="star", ham=ham, beta=beta, **options)


def shuffled(N: int) -> list[int]:
    order: list[int] = torch.randperm(N, generator=torch.Generator().manual_seed(0)).tolist()
    return order


Make = Callable[[], LayeredNetwork]
OPEN = IsingSquare(shape=(3, 5), boundary="open", field=0.2)
CONVOLUTIONS: dict[str, Make] = {
    "open": lambda: star(PixelCNN, (3, 5), 3, 3, 2, z2=False, ham=OPEN, beta=0.5),
    "periodic z2": lambda: star(
        PixelCNN, (4, 3), 4, 5, 1, residual=True, z2=True, ham=IsingSquare(shape=(4, 3)), beta=0.44
    ),
    "cold": lambda: star(PixelCNN, (4, 4), 2, 3, 1, z2=False, ham=EdwardsAnderson((4, 4), seed=1), beta=40.0),
    "any system": lambda: star(PixelCNN, (3, 4), 1, 1, 1, z2=False, ham=random_system(12, scale=3), beta=0.9),
    "triangular": lambda: star(PixelCNN, (3, 3), 2, 3, 2, z2=False, ham=IsingTriangular(3, coupling=-1), beta=0.6),
    "one row": lambda: star(PixelCNN, (1, 7), 2, 3, 2, z2=False, ham=random_system(7, bonds=3), beta=1.0),
    "one column": lambda: star(PixelCNN, (7, 1), 2, 3, 1, z2=False, ham=random_system(7, bonds=3), beta=1.0),
    "conv one site": lambda: star(PixelCNN, (1, 1), 3, 2, 2, z2=False, ham=random_system(1), beta=1.0),
}
MASKED: dict[str, Make] = {
    "one layer": lambda: star(Dense, 33, ham=random_system(33), beta=0.8),
    "one layer cold": lambda: star(Dense, 17, ham=random_system(17), beta=40.0),
    "one layer z2": lambda: star(Dense, 11, z2=True, ham=SK(11, seed=2), beta=1.2),
    "one layer one site": lambda: star(Dense, 1, ham=random_system(1), beta=0.8),
    "one layer shuffled": lambda: star(MADE, 37, (), order=shuffled(37), ham=random_system(37, bonds=3), beta=0.8),
    "dense": lambda: star(Dense, 33, 3, 4, ham=random_system(33), beta=0.8),
    "dense residual": lambda: star(Dense, 17, 4, 2, residual=True, ham=random_system(17, bonds=3), beta=1.0),
    "dense one site": lambda: star(Dense, 1, 2, 2, ham=random_system(1), beta=0.8),
    "made shuffled": lambda: star(MADE, 19, (17, 9), order=shuffled(19), ham=random_system(19), beta=0.7),
    "made cold": lambda: star(MADE, 16, (20,), ham=EdwardsAnderson((4, 4), seed=2, boundary="open"), beta=40.0),
    "made no couplings": lambda: star(MADE, 10, (8,), ham=Pairwise(np.zeros((10, 10)), 0.3), beta=1.0),
}
NETWORKS = CONVOLUTIONS | MASKED


def network(name: str) -> LayeredNetwork:
    """Without its Z2 symmetry, which is not the engines'."""
    torch.manual_seed(sum(map(ord, name)))
    net = NETWORKS[name]()
    net.z2 = False
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def drawing_order(plan: Plan, spins: Tensor) -> Tensor:
    order = getattr(plan, "order", None)
    return spins if order is None else spins[:, order]


def logits_of(net: LayeredNetwork, spins: Tensor, precision: str = "fp32") -> Tensor:
    """float64 [B, N] in drawing order, of raster spins."""
    plan = net.plan()
    return ReferenceProgram(plan, False, precision).logits(drawing_order(plan, spins))
