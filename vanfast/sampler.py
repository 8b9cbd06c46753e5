"""Drawing samples with their exact log-probabilities and energies, on any backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vanfast import backends
from vanfast.errors import BackendUnavailable
from vanfast.networks import Network

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples: `spins` int8 [count, N] in raster order, `log_q` = ln q(s) and `energy` = E(s), float64 [count].

    For a network over sites of q states `spins` holds these, 0 .. q - 1. All lie where the backend computes: CPU
    or GPU.
    """

    spins: torch.Tensor
    log_q: torch.Tensor
    energy: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.spins)

    def cpu(self) -> Batch:
        """The same samples on the CPU."""
        return Batch(self.spins.cpu(), self.log_q.cpu(), None if self.energy is None else self.energy.cpu())


class Sampler:
    """Draws from `net`; with `ham`, gives the energy of every sample too.

    backend: a name of `vanfast.backends.available()`; "auto" takes that of VANFAST_BACKEND, or else runs the network
    where its parameters lie. precision: "fp32", "tf32" (GPU) or "bf16"; `log_q` is always that of the rounded network
    that was sampled. threads of a CPU, None means all cores. isa: forces an instruction set of a backend that has
    several. Changes of the network's parameters are noticed at the next call.

    Raises TypeError or ValueError for arguments that do not fit, BackendUnavailable when the backend cannot run here.
    """

    def __init__(
        self,
        net: Network,
        ham: Hamiltonian | None = None,
        backend: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        isa: str | None = None,
    ) -> None:
        _check(net, ham, precision, threads)
        self.net, self.ham, self.precision, self.threads, self.isa = net, ham, precision, threads, isa
        self._backend = backends.choose(backend, net.device)
        self._program: backends.Program | None = None
        self._state: dict[str, torch.Tensor] | None = None
        if reason := self._backend.unavailable():
            raise BackendUnavailable(f"backend {self._backend.name!r} cannot run here: {reason}")
        self.refresh()

    @property
    def backend(self) -> str:
        """Name of the backend in use."""
        return self._backend.name

    def refresh(self) -> None:
        """Compiles the network's present parameters. `sample` does so by itself when they have changed.

        Raises FloatingPointError for parameters that are not finite, ValueError when the backend refuses the network.
        """
        if reason := self._backend.refuses(self.net, self.precision):
            raise ValueError(f"backend {self._backend.name!r} cannot run this {type(self.net).__name__}: {reason}")
        state = {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()}
        for name, tensor in state.items():
            if not bool(tensor.isfinite().all()):
                raise FloatingPointError(f"the network's parameter {name} holds values that are not finite")
        if self._program is None or not self._program.load(self.net):
            self._program = self._backend.compile(self.net, self.precision, self.threads, self.isa)
        self._state, self._prior = state, self.net.prior

    def forget(self) -> None:
        """Says that the program was given other weights meanwhile: it takes the network's at the next call."""
        self._state = None

    @property
    def program(self) -> backends.Program:
        """The network's present parameters, compiled."""
        state = self.net.state_dict()
        # Values are compared, not version counters: these do not move when a parameter's .data is written to.
        known, moved = self._state, self.net.prior is not self._prior
        if self._program is None or known is None or moved or not _same([(known[name], state[name]) for name in known]):
            self.refresh()
        assert self._program is not None
        return self._program

    def sample(self, count: int, seed: int = 0, first: int = 0) -> Batch:
        """Samples first .. first + count - 1 of `seed`.

        Sample n depends on the network, the precision, the backend, the seed and n alone: not on count, first, threads
        or how a run is cut into calls. Raises ValueError unless count >= 0, 0 <= seed < 2**64 and
        0 <= first <= 2**64 - count, FloatingPointError when activations overflow.
        """
        _check_indices(count, seed, first)
        spins, log_q, energy = self.program.sample(int(count), int(seed), int(first), self._pairs)
        batch = Batch(spins, log_q, self._energy(spins) if energy is None else energy)
        if not _finite(batch.log_q):
            raise FloatingPointError("ln q is not finite: the network's activations overflow its precision")
        return batch

    def sample_and_keep(self, count: int, seed: int = 0, first: int = 0) -> backends.Kept | None:
        """The same samples, ready for their gradient; None where the backend has no backward pass for this network."""
        _check_indices(count, seed, first)
        kept = self.program.sample_and_keep(int(count), int(seed), int(first), self._pairs)
        if kept is not None and kept.energy is None:
            kept.energy = self._energy(kept.spins)
        return kept

    @property
    def _pairs(self) -> Hamiltonian | None:
        """The Hamiltonian where the program can evaluate it, which is one of pairs."""
        return self.ham if self.ham is None or getattr(self.ham, "is_pairwise", True) else None

    def _energy(self, spins: torch.Tensor) -> torch.Tensor | None:
        return None if self.ham is None else self.ham.energy(spins, threads=self.threads)

    def evaluate_and_keep(self, spins: Any) -> backends.Kept | None:
        """Given spins [B, N] with their ln q, ready for its gradient: one pass forward now, one backward when that is
        asked for. None where the backend has no backward pass for this network, or B = 0.

        Raises ValueError for spins that are not +-1 (states: 0 .. q - 1) or of another size.
        """
        return self.program.evaluate_and_keep(spins)

    def log_prob(self, spins: Any) -> torch.Tensor:
        """ln q(s), float64 [B], of the network as this sampler runs it, rounded in bf16 say. No gradient."""
        return self.program.log_prob(spins)


