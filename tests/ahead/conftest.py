"""Compiles for real, so not in a process where Triton interprets."""

import os
from pathlib import Path


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if os.environ.get("TRITON_INTERPRET") == "1" else None
