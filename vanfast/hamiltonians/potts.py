"""The Potts model: sites of q states whose neighbours gain energy where they agree."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NoReturn, overload

import numpy as np
import torch

from vanfast import _cpu
from vanfast._spins import as_spins
from vanfast.hamiltonians._checks import as_array, as_count, as_shape, finite
from vanfast.hamiltonians.base import Hamiltonian
from vanfast.hamiltonians.lattices import Lattice
from vanfast.hamiltonians.pairwise import Pairwise

MOST_STATES = 127  # states are int8


class Potts(Hamiltonian):
    """E(s) = -sum_{i<j} J_ij [s_i = s_j] - sum_i h_{s_i} for states s_i in 0 .. q - 1.

    R. B. Potts, Proc. Camb. Phil. Soc. 48, 106 (1952). With q = 2 it is the Ising model of half the couplings, and an
    energy shift of minus half their sum. `edges` and `couplings` are those of all Hamiltonians; fields are the same at
    all sites, one for each state. What needs spins +-1 (`fields`, `native`, `to_dense`) raises TypeError.

    Args:
        L: side of an L x L lattice; or give `shape`, the lengths of a chain, square, cubic or hypercubic lattice, with
            bonds along the axes.
        q: number of states, 2 .. 127.
        coupling: J > 0 ferromagnetic; one number, [D] or [D, *shape], direction 0 along the last axis, as in `Lattice`.
        boundary: "periodic", "open", or one of them for each axis; see `Lattice` for lengths 1 and 2.
        field: h_k, [q], which favours state k at every site; None for none.
    """

    q: int

    def __init__(
        self,
        L: int | None = None,
        q: int = 3,
        coupling: Any = 1.0,
        boundary: Any = "periodic",
        field: Any = None,
        *,
        shape: Any = None,
    ) -> None:
        if (L is None) == (shape is None):
            raise ValueError(f"give either L or shape, got L={L!r} and shape={shape!r}")
        lengths = (as_count(L, "L"),) * 2 if shape is None else as_shape(shape, "shape")
        size = len(lengths)
        steps = tuple(tuple(int(axis == size - 1 - d) for axis in range(size)) for d in range(size))
        self._set(Lattice(lengths, steps, coupling, boundary, 0.0), q, field)

    @classmethod
    def on(cls, system: Hamiltonian, q: int = 3, field: Any = None) -> Potts:
        """The Potts model with the bonds J_ij of an Ising system, whatever its fields: `Potts.on(Pairwise(J), q=4)`,
        `Potts.on(IsingTriangular(6))`, a Potts glass `Potts.on(EdwardsAnderson((8, 8)))`."""
        if not isinstance(system, Hamiltonian):
            raise TypeError(f"system must be a vanfast.hamiltonians.Hamiltonian, got {type(system).__name__}")
        potts = cls.__new__(cls)
        potts._set(system, q, field)
        return potts

    def _set(self, system: Hamiltonian, q: int, field: Any) -> None:
        self.q = as_count(q, "q", minimum=2)
        if self.q > MOST_STATES:
            raise ValueError(f"q must be at most {MOST_STATES}, not {q}")
        super().__init__(system.shape, np.zeros(system.num_sites))
        state_fields = np.zeros(self.q) if field is None else finite(as_array(field, "field"), "field")
        if state_fields.shape != (self.q,):
            raise ValueError(f"field has shape {list(state_fields.shape)}, expected [{self.q}], one for each state")
        state_fields.flags.writeable = False
        self.state_fields, self._system = state_fields, system
        self._bond_arrays  # noqa: B018  refuses NaN in couplings of existing bonds at construction

    def _bonds(self) -> tuple[np.ndarray, np.ndarray]:
        return self._system.edges.copy(), self._system.couplings.copy()

    @property
    def is_symmetric(self) -> bool:
        """Whether E does not change under permutations of the states: no state has a field of its own."""
        return bool((self.state_fields == self.state_fields[0]).all())

    @property
    def is_z2_symmetric(self) -> bool:
        """False: -s is no configuration of states."""
        return False

    @property
    def fields(self) -> np.ndarray:
        self._only_for_spins("fields")

    @property
    def native(self) -> _cpu.EnergyModel:
        self._only_for_spins("native")

    def to_dense(self) -> np.ndarray:
        self._only_for_spins("to_dense")

    def _only_for_spins(self, name: str) -> NoReturn:
        raise TypeError(f"a Potts Hamiltonian has sites of q = {self.q} states: what needs {name} takes spins +-1 only")

    @cached_property
    def _engine(self) -> _cpu.PottsEnergy:
        return _cpu.PottsEnergy(self.num_sites, self.edges, self.couplings, self.state_fields)

    @overload
    def energy(self, spins: torch.Tensor, threads: int | None = None) -> torch.Tensor: ...
    @overload
    def energy(self, spins: np.ndarray, threads: int | None = None) -> np.ndarray: ...

    def energy(self, spins: torch.Tensor | np.ndarray, threads: int | None = None) -> torch.Tensor | np.ndarray:
        """Energies, float64 [B], of states 0 .. q - 1 of any integer or floating dtype, [N], [B, N] or [B, *shape];
        otherwise as `Hamiltonian.energy`."""
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1 or None, not {threads}")
        rows = as_spins(spins, self.num_sites, check_values=False, q=self.q)
        energy = torch.empty(rows.shape[0], dtype=torch.float64)
        self._engine.evaluate(rows.numpy(), energy.numpy(), threads or 0)
        return energy.to(spins.device) if isinstance(spins, torch.Tensor) else energy.numpy()

    def _arguments(self) -> dict[str, Any]:
        field = self.state_fields if self.state_fields.any() else None
        if type(self._system) is Lattice:
            arguments = self._system._arguments()
            return {"shape": arguments["shape"], "q": self.q, **arguments, "field": field}
        bonds = {"num_sites": self.num_sites, "edges": self.edges, "couplings": self.couplings}
        return {**bonds, "shape": list(self.shape), "q": self.q, "field": field}

    @classmethod
    def _from_arguments(cls, arguments: dict[str, Any]) -> Hamiltonian:
        if "edges" not in arguments:
            return cls(**arguments)
        bonds = {name: arguments[name] for name in ("num_sites", "edges", "couplings", "shape")}
        return cls.on(Pairwise.from_edges(**bonds), arguments["q"], arguments["field"])

    def describe(self) -> str:
        size = "x".join(str(length) for length in self.shape)
        field = ", with a field" if self.state_fields.any() else ""
        return f"Potts q={self.q} {size}, {self.num_sites} sites, {self.num_edges} bonds{field}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_engine"}
