"""Hamiltonians inside the description of a network: JSON that holds their arrays as well, bit for bit."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from vanfast import hamiltonians
from vanfast.hamiltonians import Hamiltonian

MAX_BETA = 1e100


def as_hamiltonian(ham: object) -> Hamiltonian:
    """`ham`; TypeError for anything that is not a Hamiltonian of spins +-1."""
    if not isinstance(ham, Hamiltonian):
        raise TypeError(f"ham must be a vanfast.hamiltonians.Hamiltonian, got {type(ham).__name__}")
    if ham.q is not None:
        raise TypeError(f"ham has sites of q = {ham.q} states; this network takes spins +-1 only")
    return ham


def as_beta(beta: object) -> float:
    """`beta` as a float; TypeError or ValueError when it is not a positive, finite inverse temperature."""
    try:
        value = float(beta)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"beta = {beta!r} must be a positive number") from None
    if isinstance(beta, bool) or not math.isfinite(value) or not 0 < value <= MAX_BETA:
        raise ValueError(f"beta = {beta!r} must be positive and at most {MAX_BETA:g}")
    return value


def described(ham: Hamiltonian) -> dict[str, Any]:
    """The Hamiltonian as JSON values, arrays as base64 of their little-endian bytes."""
    config, arrays = ham.config(), ham.arrays()
    encoded = {name: _encoded(array) for name, array in sorted(arrays.items())}
    return {"config": config, "arrays": encoded}


def from_description(description: Any) -> Hamiltonian:
    """The inverse of `described`. Raises TypeError or ValueError for anything else."""
    if not isinstance(description, dict) or not isinstance(description.get("arrays"), dict):
        raise ValueError("hamiltonian must be a dict with a 'config' and its 'arrays'")
    if not isinstance(description.get("config"), dict):
        raise ValueError("hamiltonian must be a dict with a 'config' and its 'arrays'")
    arrays = {name: _decoded(name, value) for name, value in description["arrays"].items()}
    try:
        return hamiltonians.from_config(description["config"], arrays)
    except KeyError as error:
        raise ValueError(f"hamiltonian lacks {error}") from None


def taken_out(arguments: dict[str, Any]) -> tuple[Hamiltonian, dict[str, Any]]:
    """The Hamiltonian of a network's description, and the other arguments of its class."""
    ham = from_description(arguments.get("hamiltonian"))
    if arguments.get("N") != ham.num_sites:
        raise ValueError(f"N = {arguments.get('N')!r} must be the {ham.num_sites} sites of hamiltonian")
    return ham, {name: value for name, value in arguments.items() if name not in ("N", "hamiltonian")}


def _encoded(array: np.ndarray) -> dict[str, Any]:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode("ascii")
    return {"dtype": little.dtype.str, "shape": list(array.shape), "base64": text}


def _decoded(name: str, value: Any) -> np.ndarray:
    try:
        dtype = np.dtype(value["dtype"])
        if dtype.hasobject:
            raise ValueError(f"of {dtype}")
        raw = base64.b64decode(value["base64"], validate=True)
        return np.frombuffer(raw, dtype).reshape(value["shape"]).astype(dtype.newbyteorder("="))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"hamiltonian has an array {name} that cannot be read: {error}") from None
