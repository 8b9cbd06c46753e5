"""Speed of the H2ARNN family on one core, beside the public code's.

The rivals' figures are the public code's (PyTorch) on the machine of bench/results, one core, batches of 1000: samples
drawn per second, and milliseconds for ln q with its gradient. Here a step is more: draw, ln q and gradient of 1000.
Times are of the thread's own CPU clock, medians of --repeats, for a machine that others use as well. The floor of a
nest network is its log-sigmoids: 2 (k + 1) for each pair of sites of which the second is not drawn and the first is not
one of the ten that are tabulated.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from study import arguments, report

import vanfast as vf

# (network, N): samples per second, milliseconds for 1000 of ln q with its gradient
RIVALS: dict[tuple[str, int], tuple[float, float | None]] = {
    ("SK_RS", 20): (2.9e5, None),
    ("SK_RS", 100): (1.85e4, None),
    ("SK_1RSB", 20): (2.2e5, 10.0),
    ("SK_1RSB", 100): (1.2e4, 190.0),
    ("SK_1RSB", 200): (3.05e3, 700.0),
    ("SK_2RSB", 20): (1.76e5, None),
    ("SK_2RSB", 100): (8.4e3, None),
    ("CW_N", 100): (2.7e4, None),
}
TABULATED = 10


def median_seconds(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median of the thread's CPU seconds, and the quickest."""
    run()
    times = []
    for _ in range(repeats):
        begin = time.thread_time()
        run()
        times.append(time.thread_time() - begin)
    return statistics.median(times), min(times)


def networks() -> list[tuple[str, int, vf.networks.Network, int]]:
    """Name, size, network and log-sigmoids per sample."""
    found: list[tuple[str, int, vf.networks.Network, int]] = []
    for N in (20, 100, 200):
        ham = vf.hamiltonians.SherringtonKirkpatrick(N, seed=1)
        left = N - TABULATED
        for k, name in enumerate(("SK_RS", "SK_1RSB", "SK_2RSB")):
            found.append((name, N, vf.networks.SK(ham, 1.0, k=k), left * (left - 1) * (k + 1)))
    for N in (100, 1000):
        found.append(("CW_N", N, vf.networks.CurieWeissN(vf.hamiltonians.CurieWeiss(N), 1.2), 0))
    found.append(("CW_inf", 100, vf.networks.CurieWeissInf(100, beta=1.2), 0))
    found.append(("1P", 100, vf.networks.OneParameter(100, beta=0.8), 0))
    found.append(("H2", 16, vf.networks.ExactH2(vf.hamiltonians.SherringtonKirkpatrick(16, seed=1), 1.0), 0))
    return found


def main() -> None:
    options = arguments(__doc__ or "", repeats=9, isa="", samples=4_000_000)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    rows = []
    for name, N, net, floor in networks():
        sampler = vf.Sampler(net, backend="cpu", threads=1, isa=options.isa or None)
        count = max(2000, options.samples // N // max(N // 5, 1))
        seconds, quickest = median_seconds(lambda s=sampler, n=count: s.sample(n), options.repeats)
        step = None
        if sampler.sample_and_keep(1) is not None and list(net.parameters()):
            weight = torch.from_numpy(np.random.default_rng(0).normal(size=1000))

            def one(sampler: vf.Sampler = sampler, weight: torch.Tensor = weight) -> None:
                kept = sampler.sample_and_keep(1000)
                assert kept is not None
                kept.gradient(weight)

            step = 1e3 * median_seconds(one, options.repeats)[0]
        public, public_ms = RIVALS.get((name, N), (None, None))
        rows.append(
            [
                name,
                N,
                count / seconds,
                count / quickest,
                public,
                None if public is None else count / seconds / public,
                step,
                public_ms,
                None if public_ms is None or step is None else public_ms / step,
                floor,
                None if not floor else 1e9 * seconds / count / floor,
            ]
        )
    columns = [
        "network",
        "N",
        "samples/s",
        "at best",
        "public samples/s",
        "x public",
        "draw + gradient of 1000, ms",
        "public ln q + gradient, ms",
        "x public gradient",
        "log-sigmoids per sample",
        "ns each",
    ]
    report("h2arnn_speed", {"repeats": options.repeats, "isa": sampler.program.isa}, columns, rows)


if __name__ == "__main__":
    main()
