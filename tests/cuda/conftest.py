"""The CUDA module under test, `cuda.module`, and the device of its tensors, `cuda.device`: emulated, or a GPU's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import pytest
import torch

from tests.cuda import emulated


class Cuda(NamedTuple):
    module: ModuleType
    device: torch.device

    @property
    def emulated(self) -> bool:
        return bool(self.module.emulated)


@pytest.fixture(scope="session")
def emulated_module() -> ModuleType:
    if not shutil.which(emulated.compiler()):
        pytest.skip(f"no C++ compiler ({emulated.compiler()}), so kernels cannot be run on the CPU")
    return emulated.load(emulated.build())


@pytest.fixture(autouse=True)
def garbage() -> Iterator[None]:
    """torch.empty gives NaN and the largest integers, so nothing unwritten goes unseen."""
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which imports a compiler
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # as in barriers.py
    yield
    torch.set_deterministic_debug_mode("default")


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def cuda(request: pytest.FixtureRequest) -> Cuda:
    if request.param == "emulated":
        module = request.getfixturevalue("emulated_module")
        module.emulation_seed(1)
        module.emulation_skip("")
        return Cuda(module, torch.device("cpu"))
    module = pytest.importorskip("vanfast._cuda", reason="vanfast was built without nvcc")
    if module.device_count() == 0:
        pytest.skip(f"no GPU: {module.device_error()}")
    return Cuda(module, torch.device("cuda", torch.cuda.current_device()))
