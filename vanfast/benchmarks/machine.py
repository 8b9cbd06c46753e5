"""What figures were measured on: processor, GPU, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from vanfast import _cpu


def describe_hardware() -> dict[str, Any]:
    """Date, processor, GPU and versions of what vanfast builds on. "gpu" is None where torch sees none."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "instruction_sets": _cpu.isas(),
        "gpu": describe_gpu(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _version("triton"),
    }


def describe_gpu(device: int = 0) -> dict[str, Any] | None:
    """Name, capability, processors, memory and CUDA of a GPU, None where there is none."""
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(device)
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory_bytes": found.total_memory,
        "cuda": torch.version.cuda,
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
