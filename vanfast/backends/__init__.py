"""Backends: ways to run a network, selected by name or, as "auto", by where the network's parameters lie."""

from __future__ import annotations

import importlib
import os

import torch

from vanfast.backends.base import PRECISIONS, Backend, Kept, Program

__all__ = ["NAMES", "PRECISIONS", "Backend", "Kept", "Program", "available", "choose", "get"]

NAMES = ("cpu", "cuda", "triton", "reference")
ON_CPU = ("cpu", "reference")
# A network on a GPU stays there. cuda before triton: one launch a batch where triton has one for each row and layer, so
# it leads most where launches dominate. Their crossover is measured by bench/gpu_check.sh, not yet run on a GPU.
ON_GPU = ("cuda", "triton", *ON_CPU)


def get(name: str) -> Backend:
    """The backend called `name`. Raises ValueError for an unknown name.

    Whether the backend can run here is told by its `unavailable()`.
    """
    if name not in NAMES:
        raise ValueError(f"backend = {name!r} must be one of {', '.join(map(repr, ('auto', *NAMES)))}")
    backend: Backend = importlib.import_module(f"vanfast.backends.{name}").BACKEND
    return backend


def choose(name: str, device: torch.device) -> Backend:
    """The backend called `name`; "auto" takes VANFAST_BACKEND or else the first available one for networks on `device`.

    Raises ValueError for an unknown name.
    """
    if name == "auto":
        name = os.environ.get("VANFAST_BACKEND", "auto")
    if name == "auto":
        names = ON_GPU if device.type == "cuda" else ON_CPU
        name = next(known for known in names if not get(known).unavailable())
    return get(name)


def available() -> dict[str, str | None]:
    """Every backend's name with the reason why it cannot run here, or None if it can."""
    return {name: get(name).unavailable() for name in NAMES}
