"""The CUDA C++ engine: one launch draws whole configurations, with vanfast._cuda."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any

import torch

from vanfast.backends.base import Backend
from vanfast.backends.device import DeviceProgram, Energy, Gradient, Operations
from vanfast.backends.engines.base import Engine
from vanfast.networks.plan import (
    ConvPlan,
    MagnetizationPlan,
    MaskedPlan,
    MixturePlan,
    NestPlan,
    Plan,
    PrefixPlan,
    moved,
)

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network

CAPABILITY = (8, 0)  # bf16 and tf32 tensor cores, asynchronous copies
STACKS = (ConvPlan, MaskedPlan)  # of layers: with products that can be rounded
TABLES = (MagnetizationPlan, PrefixPlan)  # in float64, whatever dtype the network has
PLANS = (*STACKS, MixturePlan, NestPlan, *TABLES)  # that there are kernels for


def no_gpu() -> str | None:
    """Why no GPU of this machine can be used, or None."""
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU on this machine"
    found = torch.cuda.get_device_capability()
    if found < CAPABILITY:
        return f"the GPU has compute capability {found[0]}.{found[1]}; 8.0 or later is needed"
    return None


def refuses_on_gpu(net: Network, precision: str) -> str | None:
    """What no GPU backend runs."""
    if not issubclass(net.plan_type, PLANS):
        return f"there is no GPU kernel for {type(net).__name__}: net.cpu() and backend 'cpu' draw from it"
    if net.dtype != torch.float32 and not issubclass(net.plan_type, TABLES):
        return f"its parameters are {net.dtype}; GPU engines compute in float32: net.float(), or another backend"
    if precision != "fp32" and not issubclass(net.plan_type, STACKS):
        return f"{type(net).__name__} has no matrix products that could be rounded to {precision}"
    return None


def device_for(net: Network) -> torch.device:
    """Where a network is run: where its parameters are, or torch's current GPU for parameters on the CPU."""
    return net.device if net.device.type == "cuda" else torch.device("cuda", torch.cuda.current_device())


def interpreted() -> bool:
    """Whether Triton interprets its kernels on the CPU, which is slow and for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def triton_gradient(device: torch.device) -> Gradient | None:
    """The backward pass, which is Triton's; None without triton, or where its kernels cannot run."""
    if importlib.util.find_spec("triton") is None or (device.type == "cpu" and not interpreted()):
        return None
    from vanfast.backends.engines.backward import gradient

    return gradient


class CudaBackend(Backend):
    """`module` and `device` stand in for the GPU in tests: the emulated engine, whose pointers are the CPU's."""

    name = "cuda"

    def __init__(self, module: Any = None, device: torch.device | None = None) -> None:
        self._module, self._device = module, device

    def unavailable(self) -> str | None:
        if self._module is not None:
            return None
        try:
            from vanfast import _cuda
        except ImportError as error:
            return f"the module vanfast._cuda is not there ({error}); reinstall vanfast where nvcc can be found"
        if reason := no_gpu():
            return reason
        return None if _cuda.device_count() else f"vanfast._cuda cannot use the GPU: {_cuda.device_error()}"

    def refuses(self, net: Network, precision: str) -> str | None:
        return refuses_on_gpu(net, precision)

    def compile(self, net: Network, precision: str, threads: int | None, isa: str | None = None) -> DeviceProgram:
        if isa is not None:
            raise ValueError(f"isa = {isa!r}: the cuda backend has no instruction sets to choose from")
        device = self._device or device_for(net)
        plan = moved(net.plan(), device)
        engine, operations = self._engine(plan, precision, device), self._operations(device)
        return DeviceProgram(plan, net.z2, precision, engine, operations)

    def _engine(self, plan: Plan, precision: str, device: torch.device) -> Engine:
        if isinstance(plan, ConvPlan):
            from vanfast.backends.engines.cuda_conv import CudaConv

            return CudaConv(plan, precision, device, self.native())
        if isinstance(plan, MaskedPlan):
            from vanfast.backends.engines.cuda_masked import CudaMasked

            return CudaMasked(plan, precision, device, self.native())
        if isinstance(plan, NestPlan):
            from vanfast.backends.engines.cuda_nest import CudaNest

            return CudaNest(plan, device, self.native())
        if isinstance(plan, TABLES):
            from vanfast.backends.engines.cuda_table import CudaTable

            return CudaTable(plan, device, self.native())
        assert isinstance(plan, MixturePlan)  # others are refused
        from vanfast.backends.engines.cuda_mixture import CudaMixture

        return CudaMixture(plan, device, self.native())

    def _operations(self, device: torch.device) -> Operations:
        from vanfast.backends.engines.cuda_energy import DeviceEnergy
        from vanfast.backends.engines.cuda_symmetry import symmetrize

        module = self.native()

        def energy(ham: Hamiltonian, device: torch.device) -> Energy:
            return DeviceEnergy(ham, device, module)

        def symmetrized(*arguments: Any) -> torch.Tensor:
            return symmetrize(module, *arguments)

        return Operations(symmetrized, energy, triton_gradient(device))

    def current_device(self) -> torch.device:
        """Where work goes that belongs to no network: torch's current GPU."""
        return self._device or torch.device("cuda", torch.cuda.current_device())

    def native(self) -> Any:
        """The module in use."""
        if self._module is not None:
            return self._module
        from vanfast import _cuda

        return _cuda


BACKEND = CudaBackend()
