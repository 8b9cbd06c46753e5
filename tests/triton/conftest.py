"""These tests run in a process of their own: `TRITON_INTERPRET=1 pytest tests/triton`, or compiled with `-m gpu`.

Triton decides when a kernel is defined whether it is interpreted, so without the variable nothing is collected here.
"""

import os
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
def seeded() -> None:
    torch.manual_seed(7)
