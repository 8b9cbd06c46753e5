"""Speed of the Monte Carlo kernels on one core, in CPU time of the process on one thread, medians of --repeats.

Of single-spin updates attempted flips a second, of cluster updates spins that turned.

The floor of multi-spin coding are its random digits: `digits/s` are bits from the same generator by the same
instructions, of which a tile of 512 chains takes twelve a flip (four at a time until all chains are decided; after
eight digits 2 of 512 are not). Rival: simulated annealing of dwave-samplers at constant beta, where it is installed.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from study import arguments, report

import vanfast as vf
from vanfast import _cpu

H = vf.hamiltonians
PM = {"disorder": "pm", "seed": 1}
GAUSS = {"disorder": "gaussian", "seed": 1}
# name, Hamiltonian, beta, chains, options of run
CASES: list[tuple[str, Any, float, int, dict[str, Any]]] = [
    ("ferromagnet 16x16", H.IsingSquare(L=16), 0.44, 512, {}),
    ("ferromagnet 16x16", H.IsingSquare(L=16), 0.44, 512, {"algorithm": "heat_bath"}),
    ("ferromagnet 16x16", H.IsingSquare(L=16), 0.44, 512, {"isa": "avx2"}),
    ("ferromagnet 16x16", H.IsingSquare(L=16), 0.44, 512, {"isa": "base"}),
    ("ferromagnet 64x64", H.IsingSquare(L=64), 0.44, 512, {}),
    ("ferromagnet 64x64", H.IsingSquare(L=64), 0.44, 64, {}),
    ("ferromagnet 256x256", H.IsingSquare(L=256), 0.44, 512, {}),
    ("ferromagnet 16x16x16", H.IsingCubic(L=16), 0.2217, 512, {}),
    ("triangular 32x32", H.IsingTriangular(L=32, coupling=-1.0), 1.0, 512, {}),
    ("±J 64x64", H.EdwardsAnderson((64, 64), **PM), 1.0, 512, {}),
    ("Gaussian 64x64", H.EdwardsAnderson((64, 64), **GAUSS), 1.0, 32, {}),
    ("Gaussian 64x64", H.EdwardsAnderson((64, 64), **GAUSS), 1.0, 32, {"algorithm": "heat_bath"}),
    ("Gaussian 64x64", H.EdwardsAnderson((64, 64), **GAUSS), 1.0, 32, {"isa": "avx2"}),
    ("Gaussian 64x64", H.EdwardsAnderson((64, 64), **GAUSS), 1.0, 32, {"isa": "base"}),
    ("Gaussian 64x64", H.EdwardsAnderson((64, 64), **GAUSS), 1.0, 1, {}),
    ("SK 100", H.SherringtonKirkpatrick(100), 1.0, 32, {}),
    ("SK 100", H.SherringtonKirkpatrick(100), 2.0, 32, {"algorithm": "tempering"}),
    ("SK 1000", H.SherringtonKirkpatrick(1000), 1.0, 32, {}),
    ("ferromagnet 64x64", H.IsingSquare(L=64), 0.44, 8, {"algorithm": "wolff"}),
    ("ferromagnet 256x256", H.IsingSquare(L=256), 0.44, 4, {"algorithm": "wolff"}),
    ("ferromagnet 64x64", H.IsingSquare(L=64), 0.44, 8, {"algorithm": "swendsen_wang"}),
    ("ferromagnet 256x256", H.IsingSquare(L=256), 0.44, 4, {"algorithm": "swendsen_wang"}),
]
RIVALS = ("ferromagnet 64x64", "Gaussian 64x64", "SK 100")


def cpu_seconds(run: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median of the process's CPU seconds, and what run() gave."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        result = run()
        times.append(time.process_time() - begin)
    return statistics.median(times), result


def per_sweep(run: Callable[[int], Any], repeats: int, seconds: float) -> tuple[float, Any]:
    """CPU seconds of a sweep, without what a run takes beside its sweeps, and the last run."""
    setup, _ = cpu_seconds(partial(run, 2), repeats)
    sweeps = 8
    while cpu_seconds(partial(run, sweeps), 1)[0] < setup + seconds:
        sweeps *= 2
    total, result = cpu_seconds(partial(run, sweeps), repeats)
    return (total - setup) / (sweeps - 2), result


def rate(
    ham: Any, beta: float, chains: int, options: dict[str, Any], repeats: int, seconds: float
) -> tuple[str, float]:
    """The kernel and its flips a second."""
    burn_in = 20 if options.get("algorithm") in ("wolff", "swendsen_wang") else 0
    start = np.ones(ham.num_sites, dtype=np.int8)

    def run(sweeps: int) -> Any:
        return vf.mcmc.run(
            ham, beta, chains=chains, sweeps=sweeps, burn_in=burn_in, thin=sweeps, threads=1, start=start, **options
        )

    took, result = per_sweep(run, repeats, seconds)
    flips = result.updates / result.thin * len(result.betas)
    if result.kernel == "clusters":
        flips *= result.acceptance * ham.num_sites
    return result.kernel, flips / took


def dwave(ham: Any, beta: float, repeats: int, seconds: float) -> float | None:
    """Sites visited a second by the simulated annealing of dwave-samplers."""
    try:
        from dwave.samplers import SimulatedAnnealingSampler
    except ImportError:
        return None
    h = {i: 0.0 for i in range(ham.num_sites)}
    J = {(int(i), int(j)): -float(c) for (i, j), c in zip(ham.edges, ham.couplings, strict=True)}
    sampler = SimulatedAnnealingSampler()

    def run(sweeps: int) -> Any:
        return sampler.sample_ising(h, J, num_reads=4, num_sweeps=sweeps, beta_range=(beta, beta), seed=1)

    return 4 * ham.num_sites / per_sweep(run, repeats, seconds)[0]


def main() -> None:
    options = arguments(__doc__ or "", repeats=5, seconds=0.5)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    available = _cpu.isas()
    bits = {isa: _cpu.mcmc_digit_rate(isa, 1.0) for isa in ("", "avx2", "base") if not isa or isa in available}
    rows: list[list[Any]] = []
    rivals: dict[str, float | None] = {}
    for name, ham, beta, chains, more in CASES:
        isa = more.get("isa", "")
        if isa and isa not in available:
            continue
        kernel, found = rate(ham, beta, chains, more, options.repeats, options.seconds)
        if name in RIVALS and name not in rivals:
            rivals[name] = dwave(ham, beta, options.repeats, options.seconds)
        rival = rivals.get(name) if "algorithm" not in more else None
        floor = bits[isa] / 12 if kernel == "planes" and chains >= 512 else None
        share = None if floor is None else found / floor
        against = None if rival is None else found / rival
        algorithm = more.get("algorithm", "metropolis")
        rows.append([name, beta, algorithm, kernel, isa or available[-1], chains, found, floor, share, rival, against])
    columns = ["system", "beta", "algorithm", "kernel", "isa", "chains", "flips/s", "digits/s over 12", "share"]
    columns += ["dwave-samplers", "x dwave-samplers"]
    report("mcmc", {"repeats": options.repeats, "seconds": options.seconds, "digits/s": bits}, columns, rows)


if __name__ == "__main__":
    main()
