"""What a backend is: it compiles a network into a program that draws samples and evaluates ln q."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network
    from vanfast.networks.plan import LayerGradient, NestGradient

PRECISIONS = ("fp32", "tf32", "bf16")


class Kept(ABC):
    """Samples, or given spins, with what the backward pass needs of the pass that drew or scored them."""

    spins: torch.Tensor
    log_q: torch.Tensor
    energy: torch.Tensor | None

    @abstractmethod
    def gradient(self, weight: torch.Tensor) -> list[LayerGradient] | list[NestGradient]:
        """Gradient of sum_n weight[n] ln q(s_n) with respect to the plan's tensors, for `Network.add_gradient`: an
        entry for each layer, one for a NestPlan, and one for a MagnetizationPlan, with its table as weight.

        weight: float64 [count]. Only the backward pass is computed. In bf16 it is the straight-through gradient: of the
        float32 network, at the pre-activations that the rounded one had. On a GPU the operands of its products are
        rounded too, to bf16 or tf32.
        """


class Program(ABC):
    """A network with its weights at the time of compilation."""

    @abstractmethod
    def sample(
        self, count: int, seed: int, first: int, ham: Hamiltonian | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Samples first .. first + count - 1 of `seed`: spins int8 [count, N] in raster order, ln q float64 [count] of
        the distribution that was sampled, and energies float64 [count] when `ham` is given, all on one device.

        Sample n is a function of (network, precision, seed, n, backend) alone, whatever count, first and threads are.
        """

    def sample_and_keep(self, count: int, seed: int, first: int, ham: Hamiltonian | None = None) -> Kept | None:
        """The same samples as `sample`, ready for their gradient; None where there is no backward pass for it."""
        return None

    def evaluate_and_keep(self, spins: Any) -> Kept | None:
        """Given spins [B, N], B >= 1, with the ln q that `log_prob` gives, ready for their gradient; None where there
        is no backward pass for it. The energy is None."""
        return None

    @abstractmethod
    def log_prob(self, spins: Any) -> torch.Tensor:
        """ln q(s), float64 [B], of the distribution that `sample` draws from. No gradient."""

    def load(self, net: Network) -> bool:
        """Takes the present weights of the network it was compiled from; False where it must be compiled again."""
        return False


class Backend(ABC):
    """One way to run networks. `name` is what users select it by."""

    name: str

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why this backend cannot run on this machine, or None if it can."""

    @abstractmethod
    def refuses(self, net: Network, precision: str) -> str | None:
        """Why this backend cannot run this network in this precision, or None if it can."""

    @abstractmethod
    def compile(self, net: Network, precision: str, threads: int | None, isa: str | None = None) -> Program:
        """A program for the network's present weights. `threads` None means all cores; `isa` forces an instruction set
        where the backend has several. Raises ValueError for an instruction set that is unknown or missing here."""
