"""`vanfast info`: what this installation is and what it can use here."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from typing import Any

from vanfast.cli.output import print_json, print_table

_OPTIONAL = ("numpy", "safetensors", "rich", "scipy", "matplotlib", "h5py", "triton")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    facts = gather()
    if arguments.json:
        print_json(facts)
        return 0
    rows = [
        ["vanfast", facts["version"]],
        ["python", facts["python"]],
        ["machine", facts["machine"]],
        ["torch", facts["torch"]],
        ["threads", str(facts["threads"])],
        ["instruction sets", ", ".join(facts["instruction_sets"]) or "–"],
    ]
    rows += [["GPU", name] for name in facts["gpus"]]
    rows += [
        [f"backend {backend['name']}", "available" if backend["available"] else f"unavailable: {backend['reason']}"]
        for backend in facts["backends"]
    ]
    rows += [[name, version or "not installed"] for name, version in facts["libraries"].items()]
    print_table("", ["", ""], rows, left=True)
    return 0


def gather() -> dict[str, Any]:
    """Facts about version, machine and backends, as JSON values."""
    import torch

    from vanfast import __version__, backends

    return {
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instruction_sets": _instruction_sets(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "backends": [
            {"name": name, "available": reason is None, "reason": reason}
            for name, reason in backends.available().items()
        ],
        "libraries": {name: _version(name) for name in _OPTIONAL},
    }


def _instruction_sets() -> list[str]:
    try:
        from vanfast import _cpu
    except ImportError:
        return []
    return list(_cpu.isas())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
