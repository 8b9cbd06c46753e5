"""The star prior: KL divergence from the Boltzmann distribution, with and without it, along a few hundred steps.

KL(q || p) = beta (F[q] - F) in nats, for whole configurations. Small networks start from the same parameters with the
prior and without; the prior alone is the network with all parameters zero. Steps are compared at the divergence that
the network without a prior has at the end. Then what the prior costs when sampling, on one thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from study import arguments, report

import vanfast as vf
from vanfast.hamiltonians import EdwardsAnderson, Hamiltonian, IsingSquare, SherringtonKirkpatrick
from vanfast.networks import MADE, Dense, Network, PixelCNN

WINDOW = 20  # steps that a divergence along the run is averaged over
KL, ERROR = "KL, {}", "± {}"

Make = Callable[..., Network]


def systems(instance: int) -> list[tuple[str, Hamiltonian, float, float, str, Make]]:
    """Name, system, beta, its exact free energy, the network's name, the network."""
    ising = IsingSquare(8)
    glass = EdwardsAnderson((8, 8), seed=instance)
    sk = SherringtonKirkpatrick(20, seed=instance)
    rows: list[tuple[str, Hamiltonian, float, float, str, Make]] = []

    def conv(**more: Any) -> Network:
        return PixelCNN(8, depth=2, width=8, half_kernel=3, z2=True, seed=0, **more)

    def made(**more: Any) -> Network:
        return MADE(64, (128,), z2=True, seed=0, **more)

    def dense(**more: Any) -> Network:
        return Dense(20, z2=True, seed=0, **more)

    for beta in (0.40, 0.44):
        rows.append(("Ising 8x8", ising, beta, vf.exact.kaufman(8, beta).free_energy, "PixelCNN 2/8/3", conv))
    for beta in (0.5, 1.0, 1.5):
        exact = vf.exact.enumerate(sk, beta).free_energy
        rows.append(("SK 20", sk, beta, exact, "Dense 1", dense))
    for beta in (0.5, 1.0):
        rows.append(("±J 8x8", glass, beta, vf.exact.transfer_matrix(glass, beta).free_energy, "MADE 128", made))
    return rows


def divergence(net: Network, ham: Hamiltonian, beta: float, exact: float) -> tuple[float, float]:
    """KL and its standard error from 100,000 fresh samples."""
    batch = vf.Sampler(net, ham).sample(100_000, seed=7)
    assert batch.energy is not None
    values = batch.log_q + beta * batch.energy - beta * exact
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def along(run: Any, beta: float, exact: float) -> np.ndarray:
    """KL at the end of every window of steps."""
    losses = np.array([record.loss for record in run.history]) - beta * exact
    return np.convolve(losses, np.full(WINDOW, 1 / WINDOW), "valid")


def train(options: Any) -> list[list[Any]]:
    rows = []
    for name, ham, beta, exact, kind, make in systems(options.instance):
        alone = make(prior="star", ham=ham, beta=beta)
        with torch.no_grad():
            for parameter in alone.parameters():
                parameter.zero_()
        found = [*divergence(alone, ham, beta, exact)]
        curves, seconds = [], []
        for prior in ({}, {"prior": "star", "ham": ham, "beta": beta}):
            net = make(**prior)
            run = vf.train(
                *(net, ham, beta, options.steps, options.batch),
                learning_rate=options.learning_rate,
                seed=3,
                progress=False,
            )
            curves.append(along(run, beta, exact))
            seconds.append(float(np.median([record.step_seconds for record in run.history])) * 1e3)
            found += divergence(net, ham, beta, exact)
        reached = np.flatnonzero(curves[1] <= curves[0][-1])
        steps = int(reached[0]) + WINDOW if len(reached) else -1
        rows.append([name, beta, kind, *found, steps, *seconds])
        print(*rows[-1], flush=True)
    return rows


def rate(net: Network, count: int) -> float:
    """Samples a second of one thread's own time, the best of five."""
    sampler, best = vf.Sampler(net, threads=1), math.inf
    for seed in range(6):
        begin = time.process_time()
        sampler.sample(count, seed=seed)
        best = min(best, time.process_time() - begin)
    return count / best


def cost() -> list[list[Any]]:
    cases: list[tuple[str, Hamiltonian, int, Make]] = [
        ("PixelCNN 8x8 2/8/3, Ising", IsingSquare(8), 4096, lambda **more: PixelCNN(8, 2, 8, 3, **more)),
        ("PixelCNN 16x16 3/64/6, Ising", IsingSquare(16), 256, lambda **more: PixelCNN(16, 3, 64, 6, **more)),
        ("MADE 128, ±J 8x8", EdwardsAnderson((8, 8)), 8192, lambda **more: MADE(64, (128,), **more)),
        ("Dense 1, SK 20", SherringtonKirkpatrick(20), 32768, lambda **more: Dense(20, **more)),
        ("Dense 1, SK 100", SherringtonKirkpatrick(100), 4096, lambda **more: Dense(100, **more)),
        ("MADE 300, SK 100", SherringtonKirkpatrick(100), 4096, lambda **more: MADE(100, (300,), **more)),
        ("Dense 1, SK 1000", SherringtonKirkpatrick(1000), 128, lambda **more: Dense(1000, **more)),
    ]
    rows = []
    for name, ham, count, make in cases:
        plain, star = rate(make(), count), rate(make(prior="star", ham=ham, beta=0.5), count)
        rows.append([name, plain, star, plain / star])
        print(*rows[-1], flush=True)
    return rows


def main() -> None:
    options = arguments(__doc__ or "", steps=400, batch=1000, learning_rate=5e-3, instance=1, only="")
    if options.only != "cost":
        names = ["prior alone", "without prior", "with prior"]
        columns = ["system", "beta", "network", *(form.format(n) for n in names for form in (KL, ERROR))]
        columns += ["steps with prior to the end of the other", "ms per step without", "ms per step with"]
        report("star_prior", vars(options), columns, train(options))
    if options.only != "training":
        columns = ["network", "samples/s without", "samples/s with", "ratio"]
        report("star_prior_cost", vars(options), columns, cost())


if __name__ == "__main__":
    main()
