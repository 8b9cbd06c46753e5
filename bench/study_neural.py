"""A Metropolis sweep of a network's Hamiltonian: flips that cost what they change against the whole network for each.

One thread, CPU time of the process, the least of several sweeps taken in turn. `torch` calls net.log_prob for every
proposal, `whole` the C++ engine's (kernel "incremental"). Multiply-adds are those of the units that a flip changes, a
proposal on average; the limit is their time at the rate of the engine's matrix product, measured in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from study import arguments, report

import vanfast as vf
from vanfast.networks import MADE, Dense, MaskedPlan, Network, PixelCNN

BETA = 0.9
SWEEPS = 4  # of a run of ours, which packs the network once
CASES: dict[str, Callable[[], Network]] = {
    "MADE 256-180-120-256": lambda: MADE(256, hidden=(180, 120), seed=1),
    "MADE 256-180-120-256, Z2": lambda: MADE(256, hidden=(180, 120), z2=True, seed=1),
    "MADE 256-256": lambda: MADE(256, hidden=(), seed=1),
    "Dense 3/2, N = 100": lambda: Dense(100, depth=3, width=2, seed=1),
    "PixelCNN 3/8/3, L = 8": lambda: PixelCNN((8, 8), 3, 8, 3, z2=False, seed=1),
}


def multiply_adds(net: Network) -> float:
    """Of one proposal on average: for each layer the products of changed units with changed inputs that they see."""
    plan = net.plan()
    assert isinstance(plan, MaskedPlan)
    total, passes = 0, 2 if net.z2 else 1
    for site in range(plan.num_sites):
        before = np.arange(plan.num_sites)  # degree below which a unit does not see an input
        changed = before == site
        for layer in plan.layers:
            degree = layer.degree.numpy()
            seen = before[None, :] <= degree[:, None] if layer is not plan.layers[0] else before[None] < degree[:, None]
            products = seen & changed
            total += int(products.sum())
            before, changed = degree, products.any(1)
    return passes * total / plan.num_sites


def torch_sweep(net: Network, spins: torch.Tensor, generator: torch.Generator) -> None:
    """Metropolis with the whole network for every proposal, in place."""
    with torch.no_grad():
        log_p = net.log_prob(spins)
        for site in range(net.num_sites):
            spins[:, site] *= -1
            proposed = net.log_prob(spins)
            accepted = torch.rand(len(spins), generator=generator) < torch.exp(BETA * (proposed - log_p))
            spins[~accepted, site] *= -1
            log_p = torch.where(accepted, proposed, log_p)


def cpu_seconds(step: Callable[[], object]) -> float:
    begin = time.process_time()
    step()
    return time.process_time() - begin


def product_rate() -> float:
    """Multiply-adds a second of CPU time."""
    wall, begin = time.perf_counter(), time.process_time()
    rate = vf._cpu.product_rate(threads=1, seconds=0.5) / 2
    return rate * (time.perf_counter() - wall) / (time.process_time() - begin)


def main() -> None:
    options = arguments(__doc__ or "", chains=1000, repeats=3)
    torch.set_num_threads(1)
    rows = []
    for name, make in CASES.items():
        net = make()
        ham = vf.hamiltonians.Neural(net)
        start = torch.from_numpy(
            np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (options.chains, net.num_sites))
        )
        masked = vf.mcmc.choose(ham, "metropolis")
        ham._samplers[None] = vf.Sampler(ham.net, backend="cpu", threads=1)  # the driver in Python has no threads

        def sweep(kernel: str, sweeps: int = 1, ham: vf.hamiltonians.Neural = ham, start: torch.Tensor = start) -> None:
            made = {"sweeps": sweeps, "thin": sweeps, "burn_in": 0, "start": start, "seed": 1}
            vf.mcmc.run(ham, BETA, chains=options.chains, kernel=kernel, threads=1, **made)

        def by_torch(net: Network = net, start: torch.Tensor = start) -> None:
            torch_sweep(net, start.clone(), torch.Generator().manual_seed(1))

        steps: list[Callable[[], object]] = [
            lambda sweep=sweep, kernel=masked: sweep(kernel, SWEEPS),
            lambda sweep=sweep: sweep("incremental"),
            by_torch,
        ]
        taken = [[cpu_seconds(step) for step in steps] for _ in range(options.repeats)]
        tries = options.chains * net.num_sites
        mine, whole, other = (1e6 * least / tries for least in np.min(taken, axis=0) / (SWEEPS, 1, 1))
        row: list[object] = [name, masked, mine, whole, other, other / mine]
        if masked == "masked":
            work = multiply_adds(net)
            row += [work, 100 * 1e6 * work / product_rate() / mine]
        rows.append(row + [None] * (8 - len(row)))
    columns = ["network", "kernel", "us", "whole, us", "torch, us", "torch / us", "multiply-adds", "% of the limit"]
    report("neural_sweep", vars(options), columns, rows)


if __name__ == "__main__":
    main()
