"""Barriers of csrc/cuda and the cases that run through them: BARRIER_CASES of the modules tests/cuda/test_*.py.

BARRIER_CASES = {name: function(module) -> tensors}. Each case runs in a child, with uninitialised memory filled.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import torch

from tests.cuda import emulated
from tests.cuda.children import in_child

Case = Callable[[ModuleType], Iterable[torch.Tensor]]
CALL = re.compile(r"\b(__syncthreads|__syncwarp|copy_async_wait<[^>]*>)\s*\(")


def in_sources() -> list[str]:
    """Every call of a barrier in csrc/cuda as "cuda/file:line", once for each call."""
    found = []
    for file in sorted((emulated.ROOT / "csrc/cuda").glob("*.cu*")):
        if file.name in ("runtime.cuh", "mma.cuh") or not emulated.chosen(file):
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            found += [f"cuda/{file.name}:{number}"] * len(CALL.findall(line.partition("//")[0]))
    return found


@functools.cache
def cases() -> dict[str, Case]:
    """All cases, "module: name"."""
    result: dict[str, Case] = {}
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if "\nBARRIER_CASES = " in file.read_text() and emulated.chosen(file):
            module = importlib.import_module(f"tests.cuda.{file.stem}")
            result |= {f"{file.stem}: {name}": case for name, case in module.BARRIER_CASES.items()}
    return result


def outcome(module: ModuleType, case: Case, seed: int, skip: str = "") -> tuple[list[bytes], set[str]]:
    """The bytes that a case gives and the barriers it came through; for a child, whose memory is its own."""
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which imports a compiler
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]  # not exported by torch's stubs
    module.emulation_seed(seed)
    module.emulation_skip(skip)
    tensors = [tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for tensor in case(module)]
    return tensors, set(module.emulation_sites())


def run(module: ModuleType, name: str, seed: int, skip: str = "") -> tuple[list[bytes], set[str]]:
    result: tuple[list[bytes], set[str]] = in_child(lambda: outcome(module, cases()[name], seed, skip))
    return result
