"""What an operation is told besides tensors: text that says which network or Hamiltonian, canonical JSON of its config.

Only classes of this package and their arguments can be named, nothing is unpickled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch

from vanfast.hamiltonians import Hamiltonian
from vanfast.networks import Network

Function = TypeVar("Function", bound=Callable[..., Any])


def _constant(function: Function) -> Function:
    """`torch.compiler.assume_constant_result`, whose own import would load the whole compiler: torch.compile calls the
    function while it traces, and compiles again for another network or Hamiltonian."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_constant
def of_network(net: Network) -> str:
    """The text for `net`. Raises TypeError for anything else."""
    if not isinstance(net, Network):
        raise TypeError(f"net must be a vanfast.networks.Network, got {type(net).__name__}")
    return canonical(net.config())


@_constant
def of_hamiltonian(ham: Hamiltonian) -> str:
    """The text for `ham`, in which arrays are only named. Raises TypeError for anything else."""
    return _described(ham)[0]


@_constant
def arrays_of(ham: Hamiltonian) -> list[torch.Tensor]:
    """The arrays that the text for `ham` names, in the order of their names, on the CPU."""
    return list(_described(ham)[1])


_DESCRIBED: WeakKeyDictionary[Hamiltonian, tuple[str, list[torch.Tensor]]] = WeakKeyDictionary()


def _described(ham: Hamiltonian) -> tuple[str, list[torch.Tensor]]:
    if not isinstance(ham, Hamiltonian):
        raise TypeError(f"ham must be a vanfast.hamiltonians.Hamiltonian, got {type(ham).__name__}")
    if ham not in _DESCRIBED:  # Hamiltonians never change
        arrays = ham.arrays()
        _DESCRIBED[ham] = canonical(ham.config()), [torch.tensor(arrays[name]) for name in sorted(arrays)]
    return _DESCRIBED[ham]


def canonical(config: dict[str, Any]) -> str:
    """JSON with sorted names and no spaces."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=256)
def parsed(text: str, argument: str) -> dict[str, Any]:
    """The config that `canonical` wrote. Raises ValueError, naming the argument, for text that holds no such thing."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{argument} is not JSON, as `vanfast.ops` writes it: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("class"), str):
        raise ValueError(f"{argument} must be a JSON object with a 'class', got {text[:80]!r}")
    return config


def num_sites(network: str) -> int:
    """N of the network, without building it. Raises ValueError when the text does not tell."""
    config = parsed(network, "network")
    size = config.get("shape", config.get("N"))
    sides = size if isinstance(size, list) else [size]
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"network has no number of sites: shape and N are {size!r}")
    return math.prod(sides)
