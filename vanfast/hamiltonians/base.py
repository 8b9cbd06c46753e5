"""The base of all spin systems: E(s) = -sum_{i<j} J_ij s_i s_j - sum_i h_i s_i."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar, overload

import numpy as np
import torch

from vanfast import _cpu
from vanfast._spins import as_spins


class Hamiltonian:
    """A system of N Ising spins with pair couplings and fields; J > 0 is ferromagnetic, each pair counts once.

    Sites are numbered in raster order of `shape`. Energies are extensive float64; the inverse temperature is
    never part of a Hamiltonian. Objects do not change after construction.

    Attributes:
        num_sites: N.
        shape: the lattice, (N,) where there is none.
        q: number of states of a site, where these stand in place of spins (Potts); None for spins.
    """

    is_pairwise: ClassVar[bool] = True  # whether it has edges, couplings and fields
    num_sites: int
    shape: tuple[int, ...]
    q: int | None = None

    def __init__(self, shape: tuple[int, ...], fields: np.ndarray) -> None:
        self.shape = shape
        self.num_sites = math.prod(shape)
        self._fields = _frozen(fields)

    def _bonds(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs int32 [M, 2] with i < j, each once, sorted, and their couplings float64 [M]."""
        raise NotImplementedError

    @cached_property
    def _bond_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        edges, couplings = self._bonds()
        return _frozen(edges), _frozen(couplings)

    @property
    def edges(self) -> np.ndarray:
        """Coupled pairs, int32 [M, 2], read-only: i < j in every row, each pair once, rows sorted."""
        return self._bond_arrays[0]

    @property
    def couplings(self) -> np.ndarray:
        """J_ij of every row of `edges`, float64 [M], read-only."""
        return self._bond_arrays[1]

    @property
    def num_edges(self) -> int:
        """M, the number of coupled pairs; fully connected models know it without listing them."""
        return len(self.edges)

    @property
    def fields(self) -> np.ndarray:
        """h_i, float64 [N], read-only."""
        return self._fields

    @property
    def is_z2_symmetric(self) -> bool:
        """Whether E(-s) = E(s): no site has a field."""
        return not self._fields.any()

    def to_dense(self) -> np.ndarray:
        """The couplings as a symmetric float64 [N, N] with zero diagonal."""
        dense = np.zeros((self.num_sites, self.num_sites))
        i, j = self.edges.T
        dense[i, j] = dense[j, i] = self.couplings
        return dense

    @cached_property
    def native(self) -> _cpu.EnergyModel:
        """The C++ form of this Hamiltonian, made at first use."""
        return self._make_native()

    def _make_native(self) -> _cpu.EnergyModel:
        return _cpu.EnergyModel(self.num_sites, self.edges, self.couplings, self.fields)

    @overload
    def energy(self, spins: torch.Tensor, threads: int | None = None) -> torch.Tensor: ...
    @overload
    def energy(self, spins: np.ndarray, threads: int | None = None) -> np.ndarray: ...

    def energy(self, spins: torch.Tensor | np.ndarray, threads: int | None = None) -> torch.Tensor | np.ndarray:
        """Energies E(s) of a batch of configurations; exact where couplings and fields are integers.

        Args:
            spins: +1 and -1 of any integer or floating dtype, [N], [B, N] or [B, *shape], torch or numpy.
            threads: CPU threads, None for all. The result does not depend on it, nor on the batch.

        Returns:
            float64 [B]: a torch tensor on the device of `spins` for a tensor, a numpy array for an array.

        Raises:
            TypeError, ValueError: spins of another shape or with other values than +1 and -1; threads below 1.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1 or None, not {threads}")
        rows = as_spins(spins, self.num_sites, check_values=False)
        energy = torch.empty(rows.shape[0], dtype=torch.float64)
        self.native.evaluate(rows.numpy(), energy.numpy(), threads or 0)
        return energy.to(spins.device) if isinstance(spins, torch.Tensor) else energy.numpy()

    def config(self) -> dict[str, Any]:
        """The class and its arguments, JSON-able; an array stands as {"array": name} and is found in arrays()."""
        config: dict[str, Any] = {"class": type(self).__name__}
        for name, value in self._arguments().items():
            config[name] = {"array": name} if isinstance(value, np.ndarray) else value
        return config

    def arrays(self) -> dict[str, np.ndarray]:
        """The array arguments that config() refers to."""
        return {name: value for name, value in self._arguments().items() if isinstance(value, np.ndarray)}

    def _arguments(self) -> dict[str, Any]:
        """Keyword arguments that make this object again."""
        raise NotImplementedError

    @classmethod
    def _from_arguments(cls, arguments: dict[str, Any]) -> Hamiltonian:
        return cls(**arguments)

    def describe(self) -> str:
        """One line for people: the kind of system, its size and its number of bonds."""
        size = "x".join(str(length) for length in self.shape)
        field = "" if self.is_z2_symmetric else ", with a field"
        return f"{type(self).__name__} {size}, {self.num_sites} sites, {self.num_edges} bonds{field}"

    def __repr__(self) -> str:
        arguments = (
            f"{name}=<{'x'.join(str(n) for n in value.shape)} array>"
            if isinstance(value, np.ndarray)
            else f"{name}={value!r}"
            for name, value in self._arguments().items()
        )
        return f"{type(self).__name__}({', '.join(arguments)})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "native"}


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def gather_bonds(num_sites: int, i: np.ndarray, j: np.ndarray, couplings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted unique pairs int32 [M, 2] with i < j and their couplings; couplings of the same pair add."""
    low, high = np.minimum(i, j).astype(np.int64), np.maximum(i, j).astype(np.int64)
    keys, inverse = np.unique(low * num_sites + high, return_inverse=True)
    total = np.zeros(len(keys))
    np.add.at(total, inverse, couplings)
    edges = np.stack([keys // num_sites, keys % num_sites], axis=1).astype(np.int32)
    return edges, total
