"""Times of work on a device: CUDA events on a GPU, the host's clock on a CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

CACHE_BYTES = 256 << 20  # written before a flushed repeat: several times the L2 of any GPU here


@dataclass(frozen=True)
class Timing:
    """Seconds: median, fastest, and (slowest - fastest) / median of the repeats, each the mean of `inner` runs."""

    median: float
    fastest: float
    spread: float
    repeats: int
    inner: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Clock:
    """Times on one device. `quick` makes two repeats of one run, for tests of the code around it."""

    def __init__(self, device: torch.device, quick: bool = False) -> None:
        self.device, self.quick = device, quick
        self._cache: torch.Tensor | None = None

    def time(self, run: Callable[[], object], seconds: float = 0.4, least: int = 7, flush: bool = False) -> Timing:
        """Repeats `run` for about `seconds`. Runs too short for an event are timed several at a time, as they follow
        each other; with `flush` each is timed alone, and the caches hold nothing that it reads."""
        for _ in range(1 if self.quick else 3):
            run()
        self.wait()
        one = self._interval(run, 1)
        inner = 1 if flush or self.quick else max(1, min(1000, round(2e-3 / max(one, 1e-7))))
        repeats = 2 if self.quick else max(least, min(100, round(seconds / max(one * inner, 1e-7))))
        times = [self._interval(run, inner, flush) for _ in range(repeats)]
        median = statistics.median(times)
        return Timing(median, min(times), (max(times) - min(times)) / median, repeats, inner)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _interval(self, run: Callable[[], object], inner: int, flush: bool = False) -> float:
        if flush:
            self._flush()
        if self.device.type != "cuda":
            begin = time.perf_counter()
            for _ in range(inner):
                run()
            return (time.perf_counter() - begin) / inner
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(inner):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / inner

    def _flush(self) -> None:
        if self._cache is None:
            self._cache = torch.empty(CACHE_BYTES if self.device.type == "cuda" else 1, dtype=torch.int8)
            self._cache = self._cache.to(self.device)
        self._cache.zero_()
