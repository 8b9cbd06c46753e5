"""Which backend is fastest at which size: networks x batches x backends, and the batch from which a GPU is faster."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import vanfast as vf
from vanfast.benchmarks import CASES

CAP = 1.0  # seconds; a cell that would take longer is left out, and all larger batches with it


def networks(tiny: bool) -> dict[str, Callable[[], vf.networks.Network]]:
    if tiny:
        return {"one layer N=6": lambda: vf.networks.Dense(6)}
    return {
        "one layer N=20": CASES["one-layer-20"].build,
        "one layer N=100": CASES["one-layer-100"].build,
        "dense 3/4 L=16": CASES["dense-3-4"].build,
        "conv 3/64/6 L=16": CASES["conv-3-64-6"].build,
    }


def measure_crossover(device: torch.device, backends: list[str], tiny: bool, left: Callable[[], float]) -> list[Any]:
    """Seconds of a call with its samples brought to the CPU, where a user without a GPU has them; `left` seconds."""
    rows = []
    for name, build in networks(tiny).items():
        torch.manual_seed(0)
        net = build()
        cells: dict[str, dict[int, float]] = {}
        for backend in backends:
            if left() < 5:
                break
            cells[backend] = _sweep(net, device, backend, [1, 4] if tiny else [1, 10, 100, 1000, 10_000, 100_000])
        rows.append({"network": name, "seconds": cells, "faster_from": _faster_from(cells)})
    return rows


def _sweep(net: vf.networks.Network, device: torch.device, backend: str, batches: list[int]) -> dict[int, float]:
    net.to("cpu" if backend == "cpu" else device)
    program = vf.Sampler(net, backend=backend).program
    found: dict[int, float] = {}
    for batch in batches:
        times = []
        for _ in range(7):
            begin = time.perf_counter()
            for tensor in program.sample(batch, 0, 0)[:2]:
                tensor.cpu()
            times.append(time.perf_counter() - begin)
            if sum(times) > CAP:
                break
        found[batch] = statistics.median(times[1:] or times)  # the first opens libraries and compiles
        if found[batch] > CAP / 7:
            break
    return found


def _faster_from(cells: dict[str, dict[int, float]]) -> dict[str, int | None]:
    """The smallest batch from which on a backend beats the CPU engine at every batch that both were timed at."""
    reference = cells.get("cpu", {})
    found: dict[str, int | None] = {}
    for backend, times in cells.items():
        if backend == "cpu":
            continue
        best = None
        for batch in sorted(reference.keys() & times.keys(), reverse=True):
            if times[batch] >= reference[batch]:
                break
            best = batch
        found[backend] = best
    return found
