"""The kernels of this folder, compiled with the emulation into a module of their own."""

from __future__ import annotations

import shutil
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.cuda import emulated
from tests.emulation import kernel_sources

Three = tuple[int, int, int]


class Emulation:
    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def run(
        self,
        kernel: str,
        words: NDArray[np.uint32],
        size: int,
        n: int = 0,
        grid: Three = (1, 1, 1),
        block: Three = (32, 1, 1),
        shared: int = 0,
    ) -> NDArray[np.uint32]:
        """The words that a kernel writes where `size` words of garbage were."""
        out = np.full(size, 0xDEADBEEF, dtype=np.uint32)
        self.module.run(kernel, words.ctypes.data, out.ctypes.data, n, grid, block, shared)
        return out


@pytest.fixture(scope="session")
def built() -> ModuleType:
    if not shutil.which(emulated.compiler()):
        pytest.skip(f"no C++ compiler ({emulated.compiler()})")
    return emulated.load(emulated.build("plain", kernel_sources()))


@pytest.fixture
def emulation(built: ModuleType) -> Emulation:
    built.emulation_seed(1)
    built.emulation_skip("")
    return Emulation(built)
