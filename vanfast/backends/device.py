"""Programs that run on a GPU: an engine draws; what is left (Z2 symmetry, chunks, energies, gradients) is done here.

With Z2 the flipped configurations go through the same engine as given spins: q(s) = (q_theta(s) + q_theta(-s)) / 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from vanfast._spins import as_spins
from vanfast.backends.base import Kept, Program
from vanfast.backends.engines.base import Drawn, Engine, selected
from vanfast.hamiltonians import Hamiltonian
from vanfast.networks.plan import LayerGradient, MaskedPlan, MixturePlan, NestGradient, Plan, PrefixPlan, moved

if TYPE_CHECKING:
    from vanfast.networks import Network

LN2 = math.log(2)
BATCH_LIMIT = 1 << 17  # samples a launch: bounds what an engine writes besides its results


class Energy(Protocol):
    """Energies of spins on the device, without waiting for it."""

    def evaluate(self, spins: Tensor) -> Tensor: ...


Symmetrize = Callable[[Tensor, Tensor, Tensor, int, int, "Tensor | None"], Tensor]
Gradients = list[LayerGradient] | list[NestGradient]  # as `Kept.gradient` gives them
Gradient = Callable[[Plan, Tensor, "tuple[Tensor, ...]", Tensor, str], Gradients]


@dataclass(frozen=True)
class Operations:
    """What a backend has besides its engines. `gradient` None: no backward pass, training differentiates by torch."""

    symmetrize: Symmetrize
    energy: Callable[[Hamiltonian, torch.device], Energy]
    gradient: Gradient | None


class DeviceProgram(Program):
    """A network on a device. All results stay there."""

    def __init__(self, plan: Plan, z2: bool, precision: str, engine: Engine, operations: Operations) -> None:
        self.engine, self.device = engine, engine.device
        self.plan, self.z2, self.precision, self._operations = plan, z2, precision, operations
        self._energy: tuple[Any, Any] = (None, None)

    def load(self, net: Network) -> bool:
        """Takes the network's present parameters, in place."""
        self.plan = moved(net.plan(), self.device)
        self.engine.load(self.plan)
        return True

    def load_prior(self, net: Network) -> None:
        """Takes the network's present prior, in place; `load` does, too, but not where it is captured in a graph."""
        if net.prior is not None:
            self.engine.load_prior(net.prior.plan())

    def sample(
        self, count: int, seed: int, first: int, ham: Hamiltonian | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        parts = [
            self.draw(min(BATCH_LIMIT, count - start), seed, first + start, ham)
            for start in range(0, max(count, 1), BATCH_LIMIT)
        ]
        if len(parts) == 1:
            return parts[0].spins, parts[0].log_q, parts[0].energy
        spins, log_q = (torch.cat([getattr(part, name) for part in parts]) for name in ("spins", "log_q"))
        energies = [part.energy for part in parts if part.energy is not None]
        return spins, log_q, torch.cat(energies) if energies else None

    def sample_and_keep(self, count: int, seed: int, first: int, ham: Hamiltonian | None = None) -> DeviceKept | None:
        if self._operations.gradient is None or isinstance(self.plan, MixturePlan | PrefixPlan) or count == 0:
            return None
        return self.draw(count, seed, first, ham, keep=True)

    def draw(
        self,
        count: int,
        seed: int,
        first: int,
        ham: Hamiltonian | None = None,
        step: Tensor | None = None,
        keep: bool = False,
    ) -> DeviceKept:
        """Samples first + step[0] .. in one launch an engine call; nothing waits for the device."""
        with selected(self.device):
            passes = [self.engine.draw(count, seed, first, step, keep)]
            spins, log_q = passes[0].spins, passes[0].log_q
            if self.z2:
                passes.append(self.engine.evaluate(-spins, keep))
                passes[1] = passes[1]._replace(spins=-spins)
                spins = spins.clone()
                log_q = self._operations.symmetrize(spins, log_q, passes[1].log_q, seed, first, step)
        return DeviceKept(self, passes, spins, log_q, None if ham is None else self.energy(ham, spins))

    def evaluate_and_keep(self, spins: Any) -> DeviceKept | None:
        given = as_spins(spins, self.engine.num_sites, device=self.device)
        if self._operations.gradient is None or isinstance(self.plan, MixturePlan) or not len(given):
            return None
        with selected(self.device):
            passes = [self.engine.evaluate(given, keep=True)]
            log_q = passes[0].log_q
            if self.z2:
                passes.append(self.engine.evaluate(-given, keep=True))
                log_q = torch.logaddexp(log_q, passes[1].log_q) - LN2
        return DeviceKept(self, passes, given, log_q, None)

    def log_prob(self, spins: Any) -> Tensor:
        given = as_spins(spins, self.engine.num_sites, device=self.device)
        parts = [self._log_q(part) for part in given.split(BATCH_LIMIT)] if len(given) else []
        return torch.cat([*parts, torch.empty(0, dtype=torch.float64, device=self.device)])

    def _log_q(self, spins: Tensor) -> Tensor:
        with selected(self.device):
            log_q = self.engine.evaluate(spins).log_q
            if not self.z2:
                return log_q
            return torch.logaddexp(log_q, self.engine.evaluate(-spins).log_q) - LN2

    def energy(self, ham: Hamiltonian, spins: Tensor) -> Tensor:
        """E(s), float64 [B], of spins on the device."""
        if self._energy[0] is not ham:
            self._energy = ham, self._operations.energy(ham, self.device)
        result: Tensor = self._energy[1].evaluate(spins)
        return result

    def gradient(self, plan: Plan, passes: list[Drawn], weight: Tensor) -> Gradients:
        """Gradient of sum_n weight[n] ln q(s_n): with Z2 each pass counts by its share of q."""
        assert self._operations.gradient is not None
        weights = shares([drawn.log_q for drawn in passes], weight)
        total: Any = []
        for drawn, part in zip(passes, weights, strict=True):
            spins = _drawing_order(plan, drawn.spins)
            with selected(self.device):
                found = self._operations.gradient(plan, spins, drawn.kept, part, self.precision)
            total = [_sum(a, b) for a, b in zip(total, found, strict=True)] if total else found
        gradients: Gradients = total
        return gradients


def shares(log_q: list[Tensor], weight: Tensor) -> list[Tensor]:
    """weight [B] shared out among ln q_theta(s) and, with Z2, ln q_theta(-s), float64 [B], by their parts of q(s)."""
    if len(log_q) == 1:
        return [weight]
    share = torch.sigmoid(log_q[0] - log_q[1])
    return [weight * share, weight * (1 - share)]


def _drawing_order(plan: Plan, spins: Tensor) -> Tensor:
    order = plan.order if isinstance(plan, MaskedPlan) else None
    return spins if order is None else spins[:, order]


class DeviceKept(Kept):
    """Samples with the pre-activations of every pass: the spins as drawn or given and, with Z2, their mirror images."""

    def __init__(
        self, program: DeviceProgram, passes: list[Drawn], spins: Tensor, log_q: Tensor, energy: Tensor | None
    ) -> None:
        self.spins, self.log_q, self.energy = spins, log_q, energy
        self._program, self._passes = program, passes
        self._plan = program.plan  # that of the draw: the program may have taken other weights since

    def gradient(self, weight: Tensor) -> Gradients:
        return self._program.gradient(self._plan, self._passes, weight.detach().to(self.log_q))


def _sum(a: Any, b: Any) -> Any:
    """Of two LayerGradients, or of two NestGradients."""
    return type(a)(**{name: None if x is None else x + getattr(b, name) for name, x in vars(a).items()})
