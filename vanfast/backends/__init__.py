"""Backends: ways to run a network, selected by name. "auto" is the C++ engine where it is there, else the reference."""

from __future__ import annotations

import importlib
import os

from vanfast.backends.base import PRECISIONS, Backend, Kept, Program

__all__ = ["NAMES", "PRECISIONS", "Backend", "Kept", "Program", "available", "get"]

NAMES = ("cpu", "reference")


def get(name: str = "auto") -> Backend:
    """The backend called `name`; "auto" takes VANFAST_BACKEND or else the first that is available.

    Raises ValueError for an unknown name. Whether the backend can run here is told by its `unavailable()`.
    """
    if name == "auto":
        name = os.environ.get("VANFAST_BACKEND", "auto")
    if name == "auto":
        name = next(known for known, reason in available().items() if not reason)
    if name not in NAMES:
        raise ValueError(f"backend = {name!r} must be one of {', '.join(map(repr, ('auto', *NAMES)))}")
    backend: Backend = importlib.import_module(f"vanfast.backends.{name}").BACKEND
    return backend


def available() -> dict[str, str | None]:
    """Every backend's name with the reason why it cannot run here, or None if it can."""
    return {name: get(name).unavailable() for name in NAMES}
