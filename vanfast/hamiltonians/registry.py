"""Hamiltonians by name, for the command line, and from what config() and arrays() gave."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vanfast.hamiltonians.base import Hamiltonian
from vanfast.hamiltonians.hopfield import Hopfield, orthogonal_patterns, random_patterns
from vanfast.hamiltonians.lattices import EdwardsAnderson, IsingCubic, IsingSquare, IsingTriangular
from vanfast.hamiltonians.neural import Neural
from vanfast.hamiltonians.pairwise import CurieWeiss, Pairwise, SherringtonKirkpatrick
from vanfast.hamiltonians.potts import Potts

CLASSES: dict[str, type[Hamiltonian]] = {
    cls.__name__: cls
    for cls in (
        IsingSquare,
        IsingTriangular,
        IsingCubic,
        EdwardsAnderson,
        Pairwise,
        SherringtonKirkpatrick,
        Hopfield,
        CurieWeiss,
        Potts,
        Neural,
    )
}


def _edwards_anderson(
    L: int | None = None,
    shape: Any = None,
    disorder: str = "pm",
    seed: int = 0,
    boundary: Any = "periodic",
    field: Any = 0.0,
) -> EdwardsAnderson:
    if (L is None) == (shape is None):
        raise ValueError(f"give either L or shape, got L={L!r} and shape={shape!r}")
    return EdwardsAnderson(L if shape is None else shape, disorder, seed, boundary, field)


def _hopfield(N: int, P: int = 2, seed: int = 0, orthogonal: bool = False) -> Hopfield:
    return Hopfield(orthogonal_patterns(P, N, seed) if orthogonal else random_patterns(P, N, seed))


MAKERS: dict[str, Callable[..., Hamiltonian]] = {
    "ising-square": IsingSquare,
    "ising-triangular": IsingTriangular,
    "ising-cubic": IsingCubic,
    "edwards-anderson": _edwards_anderson,
    "sherrington-kirkpatrick": SherringtonKirkpatrick,
    "sk": SherringtonKirkpatrick,
    "hopfield": _hopfield,
    "curie-weiss": CurieWeiss,
    "potts": Potts,
}


def names() -> list[str]:
    """All names that from_name knows."""
    return sorted(MAKERS)


def parameters(name: str) -> dict[str, Any]:
    """Keyword arguments that from_name takes for `name`, with their defaults (inspect.Parameter.empty: required)."""
    return {key: value.default for key, value in inspect.signature(_maker(name)).parameters.items()}


def from_name(name: str, **arguments: Any) -> Hamiltonian:
    """The Hamiltonian of a name, such as from_name("ising-square", L=16, coupling=-1.0).

    The arguments are those of the class; "edwards-anderson" takes L or shape, and "hopfield" takes N, P, seed and
    orthogonal, and draws its patterns.

    Raises:
        ValueError: an unknown name, an argument that this system does not have, or one that is missing.
    """
    maker = _maker(name)
    allowed = parameters(name)
    for key in arguments:
        if key not in allowed:
            raise ValueError(f"{name} has no argument {key!r}, it takes {', '.join(allowed)}")
    missing = [key for key, default in allowed.items() if default is inspect.Parameter.empty and key not in arguments]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}")
    return maker(**arguments)


def from_config(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> Hamiltonian:
    """The Hamiltonian whose config() and arrays() these are.

    Raises:
        ValueError: an unknown class, or an array that config refers to is not in arrays.
    """
    arguments = dict(config)
    name = arguments.pop("class", None)
    if name not in CLASSES:
        raise ValueError(f"config['class'] must be one of {', '.join(CLASSES)}, not {name!r}")
    for key, value in arguments.items():
        if isinstance(value, Mapping) and set(value) == {"array"}:
            if arrays is None or value["array"] not in arrays:
                raise ValueError(f"config refers to the array {value['array']!r}, which arrays does not hold")
            arguments[key] = arrays[value["array"]]
    try:
        return CLASSES[name]._from_arguments(arguments)
    except TypeError as error:
        raise ValueError(f"config of {name} does not fit: {error}") from None


def _maker(name: str) -> Callable[..., Hamiltonian]:
    if name not in MAKERS:
        raise ValueError(f"unknown system {name!r}, known are {', '.join(names())}")
    return MAKERS[name]
