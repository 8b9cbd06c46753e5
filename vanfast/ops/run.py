"""Networks and Hamiltonians rebuilt from their descriptions, and run with the tensors of a call: what kernels do.

The networks are kept, so that a call costs no construction; the engines pack parameters only when these have changed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from vanfast import hamiltonians, networks
from vanfast.hamiltonians import Hamiltonian
from vanfast.networks.layers import LinearLayer
from vanfast.ops.description import parsed
from vanfast.ops.engine_gradient import add_gradients, can_differentiate
from vanfast.sampler import Sampler

KEPT = 16  # networks, and Hamiltonians
DTYPES = (torch.float32, torch.float64)


class Runner:
    """A network of one description, dtype and device, which takes the parameters of one call after the other."""

    def __init__(self, network: str, dtype: torch.dtype, device: torch.device) -> None:
        self.net = _build(network).to(device, dtype).requires_grad_(False)
        self._own = list(self.net.parameters())
        self._names = [name for name, _ in self.net.named_parameters()]
        self._samplers: dict[tuple[str, str], Sampler] = {}
        self._lock = threading.Lock()  # of the parameters in use

    def sample(
        self, parameters: Sequence[Tensor], count: int, seed: int, first: int, backend: str, precision: str
    ) -> tuple[Tensor, Tensor]:
        """Spins int8 [count, N] and ln q float64 [count], where the backend computes."""
        with self._holding(parameters):
            batch = self._sampler(backend, precision).sample(count, seed, first)
        return batch.spins, batch.log_q

    def log_prob(self, parameters: Sequence[Tensor], spins: Tensor, backend: str, precision: str) -> Tensor:
        """ln q, float64 [B], by the backend, or in float64 by torch for float64 parameters. No gradient."""
        with self._holding(parameters):
            if self.net.dtype == torch.float64 and precision == "fp32":
                for name, parameter in zip(self._names, parameters, strict=True):
                    if not bool(parameter.isfinite().all()):
                        raise FloatingPointError(f"the network's parameter {name} holds values that are not finite")
                with torch.no_grad():
                    return self.net.log_prob(spins)
            return self._sampler(backend, precision).log_prob(spins)

    def gradients(self, parameters: Sequence[Tensor], spins: Tensor, grad: Tensor, precision: str) -> list[Tensor]:
        """Gradients of sum_n grad[n] ln q(s_n), in the shapes of the parameters, by torch's own operations."""
        with self._holding(parameters), self._rounding(precision), recording():
            self.net.requires_grad_(True)
            try:
                found = torch.autograd.grad(self.net.log_prob(spins), self._own, grad, materialize_grads=True)
            finally:
                self.net.requires_grad_(False)
        return [gradient.contiguous() for gradient in found]

    def engine_gradients(
        self, parameters: Sequence[Tensor], spins: Tensor, grad: Tensor, precision: str
    ) -> list[Tensor] | None:
        """`gradients` by the kernels of a GPU; None where there are none for this network."""
        if not can_differentiate(self.net, self._own[0].device):
            return None
        with self._holding(parameters), torch.no_grad():
            self.net.requires_grad_(True)
            try:
                add_gradients(self.net, spins, grad.to(self._own[0].device), precision)
                return [torch.zeros_like(mine) if mine.grad is None else mine.grad for mine in self._own]
            finally:
                self.net.zero_grad(set_to_none=True)
                self.net.requires_grad_(False)

    def differentiable(self, parameters: Sequence[Tensor], spins: Tensor, precision: str) -> Tensor:
        """ln q, float64 [B], by torch's own operations, as a function of the given tensors."""
        self._check(parameters)
        with self._lock, self._rounding(precision):
            log_q: Tensor = functional_call(self.net, dict(zip(self._names, parameters, strict=True)), (spins,))
        return log_q

    @contextmanager
    def _rounding(self, precision: str) -> Iterator[None]:
        """In bf16 every layer has the rounded one's values and the float32 one's derivatives, as in the engines'
        backward passes."""
        layers = [m for m in self.net.modules() if isinstance(m, LinearLayer)] if precision == "bf16" else []
        hook = StraightThrough()
        handles = [layer.register_forward_hook(hook) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _sampler(self, backend: str, precision: str) -> Sampler:
        key = backend, precision
        if key not in self._samplers:
            self._samplers[key] = Sampler(self.net, backend=backend, precision=precision)
        return self._samplers[key]

    @contextmanager
    def _holding(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        """The network with the given values, by reference, for the length of a call."""
        self._check(parameters)
        with self._lock:
            before = [mine.data for mine in self._own]
            try:
                for mine, given in zip(self._own, parameters, strict=True):
                    mine.data = given.detach()
                yield
            finally:
                for mine, data in zip(self._own, before, strict=True):
                    mine.data = data

    def _check(self, parameters: Sequence[Tensor]) -> None:
        kind = type(self.net).__name__
        if len(parameters) != len(self._own):
            expected = ", ".join(f"{name} {list(p.shape)}" for name, p in zip(self._names, self._own, strict=True))
            raise ValueError(f"parameters has {len(parameters)} tensors, this {kind} has {expected}")
        for i, (name, mine, given) in enumerate(zip(self._names, self._own, parameters, strict=True)):
            if given.shape != mine.shape:
                shapes = f"{list(given.shape)}, expected {list(mine.shape)}"
                raise ValueError(f"parameters[{i}], which is {name} of a {kind}, has shape {shapes}")
            if given.dtype != mine.dtype or given.device != mine.device:
                raise ValueError(
                    f"parameters[{i}], which is {name} of a {kind}, is {given.dtype} on {given.device}, "
                    f"but parameters[0] is {mine.dtype} on {mine.device}"
                )


class StraightThrough:
    """A forward hook: the layer's output is that of its weight and input rounded to bf16, its derivatives are not."""

    def __init__(self) -> None:
        self._inside = False

    def __call__(self, layer: LinearLayer, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if self._inside:
            return None
        self._inside = True
        try:
            with torch.no_grad():
                rounded = functional_call(layer, {"weight": _to_bf16(layer.weight)}, (_to_bf16(inputs[0]), *inputs[1:]))
        finally:
            self._inside = False
        return output + (rounded - output).detach()


def _to_bf16(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x)


_RECORDING = [
    getattr(torch._C.DispatchKey, name)
    for name in ("AutogradFunctionality", "AutogradOther", "AutogradNestedTensor", "ADInplaceOrView")
]


@contextmanager
def recording() -> Iterator[None]:
    """Lets autograd record inside a kernel: where a mode or another operation's derivative is at work, the dispatcher
    calls kernels with autograd's keys excluded, and `torch.enable_grad` alone does nothing."""
    exclude = torch._C._dispatch_tls_local_exclude_set()
    for key in _RECORDING:
        exclude = exclude.remove(key)
    guard = torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), exclude)
    with guard, torch.enable_grad():
        yield


def runner(parameters: Sequence[Tensor], network: str) -> Runner:
    """The runner for a description and for tensors of this dtype and device.

    Raises ValueError for text that describes no network and for parameters of another dtype than float32 and float64.
    """
    if not parameters:
        raise ValueError("parameters is empty; every network has some")
    if parameters[0].dtype not in DTYPES:
        raise ValueError(f"parameters[0] is {parameters[0].dtype}, must be torch.float32 or torch.float64")
    return _runner(network, parameters[0].dtype, parameters[0].device)


@lru_cache(maxsize=KEPT)
def _runner(network: str, dtype: torch.dtype, device: torch.device) -> Runner:
    return Runner(network, dtype, device)


def _build(network: str) -> networks.Network:
    config = parsed(network, "network")
    try:
        # A caller's modes are not to shape what is kept for others; a seed leaves torch's generator alone.
        with torch.inference_mode(False), torch.device("cpu"):
            return networks.from_config({**config, "seed": 0})
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"network does not describe a network: {error}") from error


