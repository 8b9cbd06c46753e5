"""These tests run in a process of their own: `TRITON_INTERPRET=1 pytest tests/triton`, or compiled with `-m gpu`.

Triton decides when a kernel is defined whether it is interpreted, so without the variable nothing is collected here.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    chosen = str(config.option.markexpr)
    return None if INTERPRETED or ("gpu" in chosen and "not gpu" not in chosen) else True


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def garbage() -> Iterator[None]:
    """torch.empty gives NaN and the largest integers, so nothing unwritten goes unseen."""
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which imports a compiler
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    yield
    torch.set_deterministic_debug_mode("default")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)
