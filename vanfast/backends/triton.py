"""The Triton engines: the second, independent implementation of sampling on a GPU, compiled at first use."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import torch

from vanfast.backends.base import Backend
from vanfast.backends.cuda import device_for, interpreted, no_gpu, refuses_on_gpu, triton_gradient
from vanfast.backends.device import DeviceProgram, Energy, Operations
from vanfast.backends.engines.base import Engine
from vanfast.networks.plan import (
    ConvPlan,
    MagnetizationPlan,
    MaskedPlan,
    NestPlan,
    Plan,
    PrefixPlan,
    moved,
)

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network


class TritonBackend(Backend):
    """Selected by the name "triton". Under TRITON_INTERPRET=1 it runs on the CPU."""

    name = "triton"

    def unavailable(self) -> str | None:
        if importlib.util.find_spec("triton") is None:
            return "the package triton is not installed: pip install 'vanfast[triton]'"
        return None if interpreted() else no_gpu()

    def refuses(self, net: Network, precision: str) -> str | None:
        return refuses_on_gpu(net, precision)

    def compile(self, net: Network, precision: str, threads: int | None, isa: str | None = None) -> DeviceProgram:
        if isa is not None:
            raise ValueError(f"isa = {isa!r}: the triton backend has no instruction sets to choose from")
        from vanfast.backends.engines.triton_energy import DeviceEnergy
        from vanfast.kernels.log_prob import symmetrize

        device = torch.device("cpu") if interpreted() else device_for(net)
        plan = moved(net.plan(), device)

        def energy(ham: Hamiltonian, device: torch.device) -> Energy:
            model: Energy = DeviceEnergy(ham, device)
            return model

        operations = Operations(symmetrize, energy, triton_gradient(device))
        return DeviceProgram(plan, net.z2, precision, _engine(plan, precision, device), operations)


def _engine(plan: Plan, precision: str, device: torch.device) -> Engine:
    if isinstance(plan, ConvPlan):
        from vanfast.backends.engines.triton_conv import TritonConv

        return TritonConv(plan, precision, device)
    if isinstance(plan, MaskedPlan):
        from vanfast.backends.engines.triton_masked import TritonMasked

        return TritonMasked(plan, precision, device)
    if isinstance(plan, NestPlan):
        from vanfast.backends.engines.triton_nest import TritonNest

        return TritonNest(plan, device)
    if isinstance(plan, MagnetizationPlan | PrefixPlan):
        from vanfast.backends.engines.triton_table import TritonTable

        return TritonTable(plan, device)
    from vanfast.backends.engines.triton_mixture import TritonMixture

    return TritonMixture(plan, device)


BACKEND = TritonBackend()
