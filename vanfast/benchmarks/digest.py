"""Digests of the kernels' sources: a result keeps those it was measured with, and is stale when they have changed.

Lines that are comments alone, blank lines and the text that opens a Python file do not count: what a kernel's header
says about a measurement must not make that measurement stale.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# What an engine is compiled from.
ENGINES = {"cpu": ("csrc/cpu", "csrc/common"), "cuda": ("csrc/cuda", "csrc/common"), "triton": ("kernels",)}
SUFFIXES = {".cpp", ".cu", ".cuh", ".h", ".inl", ".py"}
KEY = "sources"  # of a result: {engine: digest}


def source_root() -> Path | None:
    """The folder that the sources and bench/results lie in, or None for an installed package, which has none."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "csrc").is_dir() and (root / "kernels").is_dir() else None


def digest(engine: str, root: Path) -> str:
    """Hexadecimal digest of an engine's sources: names and contents."""
    total = hashlib.sha256()
    files = [file for folder in ENGINES[engine] for file in (root / folder).rglob("*") if file.suffix in SUFFIXES]
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        total.update(f"{file.relative_to(root).as_posix()}\0{_meaning(file)}\0".encode())
    return total.hexdigest()[:32]


def sources(engines: Iterable[str], root: Path | None = None) -> dict[str, str]:
    """What a result of these engines keeps under "sources"; empty where the sources are not at hand."""
    root = root or source_root()
    return {} if root is None else {engine: digest(engine, root) for engine in engines}


def _meaning(file: Path) -> str:
    text, comment = file.read_text(encoding="utf-8"), "//"
    if file.suffix == ".py":
        text, comment = re.sub(r'\A\s*("""|\'\'\')(?s:.*?)\1', "", text), "#"
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.lstrip().startswith(comment))


@dataclass(frozen=True)
class Status:
    """state: "current", "stale" (the engines in `changed` have other sources now), or "no digest"."""

    file: str
    state: str
    changed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check(results: Path, root: Path) -> list[Status]:
    """The state of every JSON file in the folder `results`, by name.

    Raises ValueError, naming the file, for one that is not JSON, or that names an engine unknown here.
    """
    now = {engine: digest(engine, root) for engine in ENGINES}
    found = []
    for file in sorted(results.glob("*.json")):
        kept = _kept(file)
        if unknown := kept.keys() - now.keys():
            raise ValueError(f"{file}: {KEY} names the engine {min(unknown)!r}, known are {', '.join(now)}")
        changed = tuple(engine for engine in now if engine in kept and kept[engine] != now[engine])
        found.append(Status(file.name, "stale" if changed else "current" if kept else "no digest", changed))
    return found


def _kept(file: Path) -> dict[str, str]:
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: expected JSON: {error}") from None
    kept = result.get(KEY, {}) if isinstance(result, dict) else {}
    if not isinstance(kept, dict):
        raise ValueError(f"{file}: expected {KEY} to be a JSON object, found {kept!r}")
    return kept
