"""Backends: ways to run a network, selected by name or, as "auto", by where the network's parameters lie."""

from __future__ import annotations

import importlib
import os

import torch

from vanfast.backends.base import PRECISIONS, Backend, Kept, Program
from vanfast.errors import BackendUnavailable

__all__ = ["NAMES", "ON_GPU", "PRECISIONS", "Backend", "Kept", "Program", "available", "choose", "get", "wanted"]

NAMES = ("cpu", "cuda", "triton", "reference")
ON_CPU = ("cpu", "reference")
# A network on a GPU stays there. cuda before triton: one launch a batch where triton has one for each row and layer, so
# it leads most where launches dominate. Their crossover is measured by bench/gpu_check.sh, not yet run on a GPU.
ON_GPU = ("cuda", "triton")


def get(name: str) -> Backend:
    """The backend called `name`. Raises ValueError for an unknown name.

    Whether the backend can run here is told by its `unavailable()`.
    """
    if name not in NAMES:
        raise ValueError(f"backend = {name!r} must be one of {', '.join(map(repr, ('auto', *NAMES)))}")
    backend: Backend = importlib.import_module(f"vanfast.backends.{name}").BACKEND
    return backend


def wanted(name: str) -> str:
    """`name`, or for "auto" what VANFAST_BACKEND says if it is set. Raises ValueError if that is no backend."""
    if name != "auto":
        return name
    name = os.environ.get("VANFAST_BACKEND") or "auto"
    if name not in ("auto", *NAMES):
        raise ValueError(f"VANFAST_BACKEND = {name!r} must be one of {', '.join(map(repr, ('auto', *NAMES)))}")
    return name


def choose(name: str, device: torch.device) -> Backend:
    """The backend called `wanted(name)`; for "auto" the first that can run where `device` is, never on another kind.

    Raises ValueError for an unknown name, BackendUnavailable where "auto" finds none.
    """
    name = wanted(name)
    if name != "auto":
        return get(name)
    reasons = {}
    for known in ON_GPU if device.type == "cuda" else ON_CPU:
        reason = get(known).unavailable()
        if reason is None:
            return get(known)
        reasons[known] = reason
    told = "; ".join(f"{known}: {reason}" for known, reason in reasons.items())
    raise BackendUnavailable(
        f"no backend can run a network on {device}: {told}; backend='cpu' or VANFAST_BACKEND=cpu draws on the CPU"
    )


def available() -> dict[str, str | None]:
    """Every backend's name with the reason why it cannot run here, or None if it can."""
    return {name: get(name).unavailable() for name in NAMES}
