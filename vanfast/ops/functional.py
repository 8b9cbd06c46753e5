"""The operations for networks and Hamiltonians, in eager torch and inside torch.compile(fullgraph=True)."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vanfast.ops import description
from vanfast.ops.run import signed

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network


def sample(net: Network, count: int, seed: int = 0, first: int = 0, precision: str = "fp32") -> tuple[Tensor, Tensor]:
    """Samples first .. first + count - 1 of `seed`: spins int8 [count, N] and ln q float64 [count], without gradients.

    They are those of `vanfast.Sampler(net, precision=precision)`, by the C++ engine for a network on the CPU and by a
    GPU backend for one on a GPU, and lie where the network does.

    Raises:
        TypeError, ValueError: arguments that do not fit, a network that the engine refuses (float64 parameters).
        FloatingPointError: parameters that are not finite, activations that overflow.
    """
    text = description.of_network(net)
    index = _word("seed", seed), _word("first", first)
    spins, log_q = torch.ops.vanfast.sample(_detached(net), text, _integer("count", count), *index, precision)
    return spins, log_q


def log_prob(net: Network, spins: Tensor | np.ndarray, precision: str = "fp32") -> Tensor:
    """ln q(s), float64 [B], on the network's device, differentiable with respect to its parameters.

    spins: +1 and -1 in any real dtype, [B, N], [B, *shape] or [N]. The value is the engine's, of the rounded network
    where the precision rounds; for float64 parameters it is torch's. The gradient is that of `net.log_prob`, in bf16 at
    the pre-activations of the rounded network. A second derivative is taken by torch.

    Raises:
        TypeError, ValueError: spins that are not +1 and -1 or of another size, a precision that the engine refuses.
        FloatingPointError: parameters that are not finite.
    """
    text = description.of_network(net)
    parameters = _parameters(net)
    rows = _configurations(spins).to(parameters[0].device)
    log_q: Tensor = torch.ops.vanfast.log_prob(parameters, text, rows, precision)
    return log_q


def energy(ham: Hamiltonian, spins: Tensor | np.ndarray) -> Tensor:
    """E(s), float64 [B], of spins as for `log_prob`, on their device. Raises what `ham.energy` does."""
    text, arrays = description.of_hamiltonian(ham), description.arrays_of(ham)
    values: Tensor = torch.ops.vanfast.energy(arrays, text, _configurations(spins))
    return values


def _detached(net: Network) -> list[Tensor]:
    return [parameter.detach() for parameter in _parameters(net)]


def _parameters(net: Network) -> list[Tensor]:
    parameters: list[Tensor] = list(net.parameters())
    if not parameters:
        kind = type(net).__name__
        raise ValueError(f"net = {kind} has no parameters that could be passed; use vanfast.Sampler and net.log_prob")
    return parameters


def _word(name: str, value: int) -> int:
    """A seed or sample index as schemas take it."""
    number = _integer(name, value)
    if not 0 <= number < 2**64:
        raise ValueError(f"{name} = {number} must be in [0, {2**64 - 1}]")
    return signed(number)


def _integer(name: str, value: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # as it is: under torch.compile it may be symbolic, so that another one compiles nothing
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} = {value!r} must be an integer")
    return operator.index(value)


def _configurations(spins: Tensor | np.ndarray) -> Tensor:
    """Spins as [B, ...] flattened to [B, N]; the kernels check the size and the values."""
    given = torch.as_tensor(spins)
    return given.flatten(1) if given.ndim > 1 else given.reshape(1, -1)