def _finite(values: torch.Tensor) -> bool:
    if values.device.type == "cpu":
        return bool(np.isfinite(values.numpy()).all())  # torch would wake its team of threads
    return bool(values.isfinite().all())


def _same(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    """Whether both tensors of every pair hold the same values; waits for a GPU once."""
    on_device = []
    for a, b in pairs:
        if a.dtype != b.dtype or a.device != b.device or a.shape != b.shape:
            return False
        if a.device.type != "cpu":
            on_device.append((a, b.detach()))
        # torch.equal would wake torch's team of threads, which then spins for a while on the engine's cores.
        elif not np.array_equal(a.numpy(), b.detach().numpy()):
            return False
    return not on_device or _same_values(on_device)


def _same_values(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    """The same of tensors of equal shapes, in few launches however many there are."""
    known, present = zip(*pairs, strict=True)
    return torch.equal(*(torch.cat([tensor.reshape(-1) for tensor in tensors]) for tensors in (known, present)))


def _check(net: Network, ham: Hamiltonian | None, precision: str, threads: int | None) -> None:
    if not isinstance(net, Network):
        raise TypeError(f"net must be a vanfast.networks.Network, got {type(net).__name__}")
    if precision not in backends.PRECISIONS:
        raise ValueError(f"precision = {precision!r} must be one of {', '.join(map(repr, backends.PRECISIONS))}")
    if threads is not None:
        _check_integer("threads", threads, 1, 2**31 - 1)
    if ham is None:
        return
    if not hasattr(ham, "energy") or not hasattr(ham, "num_sites"):
        raise TypeError(f"ham must be a vanfast.hamiltonians.Hamiltonian, got {type(ham).__name__}")
    if ham.num_sites != net.num_sites:
        raise ValueError(f"ham has {ham.num_sites} sites and net has {net.num_sites}; they must be equal")
    if getattr(ham, "q", None) != net.q:
        kinds = [f"{q} states" if q else "spins +-1" for q in (getattr(ham, "q", None), net.q)]
        raise ValueError(f"the sites of ham have {kinds[0]} and those of net {kinds[1]}; they must be alike")
    if len(ham.shape) == len(net.shape) == 2 and tuple(ham.shape) != net.shape:
        raise ValueError(f"ham is a {tuple(ham.shape)} lattice and net a {net.shape} one; they must be equal")


def _check_indices(count: int, seed: int, first: int) -> None:
    for name, value in (("count", count), ("seed", seed), ("first", first)):
        _check_integer(name, value, 0, 2**64 - 1)
    if int(first) + int(count) > 2**64:
        raise ValueError(f"first = {first} with count = {count} goes past the last sample index, 2**64 - 1")


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} = {value!r} must be an integer")
    if not low <= int(value) <= high:
        raise ValueError(f"{name} = {value} must be in [{low}, {high}]")
