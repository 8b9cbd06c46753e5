"""Sweeps of sites with q states: networks' Hamiltonians against the whole network in PyTorch; Potts against numpy.

One thread, CPU time of the process, the least of several runs taken in turn, microseconds for each site of a chain. Of
networks the rival is net.log_prob of all chains for every proposal, one of Metropolis, q - 1 of heat bath: its time
alone, without decisions. Of Potts models it is the Python reference, which sums neighbours of all chains at once.
Multiply-adds are those of what these proposals change, on average; the limit is their time at the rate of the engine's
matrix product in the same run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from study import arguments, report
from study_neural import cpu_seconds, product_rate

import vanfast as vf
from vanfast.hamiltonians import Hamiltonian, Neural, Potts
from vanfast.networks import CategoricalMADE, CategoricalPlan

BETA = 0.9
SWEEPS = 4  # of a run of ours, which packs the network once
NETWORKS: dict[str, Callable[[], CategoricalMADE]] = {
    "CategoricalMADE 225 x 5, 180-120": lambda: CategoricalMADE(225, 5, (180, 120), seed=1),
    "CategoricalMADE 64 x 5, 180-120": lambda: CategoricalMADE(64, 5, (180, 120), seed=1),
    "the same, reflection": lambda: CategoricalMADE(64, 5, (180, 120), symmetry="reflection", seed=1),
}
POTTS = {f"Potts 32 x 32, q = {q}": q for q in (3, 10)}


def multiply_adds(net: CategoricalMADE) -> float:
    """Of one proposal on average: two columns of the first layer, then changed units times changed inputs they see."""
    plan = net.plan()
    assert isinstance(plan, CategoricalPlan)
    total = 0.0
    for site in range(plan.num_sites):
        before = np.arange(plan.num_sites * plan.q) // plan.q
        changed = before == site
        for number, layer in enumerate(plan.layers):
            degree = layer.degree.numpy()
            seen = before[None, :] <= degree[:, None] if number else before[None, :] < degree[:, None]
            products = seen & changed
            total += int(products.sum()) * (1.0 if number else 2 / plan.q)
            before, changed = degree, products.any(1)
    return len(plan.maps) * total / plan.num_sites


def sweep_seconds(ham: Hamiltonian, algorithm: str, kernel: str, start: np.ndarray, sweeps: int) -> float:
    options = {"sweeps": sweeps, "thin": sweeps, "burn_in": 0, "start": start, "seed": 1, "threads": 1}
    return cpu_seconds(lambda: vf.mcmc.run(ham, BETA, chains=len(start), algorithm=algorithm, kernel=kernel, **options))


def network_rows(name: str, net: CategoricalMADE, chains: int, repeats: int) -> list[list[object]]:
    ham = Neural(net)
    start = np.random.default_rng(0).integers(0, net.q, (chains, net.num_sites)).astype(np.int8)

    def whole() -> None:
        with torch.no_grad():
            net.log_prob(start)

    taken: dict[str, list[float]] = {"metropolis": [], "heat_bath": [], "torch": []}
    for _ in range(repeats):
        for algorithm in ("metropolis", "heat_bath"):
            seconds = sweep_seconds(ham, algorithm, "masked", start, SWEEPS)
            taken[algorithm].append(seconds / (SWEEPS * start.size))
        taken["torch"].append(cpu_seconds(whole) / chains)
    rows: list[list[object]] = []
    rate, work = product_rate(), multiply_adds(net)
    for algorithm, proposals in (("metropolis", 1), ("heat_bath", net.q - 1)):
        mine, rival = min(taken[algorithm]), proposals * min(taken["torch"])
        share = 100 * proposals * work / rate / mine
        rows.append([name, algorithm, 1e6 * mine, 1e6 * rival, rival / mine, proposals * work, share])
    return rows


def potts_rows(name: str, q: int, chains: int, repeats: int) -> list[list[object]]:
    ham = Potts(32, q=q)
    start = np.random.default_rng(0).integers(0, q, (chains, ham.num_sites)).astype(np.int8)
    rows: list[list[object]] = []
    for algorithm in ("metropolis", "heat_bath"):
        pairs = [
            (
                sweep_seconds(ham, algorithm, "potts", start, 10) / 10,
                sweep_seconds(ham, algorithm, "incremental", start, 1),
            )
            for _ in range(repeats)
        ]
        mine, rival = (least / start.size for least in np.min(pairs, axis=0))
        rows.append([name, algorithm, 1e6 * mine, 1e6 * rival, rival / mine, None, None])
    return rows


def main() -> None:
    options = arguments(__doc__ or "", chains=1000, repeats=3)
    torch.set_num_threads(1)
    rows = []
    for name, make in NETWORKS.items():
        rows += network_rows(name, make(), options.chains, options.repeats)
    for name, q in POTTS.items():
        rows += potts_rows(name, q, options.chains, options.repeats)
    columns = ["system", "algorithm", "us", "rival, us", "rival / us", "multiply-adds", "% of the limit"]
    report("state_sweep", vars(options), columns, rows)


if __name__ == "__main__":
    main()
