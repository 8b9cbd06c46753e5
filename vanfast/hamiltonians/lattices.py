"""Ising models on rectangular lattices: square, triangular, cubic, and Edwards-Anderson spin glasses."""

from __future__ import annotations

from typing import Any

import numpy as np

from vanfast.hamiltonians._checks import as_array, as_count, as_fields, as_seed, as_shape
from vanfast.hamiltonians.base import Hamiltonian, gather_bonds

Steps = tuple[tuple[int, ...], ...]
BOUNDARIES = ("periodic", "open")


class Lattice(Hamiltonian):
    """A lattice in which every site has one bond in each direction d, to the site at `steps[d]` from it.

    Couplings are one number, one number a direction [D], or one number a bond [D, *shape]: entry [d, y, x] belongs
    to the bond that leaves site (y, x) in direction d. Entries of bonds that do not exist are not read.

    Boundaries: a bond across an open edge does not exist. Where a periodic direction has length 2 its two bonds
    join the same pair, and their couplings add, as Kaufman's formula counts them on the torus. Across a direction
    of length 1 a bond would join a site with itself, a constant; every bond that steps in such a direction is
    left out, so that a 1 x N lattice is a chain.

    `steps` are made of 0 and 1.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        steps: Steps,
        coupling: Any,
        boundary: Any,
        field: Any,
    ) -> None:
        super().__init__(shape, as_fields(field, shape))
        self.boundary = _boundary(boundary, len(shape))
        self.steps = steps
        self.coupling = _couplings(coupling, steps, shape)
        self.field = _plain(field, self.fields)
        self._bond_arrays  # noqa: B018  refuses NaN in couplings of existing bonds at construction

    def bonds_of(self, direction: int) -> tuple[np.ndarray, np.ndarray]:
        """Which sites have their bond in a direction, bool [*shape], and couplings, real ones or not."""
        boundaries = (self.boundary,) * len(self.shape) if isinstance(self.boundary, str) else self.boundary
        exists = np.ones(self.shape, dtype=bool)
        for axis, (length, hop) in enumerate(zip(self.shape, self.steps[direction], strict=True)):
            if hop and length == 1:
                exists[:] = False
            elif hop and boundaries[axis] == "open":
                exists[(slice(None),) * axis + (length - 1,)] = False
        return exists, np.broadcast_to(_of_direction(self.coupling, direction), self.shape)

    def _bonds(self) -> tuple[np.ndarray, np.ndarray]:
        site = np.arange(self.num_sites).reshape(self.shape)
        here, there, strength = [], [], []
        for direction, step in enumerate(self.steps):
            exists, values = self.bonds_of(direction)
            neighbour = np.roll(site, [-hop for hop in step], axis=tuple(range(len(step))))
            if not np.isfinite(values[exists]).all():
                where = [int(i) for i in np.argwhere(exists & ~np.isfinite(values))[0]]
                raise ValueError(
                    f"coupling must be finite, found {values[tuple(where)]} on the bond of site {where} "
                    f"in direction {direction}, to the site at step {list(step)}"
                )
            here.append(site[exists])
            there.append(neighbour[exists])
            strength.append(values[exists])
        return gather_bonds(self.num_sites, np.concatenate(here), np.concatenate(there), np.concatenate(strength))

    def _arguments(self) -> dict[str, Any]:
        boundary = self.boundary if isinstance(self.boundary, str) else list(self.boundary)
        return {"shape": list(self.shape), "coupling": self.coupling, "boundary": boundary, "field": self.field}


class IsingSquare(Lattice):
    """Ising model on the square lattice, any rectangle.

    Args:
        L: side of an L x L lattice; or give `shape`.
        coupling: J > 0 ferromagnetic; one number, [2] (along x, along y) or [2, Ly, Lx], see `Lattice`.
        boundary: "periodic", "open", or one of them for each of (y, x).
        field: h, one number, [N] or [Ly, Lx].
        shape: (Ly, Lx); site (y, x) has number y * Lx + x.
    """

    # direction 0 steps to (y, x + 1), direction 1 to (y + 1, x)
    STEPS: Steps = ((0, 1), (1, 0))

    def __init__(
        self,
        L: int | None = None,
        coupling: Any = 1.0,
        boundary: Any = "periodic",
        field: Any = 0.0,
        *,
        shape: Any = None,
    ) -> None:
        super().__init__(_extent(L, shape, 2), self.STEPS, coupling, boundary, field)


class IsingTriangular(Lattice):
    """Ising model on the triangular lattice: the square one with a bond from (y, x) to (y + 1, x + 1) too.

    Arguments as for IsingSquare; couplings [3] or [3, Ly, Lx], direction 2 is the diagonal.
    """

    STEPS: Steps = ((0, 1), (1, 0), (1, 1))

    def __init__(
        self,
        L: int | None = None,
        coupling: Any = 1.0,
        boundary: Any = "periodic",
        field: Any = 0.0,
        *,
        shape: Any = None,
    ) -> None:
        super().__init__(_extent(L, shape, 2), self.STEPS, coupling, boundary, field)


class IsingCubic(Lattice):
    """Ising model on the simple cubic lattice.

    Arguments as for IsingSquare with shape (Lz, Ly, Lx); couplings [3] or [3, Lz, Ly, Lx], directions x, y, z.
    """

    STEPS: Steps = ((0, 0, 1), (0, 1, 0), (1, 0, 0))

    def __init__(
        self,
        L: int | None = None,
        coupling: Any = 1.0,
        boundary: Any = "periodic",
        field: Any = 0.0,
        *,
        shape: Any = None,
    ) -> None:
        super().__init__(_extent(L, shape, 3), self.STEPS, coupling, boundary, field)


class EdwardsAnderson(Lattice):
    """Spin glass on a chain, square or cubic lattice, or a hypercubic one of any dimension.

    The couplings are drawn for all [D, *shape] bonds in this order by numpy's legacy generator (whose streams are
    frozen) whatever the boundary, so an open lattice has the same couplings inside as a periodic one.

    Args:
        shape: lattice lengths, or one integer L for (L, L).
        disorder: "pm" for +1 and -1 with equal probability, "gaussian" for mean 0 and variance 1.
        seed: of the couplings, in [0, 2**32).
        boundary, field: as for IsingSquare.
    """

    def __init__(
        self, shape: Any, disorder: str = "pm", seed: int = 0, boundary: Any = "periodic", field: Any = 0.0
    ) -> None:
        if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
            shape = (shape, shape)
        lengths = as_shape(shape, "shape")
        if disorder not in ("pm", "gaussian"):
            raise ValueError(f"disorder must be 'pm' or 'gaussian', not {disorder!r}")
        self.disorder = disorder
        self.seed = as_seed(seed)
        dimension = len(lengths)
        steps = tuple(tuple(int(axis == dimension - 1 - d) for axis in range(dimension)) for d in range(dimension))
        generator = np.random.RandomState(self.seed)
        size = (dimension, *lengths)
        if disorder == "pm":
            couplings = np.where(generator.random_sample(size) < 0.5, 1.0, -1.0)
        else:
            couplings = generator.normal(size=size)
        super().__init__(lengths, steps, couplings, boundary, field)

    def _arguments(self) -> dict[str, Any]:
        arguments = super()._arguments()
        del arguments["coupling"]
        return {**arguments, "disorder": self.disorder, "seed": self.seed}


def _extent(L: int | None, shape: Any, dimension: int) -> tuple[int, ...]:
    if (L is None) == (shape is None):
        raise ValueError(f"give either L or shape, got L={L!r} and shape={shape!r}")
    return as_shape((as_count(L, "L"),) * dimension if shape is None else shape, "shape", (dimension,))


def _boundary(boundary: Any, dimension: int) -> str | tuple[str, ...]:
    if isinstance(boundary, str) and boundary in BOUNDARIES:
        return boundary
    axes = tuple(boundary) if isinstance(boundary, (list, tuple)) else ()
    if len(axes) == dimension and all(isinstance(axis, str) and axis in BOUNDARIES for axis in axes):
        return axes[0] if len(set(axes)) == 1 else axes
    raise ValueError(f"boundary must be 'periodic', 'open' or a list of {dimension} of them, not {boundary!r}")


def _couplings(coupling: Any, steps: Steps, shape: tuple[int, ...]) -> float | np.ndarray:
    array = as_array(coupling, "coupling")
    directions = len(steps)
    if array.ndim == 0:
        return float(array)
    if array.shape not in ((directions,), (directions, *shape)):
        raise ValueError(
            f"coupling has shape {list(array.shape)}, expected one number, [{directions}] (one a direction) or "
            f"{[directions, *shape]} (one a bond)"
        )
    array.flags.writeable = False
    return array


def _of_direction(coupling: float | np.ndarray, direction: int) -> Any:
    return coupling[direction] if isinstance(coupling, np.ndarray) else coupling


def _plain(field: Any, fields: np.ndarray) -> float | np.ndarray:
    """The field as the caller gave it, one number or an array, so that config() stays short."""
    return float(fields[0]) if np.ndim(field) == 0 else fields
