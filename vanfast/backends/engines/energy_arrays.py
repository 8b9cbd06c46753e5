"""What the energy kernels of GPUs read, CUDA C++ and Triton alike: a Hamiltonian as one of four kinds of arrays.

lattice   one coupling a direction, up to its sign: bonds are counted on bits, exact.
patterns  couplings (J / N) sum_mu xi_i xi_j: squares of overlaps, exact integers (Hopfield, Curie-Weiss).
dense     most pairs coupled: spins x couplings in float64.
bonds     anything else: a list of bonds, a field being a bond to a spin that is always +1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vanfast.backends.engines.base import selected
from vanfast.hamiltonians import CurieWeiss, Hamiltonian, Hopfield, Lattice

LARGEST_LATTICE = 1_300_000  # sites whose bits one warp keeps in shared memory, 163 KiB on Ampere
DENSE_SHARE = 0.4  # of all pairs; a listed bond takes 5 issue slots for 32 samples, a pair of a dense matrix 2
LARGEST_DENSE = 16_384  # sites: 1 GiB of couplings
ROWS = 4  # of the dense matrix that a thread adds up together


@dataclass(frozen=True)
class LatticeArrays:
    """Rows of `width` sites; the bond of a site (r, x) in direction d goes to row neighbour[d, r], -1 for no bond, and
    to column x, or x + 1 where step[d] is 1 (open) or 2 (periodic).

    values: J of every direction and the uniform field, float64 [D + 1]; bonds: their number in each direction,
    int32 [D]; signs: bits int32 [D, rows, ceil(width / 32)] set where a bond's coupling is -J, None if nowhere;
    fields: float64 [N] where they are not uniform.
    """

    rows: int
    width: int
    neighbour: Tensor
    step: Tensor
    values: Tensor
    bonds: Tensor
    signs: Tensor | None
    fields: Tensor | None


@dataclass(frozen=True)
class PatternArrays:
    """bits: int32 [P, ceil(N / 32)], set where xi is -1; values: J / N and the uniform field, float64 [2]."""

    bits: Tensor
    values: Tensor


@dataclass(frozen=True)
class DenseArrays:
    """couplings: the strict lower triangle in blocks of four rows, column after column: block b stands at 8 b (b + 1)
    as [4 b + 4, 4], entry [j, r] is J[4 b + r, j], or 0 on and above the diagonal. fields: float64 [4 blocks]."""

    couplings: Tensor
    fields: Tensor


@dataclass(frozen=True)
class BondArrays:
    """edges: int32 [M, 2], site N standing for +1; couplings: float64 [M]."""

    edges: Tensor
    couplings: Tensor


EnergyArrays = LatticeArrays | PatternArrays | DenseArrays | BondArrays


class EnergyOnDevice(ABC):
    """E(s) of one Hamiltonian on one device, its arrays uploaded once. Nothing here waits for the device.

    A sample's terms are added in an order that depends on the Hamiltonian alone.
    """

    def __init__(self, ham: Hamiltonian, device: torch.device | str) -> None:
        self.device, self.kind, self.num_sites = torch.device(device), energy_kind(ham), ham.num_sites
        self.arrays = energy_arrays(ham, self.device)

    def evaluate(self, spins: Tensor) -> Tensor:
        """float64 [count] of spins +-1, int8 [count, N] on the device; their values are not checked."""
        if spins.dtype != torch.int8 or spins.ndim != 2 or spins.shape[1] != self.num_sites:
            raise ValueError(
                f"spins is {spins.dtype} {list(spins.shape)}, expected torch.int8 [count, {self.num_sites}]"
            )
        if spins.device.type != self.device.type:
            raise ValueError(f"spins are on {spins.device}, this Hamiltonian's arrays on {self.device}")
        with selected(spins.device):
            return self._launch(spins.contiguous())

    @abstractmethod
    def _launch(self, spins: Tensor) -> Tensor:
        """The energies of checked spins."""


def energy_kind(ham: Hamiltonian) -> str:
    """Which kernel evaluates the energies of `ham`: "lattice", "patterns", "dense" or "bonds"."""
    if not isinstance(ham, Hamiltonian):
        raise TypeError(f"ham must be a vanfast.hamiltonians.Hamiltonian, got {type(ham).__name__}")
    if isinstance(ham, CurieWeiss | Hopfield):
        return "patterns"
    if isinstance(ham, Lattice) and ham.num_sites <= LARGEST_LATTICE and _strengths(ham) is not None:
        return "lattice"
    pairs = ham.num_sites * (ham.num_sites - 1) // 2
    return "dense" if ham.num_sites <= LARGEST_DENSE and ham.num_edges > DENSE_SHARE * pairs else "bonds"


def energy_arrays(ham: Hamiltonian, device: torch.device) -> EnergyArrays:
    """The arrays of `energy_kind(ham)` on `device`."""
    kind = energy_kind(ham)
    if kind == "lattice":
        return _lattice(ham, device)
    if kind == "patterns":
        return _patterns(ham, device)
    return _dense(ham, device) if kind == "dense" else _bonds(ham, device)


def _strengths(ham: Lattice) -> list[float] | None:
    """J of every direction if the couplings of a direction differ by their sign alone, else None."""
    strengths = []
    for direction, step in enumerate(ham.steps):
        exists, couplings = ham.bonds_of(direction)
        values = couplings[exists]
        if not {*step} <= {0, 1} or len(np.unique(np.abs(values))) > 1:
            return None
        same = len(np.unique(values)) < 2
        strengths.append(0.0 if not len(values) else float(values[0] if same else abs(values[0])))
    return strengths


def _lattice(ham: Hamiltonian, device: torch.device) -> LatticeArrays:
    assert isinstance(ham, Lattice)
    strengths = _strengths(ham)
    assert strengths is not None
    *lead, width = ham.shape
    row = np.arange(ham.num_sites // width).reshape(*lead, 1)
    neighbour, steps, bonds, signs = [], [], [], []
    for direction, step in enumerate(ham.steps):
        exists, couplings = ham.bonds_of(direction)
        there = np.roll(row, [*(-hop for hop in step[:-1]), 0], axis=tuple(range(len(step))))
        neighbour.append(np.where(exists[..., :1], there, -1).ravel())
        steps.append(1 + bool(exists[..., -1].any()) if step[-1] else 0)
        bonds.append(int(exists.sum()))
        signs.append((couplings * exists == -strengths[direction]) & exists & (strengths[direction] > 0))
    uniform = bool((ham.fields == ham.fields[0]).all())
    return LatticeArrays(
        rows=row.size,
        width=width,
        neighbour=_int32(neighbour, device),
        step=_int32(steps, device),
        values=torch.tensor([*strengths, ham.fields[0] if uniform else 0.0], dtype=torch.float64, device=device),
        bonds=_int32(bonds, device),
        signs=_bits(np.stack(signs).reshape(len(steps), row.size, width), device) if np.any(signs) else None,
        fields=None if uniform else torch.tensor(ham.fields, device=device),
    )


def _patterns(ham: Hamiltonian, device: torch.device) -> PatternArrays:
    if isinstance(ham, Hopfield):
        patterns, coupling, field = ham.patterns, 1.0, 0.0
    else:
        assert isinstance(ham, CurieWeiss)
        patterns, coupling, field = np.ones((1, ham.num_sites)), ham.J, ham.h
    values = torch.tensor([coupling / ham.num_sites, field], dtype=torch.float64, device=device)
    return PatternArrays(_bits(patterns < 0, device), values)


def _dense(ham: Hamiltonian, device: torch.device) -> DenseArrays:
    blocks = -(-ham.num_sites // ROWS)
    lower = np.zeros((ROWS * blocks, ROWS * blocks))
    lower[: ham.num_sites, : ham.num_sites] = np.tril(ham.to_dense(), -1)
    packed = [lower[ROWS * b : ROWS * b + ROWS, : ROWS * b + ROWS].T.ravel() for b in range(blocks)]
    fields = np.zeros(ROWS * blocks)
    fields[: ham.num_sites] = ham.fields
    return DenseArrays(torch.tensor(np.concatenate(packed), device=device), torch.tensor(fields, device=device))


def _bonds(ham: Hamiltonian, device: torch.device) -> BondArrays:
    sites = np.flatnonzero(ham.fields)
    fields = np.stack([sites, np.full(len(sites), ham.num_sites)], axis=1)
    couplings = torch.tensor(np.concatenate([ham.couplings, ham.fields[sites]]), device=device)
    return BondArrays(_int32(np.concatenate([ham.edges, fields]), device), couplings)


def _int32(values: object, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(values, dtype=np.int32), device=device)


def _bits(flags: np.ndarray, device: torch.device) -> Tensor:
    """Flags [..., N] as int32 [..., ceil(N / 32)], the first in the lowest bit."""
    words = -(-flags.shape[-1] // 32)
    padded = np.zeros((*flags.shape[:-1], 32 * words), dtype=bool)
    padded[..., : flags.shape[-1]] = flags
    packed = np.packbits(padded, axis=-1, bitorder="little").view("<u4").astype(np.uint32)
    return torch.tensor(packed.view(np.int32), device=device)