_systems: deque[tuple[str, list[np.ndarray], Hamiltonian]] = deque(maxlen=KEPT)


def system(arrays: Sequence[Tensor], hamiltonian: str) -> Hamiltonian:
    """The Hamiltonian of a description and of its arrays, by name. Raises ValueError when they do not fit."""
    given = [array.detach().cpu().numpy() for array in arrays]
    for text, known, ham in tuple(_systems):
        if text == hamiltonian and len(known) == len(given) and all(map(_same, known, given)):
            return ham
    config = parsed(hamiltonian, "hamiltonian")
    named = sorted(value["array"] for value in config.values() if isinstance(value, dict) and "array" in value)
    if len(named) != len(given):
        raise ValueError(f"arrays has {len(given)} tensors, hamiltonian names {', '.join(named) or 'none'}")
    copies = [array.copy() for array in given]
    try:
        ham = hamiltonians.from_config(config, dict(zip(named, copies, strict=True)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"hamiltonian does not describe a Hamiltonian: {error}") from error
    _systems.append((hamiltonian, [array.copy() for array in copies], ham))
    return ham


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)


def signed(value: int) -> int:
    """64 bits read as a signed number: how torch's schemas take seeds and sample indices."""
    return value - 2**64 if value >= 2**63 else value


def unsigned(value: int) -> int:
    """The inverse of `signed`."""
    return value % 2**64
