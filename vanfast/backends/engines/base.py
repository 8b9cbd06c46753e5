"""What an engine is: packed weights and workspaces of one network on one device, and the launches that use them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vanfast.networks.plan import Plan, StarPriorPlan

PRECISION_CODES = {"fp32": 0, "tf32": 1, "bf16": 2}  # csrc/cuda


class Drawn(NamedTuple):
    """Samples of q_theta, before any Z2 symmetrisation, on the engine's device.

    kept: the pre-activations float32 of every linear layer in order (a pointwise layer counts, before its
    convolution), [count, Ly, Lx, C] for convolutions and [count, units] for masked layers; the last are the logits
    [count, N] in drawing order, of nests and of tables of the magnetisation the logits alone. () unless asked for. In
    bf16 they are those of the rounded network.
    """

    spins: Tensor  # int8 [count, N] in raster order
    log_q: Tensor  # float64 [count]
    kept: tuple[Tensor, ...]


class Engine(ABC):
    """One network shape in one precision on one device.

    Sample index n of a call is first + step[0] + n: `step`, an int64 tensor [1] on the device, moves on between the
    replays of a captured graph, which fix `first`. Nothing here waits for the device.
    """

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.num_sites, self.device = plan.num_sites, device

    @abstractmethod
    def load(self, plan: Plan) -> None:
        """Packs the plan's tensors, which lie on this device, into this engine's buffers, in place."""

    def load_prior(self, prior: StarPriorPlan) -> None:
        """Takes up the same prior at another temperature, in place. It comes from the host, so a captured `load` does
        not: who replays one calls this before. Nothing happens if it is the one that is here."""
        raise NotImplementedError(f"{type(self).__name__} adds no prior to logits")

    @abstractmethod
    def draw(self, count: int, seed: int, first: int, step: Tensor | None = None, keep: bool = False) -> Drawn:
        """Samples first + step[0] .. of `seed`. A sample depends on its index, not on count, first and step."""

    @abstractmethod
    def evaluate(self, spins: Tensor, keep: bool = False) -> Drawn:
        """The same arithmetic for given spins, int8 [count, N] in raster order: gives the log_q that `draw` gives."""


class CudaEngine(Engine):
    """An engine of csrc/cuda, which draws and evaluates by the same launches: spins come out of them, or go in."""

    def draw(self, count: int, seed: int, first: int, step: Tensor | None = None, keep: bool = False) -> Drawn:
        spins = torch.empty((count, self.num_sites), dtype=torch.int8, device=self.device)
        return self._run(spins, False, seed, first, step, keep)

    def evaluate(self, spins: Tensor, keep: bool = False) -> Drawn:
        check_spins(spins, self.num_sites, self.device)
        return self._run(spins.contiguous(), True, 0, 0, None, keep)

    @abstractmethod
    def _run(self, spins: Tensor, given: bool, seed: int, first: int, step: Tensor | None, keep: bool) -> Drawn:
        """Draws into `spins`, contiguous int8 [count, N], or scores what is `given` there."""

    def _call(
        self, spins: Tensor, log_q: Tensor, given: bool, seed: int, first: int, step: Tensor | None
    ) -> dict[str, Any]:
        """What every CUDA launch of a sampler takes: pointers as integers."""
        return {
            "spins": spins.data_ptr(),
            "log_q": log_q.data_ptr(),
            "count": len(spins),
            "seed": seed,
            "first": first,
            "step": 0 if step is None else step.data_ptr(),
            "given": given,
            "device": self.device.index or 0,
            "stream": stream_of(self.device),
        }


def selected(device: torch.device) -> AbstractContextManager[Any]:
    """Makes a GPU torch's current one: Triton launches there, wherever the tensors lie. Nothing on the CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def precision_code(precision: str) -> int:
    """The number of a precision. Raises ValueError for an unknown one."""
    if precision not in PRECISION_CODES:
        raise ValueError(f"precision = {precision!r} must be one of {', '.join(map(repr, PRECISION_CODES))}")
    return PRECISION_CODES[precision]


def check_spins(spins: Tensor, num_sites: int, device: torch.device) -> None:
    """Raises ValueError unless spins are int8 [count, num_sites] on the device."""
    if spins.dtype != torch.int8 or spins.shape[1:] != (num_sites,) or spins.device != device:
        raise ValueError(
            f"spins is {spins.dtype} {list(spins.shape)} on {spins.device}, expected torch.int8 "
            f"[count, {num_sites}] on {device}"
        )


def to_tf32(x: Tensor) -> Tensor:
    """float32 rounded to 10 bits after the leading one, ties away from zero."""
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def stream_of(device: torch.device) -> int:
    """The device's current stream as an integer, 0 on the CPU (emulated or interpreted kernels)."""
    return int(torch.cuda.current_stream(device).cuda_stream) if device.type == "cuda" else 0
