"""Runs of Markov chains on a GPU: chains in groups that fit into memory, their sweeps in pieces, draws to the CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from vanfast import backends
from vanfast.backends.engines.base import selected, stream_of
from vanfast.errors import BackendUnavailable
from vanfast.mcmc._device_tables import Colours

_PIECE_UPDATES = 2**32  # spins tried before the host looks at signals and tells progress
_GROUP_BYTES = 2**30  # of fields or draws of the chains that run together


class Gpu(NamedTuple):
    module: Any
    device: torch.device

    def put(self, values: np.ndarray) -> torch.Tensor:
        """A copy on the device; unsigned numbers as the signed ones that torch knows."""
        same = values.view(values.dtype.str.replace("u", "i")) if values.dtype.kind == "u" else values
        return torch.from_numpy(np.array(same, order="C")).to(self.device)

    def zeros(self, *shape: int) -> torch.Tensor:
        """Counters, int64."""
        return torch.zeros(shape, dtype=torch.int64, device=self.device)

    @property
    def where(self) -> dict[str, int]:
        return {"device": self.device.index or 0, "stream": stream_of(self.device)}

    @property
    def shared_limit(self) -> int:
        return int(self.module.device_properties(self.device.index or 0)["shared_bytes"])

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def find_gpu() -> Gpu:
    """The GPU that chains run on: torch's current one. Raises BackendUnavailable where there is none."""
    backend: Any = backends.get("cuda")
    if reason := backend.unavailable():
        raise BackendUnavailable(f"backend 'cuda' cannot run here: {reason}; backend='cpu' runs all chains")
    return Gpu(backend.native(), backend.current_device())


class Kernel(ABC):
    """A system's tables on a GPU.

    Attributes:
        order: of the sites; None for raster order.
        chain_bytes: memory that a chain takes.
        tried: spins that a sweep of a chain tries.
    """

    gpu: Gpu
    num_sites: int
    order: Colours | None
    chain_bytes: int
    tried: int

    @abstractmethod
    def begin(self, group: Group) -> Callable[..., None]:
        """Starts a group; gives what launches a piece of its run."""


class Group:
    """Chains begin .. begin + chains - 1 of a run: their spins on the device, `walkers` that the module takes."""

    def __init__(self, kernel: Kernel, schedule: dict[str, Any], begin: int, chains: int) -> None:
        self.kernel, self.gpu, self.schedule = kernel, kernel.gpu, schedule
        self.begin, self.chains, self.first = begin, chains, schedule["first"] + begin
        order = kernel.order
        self._site = None if order is None else self.gpu.put(order.site)
        self._position = None if order is None else self.gpu.put(order.position)

    def start(self, replicas: int = 1, aligned: bool = False) -> dict[str, int]:
        """Spins at the start. aligned: words begin at multiples of 32 chains."""
        shift, count = self.first % 32 if aligned else 0, self.chains * replicas
        words = -(-(shift + count) // 32)
        self._state = torch.empty((words, self.kernel.num_sites), dtype=torch.int32, device=self.gpu.device)
        walkers = {
            "state": self._state.data_ptr(),
            "words": words,
            "sites": self.kernel.num_sites,
            "shift": shift,
            "count": count,
            "base": (self.first * replicas - shift) % 2**64,
            "seed": self.schedule["seed"],
        }
        start = self.schedule["start"]
        given = None if start is None else self.gpu.put(start[self.begin : self.begin + self.chains])
        self.gpu.module.mcmc_start(
            walkers=walkers, replicas=replicas, given=pointer(given), site=pointer(self._site), **self.gpu.where
        )
        return walkers

    def piece(self, done: int, sweeps: int, first_draw: int, draws: torch.Tensor) -> dict[str, int]:
        """What the module takes. draws: int8 [chains, draws, N], which draws from first_draw on go to."""
        return {
            "sweep": self.schedule["sweep"],
            "done": done,
            "sweeps": sweeps,
            "burn_in": self.schedule["burn_in"],
            "thin": self.schedule["thin"],
            "spins": draws.data_ptr(),
            "first_draw": first_draw,
            "draws": draws.shape[1],
            "position": pointer(self._position),
        }

    def run(self, launch: Callable[..., None], spins: np.ndarray) -> None:
        """All sweeps; draws go to spins int8 [all chains, draws, N]."""
        s, N = self.schedule, self.kernel.num_sites
        total = s["burn_in"] + s["draws"] * s["thin"]
        for done, sweeps, first, draws in _pieces(s, self.chains * self.kernel.tried, self.chains * N):
            buffer = torch.empty((self.chains, draws, N), dtype=torch.int8, device=self.gpu.device)
            launch(piece=self.piece(done, sweeps, first, buffer), **self.gpu.where)
            spins[self.begin : self.begin + self.chains, first : first + draws] = buffer.cpu().numpy()
            self.gpu.wait()
            if s["progress"] is not None:
                s["progress"](self.begin * total + self.chains * (done + sweeps))


def _pieces(schedule: dict[str, Any], updates: int, row_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """(sweeps done before, sweeps, number of the first draw, draws) of every piece."""
    burn_in, thin = schedule["burn_in"], schedule["thin"]
    total = burn_in + schedule["draws"] * thin
    done = 0
    while done < total:
        first = max(0, (done - burn_in) // thin)
        most_draws = max(1, _GROUP_BYTES // row_bytes)
        end = min(total, done + max(1, _PIECE_UPDATES // updates), burn_in + (first + most_draws) * thin)
        yield done, end - done, first, max(0, (end - burn_in) // thin) - first
        done = end


def run_groups(kernel: Kernel, schedule: dict[str, Any]) -> np.ndarray:
    """All chains of a run; their draws, int8 [chains, draws, N]."""
    chains, N = schedule["chains"], kernel.num_sites
    size = max(32, min(_GROUP_BYTES // kernel.chain_bytes, 2**30) // 32 * 32)
    spins = np.empty((chains, schedule["draws"], N), dtype=np.int8)
    with selected(kernel.gpu.device):
        for begin in range(0, chains, size):
            group = Group(kernel, schedule, begin, min(size, chains - begin))
            group.run(kernel.begin(group), spins)
    return spins


def sweeper(kernel: Kernel, chains: int, sweeps: int) -> Callable[[], None]:
    """What makes `sweeps` more sweeps of random chains, without draws, and without waiting for the device."""
    schedule = {"seed": 0, "first": 0, "sweep": 0, "burn_in": 0, "thin": 2**40, "start": None}
    group = Group(kernel, schedule, 0, chains)
    launch, done = kernel.begin(group), [0]
    none = torch.empty((chains, 0, kernel.num_sites), dtype=torch.int8, device=kernel.gpu.device)

    def run() -> None:
        launch(piece=group.piece(done[0], sweeps, 0, none), **kernel.gpu.where)
        done[0] += sweeps

    return run


def pointer(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
