"""The C++ CPU engine: hands a network's plan to vanfast._cpu and wraps its arrays."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vanfast._spins import as_spins
from vanfast.backends.base import Backend, Kept, Program
from vanfast.networks.plan import (
    CategoricalPlan,
    ConvPlan,
    LayerGradient,
    MagnetizationPlan,
    MaskedPlan,
    MixturePlan,
    NestGradient,
    NestPlan,
    Plan,
    PrefixPlan,
    layer_arrays,
    moved,
)

if TYPE_CHECKING:
    from vanfast import _cpu
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network


STACKS = ConvPlan | MaskedPlan | CategoricalPlan  # of layers: with products that can be rounded


class CpuProgram(Program):
    """A network packed for one instruction set of this machine."""

    def __init__(self, plan: Plan, z2: bool, bf16: bool, threads: int, isa: str) -> None:
        self._engine = _compile(plan, z2, bf16, isa)
        self._plan, self._threads = plan, threads
        self._q = plan.q if isinstance(plan, CategoricalPlan) else None

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        return self._engine.isa

    @property
    def bytes_per_thread(self) -> int:
        """Memory that each thread holds while it samples, whatever the number of samples: k + 1 rows of activations of
        every hidden layer of a convolution, all units of a dense network, the fields of a nest network, and the spins
        of its tile."""
        return self._engine.bytes_per_thread

    def sample(
        self, count: int, seed: int, first: int, ham: Hamiltonian | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        spins, log_q, energy, _, _ = self._engine.sample(count, seed, first, self._threads, self._native(ham))
        drawn = torch.from_numpy(spins)
        return drawn, torch.from_numpy(log_q), self._energy(ham, drawn, energy)

    def sample_and_keep(self, count: int, seed: int, first: int, ham: Hamiltonian | None = None) -> CpuKept | None:
        if not self._engine.has_gradient or count == 0:
            return None
        spins, log_q, found, drawn, layers = self._engine.sample(
            count, seed, first, self._threads, self._native(ham), keep=True
        )
        energy = self._energy(ham, torch.from_numpy(spins), found)
        return CpuKept(self._engine, self._plan, self._threads, first, drawn, layers, spins, log_q, energy)

    def evaluate_and_keep(self, spins: Any) -> CpuKept | None:
        # a copy: the caller's may change before `gradient`
        given = as_spins(spins, self._engine.num_sites, q=self._q).numpy().copy()
        if not self._engine.has_gradient or not len(given):
            return None
        log_q, layers = self._engine.evaluate(given, self._threads, keep=True)
        return CpuKept(self._engine, self._plan, self._threads, 0, given, layers, given, log_q, None)

    def log_prob(self, spins: Any) -> torch.Tensor:
        s = as_spins(spins, self._engine.num_sites, q=self._q)
        return torch.from_numpy(self._engine.log_prob(s.numpy(), self._threads))

    def _native(self, ham: Hamiltonian | None) -> _cpu.EnergyModel | None:
        """What the engine evaluates in the same call: energies of spins. Those of states come after it."""
        return None if ham is None or self._q is not None else ham.native

    def _energy(self, ham: Hamiltonian | None, spins: torch.Tensor, found: np.ndarray | None) -> torch.Tensor | None:
        if found is not None or ham is None:
            return None if found is None else torch.from_numpy(found)
        return ham.energy(spins, self._threads or None)


class CpuKept(Kept):
    """Pre-activations stay in the engine's layout: [groups, units, lanes] for every linear layer, with a symmetry for
    the spins as scored (`scored`, as they were drawn) and then for each other image of them. Of networks without linear
    layers only the logits stay. Group 0 begins at sample `first`, rounded down to a multiple of the lanes."""

    def __init__(
        self,
        engine: _cpu.Sampler,
        plan: Plan,
        threads: int,
        first: int,
        scored: np.ndarray,
        layers: list[np.ndarray],
        spins: np.ndarray,
        log_q: np.ndarray,
        energy: torch.Tensor | None,
    ) -> None:
        self.spins, self.log_q = torch.from_numpy(spins), torch.from_numpy(log_q)
        self.energy = energy
        self._scored, self._layers, self._first = scored, layers, first
        self._engine, self._plan, self._threads = engine, plan, threads

    def gradient(self, weight: torch.Tensor) -> list[LayerGradient] | list[NestGradient]:
        flat = self._engine.gradient(
            self._scored, weight.detach().double().numpy(), self._first, self._layers, self._threads
        )
        plan = self._plan
        if isinstance(plan, NestPlan):
            return [NestGradient(**_tensors(NestGradient, plan, flat))]
        if isinstance(plan, MagnetizationPlan):
            return [LayerGradient(torch.from_numpy(flat[0]).view(plan.logits.shape))]
        assert isinstance(plan, STACKS)
        size = len(fields(LayerGradient))
        return [
            LayerGradient(**_tensors(LayerGradient, layer, flat[index * size : (index + 1) * size]))
            for index, layer in enumerate(plan.layers)
        ]


def _tensors(kind: type[LayerGradient | NestGradient], like: object, flat: list[np.ndarray]) -> dict[str, Any]:
    """Flat arrays in the order of the fields of `kind`, shaped as the tensors of these names in `like`; None where
    there is no such tensor, or no gradient with respect to it."""
    tensors: dict[str, Any] = {}
    for field, values in zip(fields(kind), flat, strict=True):
        shaped = getattr(like, field.name, None)
        tensors[field.name] = None if shaped is None or not values.size else torch.from_numpy(values).view(shaped.shape)
    return tensors


def _compile(plan: Plan, z2: bool, bf16: bool, isa: str) -> _cpu.Sampler:
    from vanfast import _cpu

    if isinstance(plan, ConvPlan):
        return _cpu.conv_sampler(*plan.shape, plan.half_kernel, layer_arrays(plan), z2, bf16, isa, _prior(plan))
    if isinstance(plan, MaskedPlan):
        order = None if plan.order is None else plan.order.numpy()
        return _cpu.masked_sampler(plan.num_sites, layer_arrays(plan), order, z2, bf16, isa, _prior(plan))
    if isinstance(plan, CategoricalPlan):
        order = None if plan.order is None else plan.order.numpy()
        return _cpu.categorical_sampler(plan.num_sites, plan.q, layer_arrays(plan), order, plan.maps.numpy(), bf16, isa)
    if isinstance(plan, MagnetizationPlan):
        return _cpu.magnetization_sampler(plan.logits.numpy(), z2, isa)
    if isinstance(plan, PrefixPlan):
        return _cpu.prefix_sampler(plan.logits.numpy(), z2, isa)
    if isinstance(plan, NestPlan):
        couplings, bias, direct = plan.couplings.numpy(), plan.bias.numpy(), plan.direct.numpy()
        weight, shift = plan.weight.numpy(), plan.shift.numpy()
        return _cpu.nest_sampler(couplings, bias, direct, weight, shift, plan.learn_couplings, z2, isa)
    return _cpu.mixture_sampler(plan.log_weights.float().numpy(), plan.logits.float().numpy(), z2, isa)


def _prior(plan: ConvPlan | MaskedPlan) -> dict[str, np.ndarray] | None:
    return None if plan.prior is None else {name: tensor.numpy() for name, tensor in vars(plan.prior).items()}


class CpuBackend(Backend):
    """The C++ engine on the instruction sets of `vanfast._cpu.isas()`, by default the last of them.

    In fp32 AVX2 and AVX-512 give the same bytes; "base", which has no fused multiply-add, rounds differently, and in
    bf16 every set does. Tabulated conditionals (MagnetizationPlan, PrefixPlan) are drawn and scored in float64, with
    the same bytes on every set.
    """

    name = "cpu"

    def unavailable(self) -> str | None:
        try:
            from vanfast import _cpu  # noqa: F401
        except ImportError as error:
            return f"the C++ module vanfast._cpu cannot be loaded ({error}); reinstall vanfast with a C++ compiler"
        return None

    def refuses(self, net: Network, precision: str) -> str | None:
        if precision == "tf32":
            return "tf32 exists on GPUs only; use fp32 or bf16"
        plan = net.plan_type
        if precision == "bf16" and not issubclass(plan, STACKS):
            kind = "a mixture" if issubclass(plan, MixturePlan) else type(net).__name__
            return f"{kind} has no matrix products that could be rounded to bf16"
        if issubclass(plan, MagnetizationPlan | PrefixPlan):  # tables, in float64
            return None
        if net.dtype != torch.float32:
            return f"its parameters are {net.dtype}; the engine computes in float32: net.float(), or another backend"
        return None

    def compile(self, net: Network, precision: str, threads: int | None, isa: str | None = None) -> CpuProgram:
        return CpuProgram(moved(net.plan(), "cpu"), net.z2, precision == "bf16", threads or 0, isa or "")


BACKEND = CpuBackend()
