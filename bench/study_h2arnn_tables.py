"""The H2ARNN paper's comparisons of networks: free energies on Curie-Weiss and Sherrington-Kirkpatrick systems.

`--system cw`: J = 1, h = 0; `--system sk`: instances 1 .. --instances, averaged. Every network goes down the paper's
ladder beta = 0.1, 0.15 .. 2 with Adam at 1e-3 and batches of 2000, but with fewer steps: --warm-up at the first beta,
--steps at each other one (the paper: 5001 and 1020). SK networks start from physics, the others near zero. At the
betas of the table 200,000 fresh samples tell f = <E + ln q / beta> / N; networks of the magnetisation need none, theirs
is summed exactly. Errors are (f - f_exact) / |f_exact| x 1e4 with the standard error over instances. f_exact is a sum
over magnetisations (cw), enumeration (sk, N = 20) or, at each beta, the unbiased estimate of the network with most
effective samples, the smallest share of which is given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from study import arguments, report

import vanfast as vf
from vanfast.hamiltonians import CurieWeiss, Hamiltonian, SherringtonKirkpatrick
from vanfast.networks import SK, CurieWeissInf, CurieWeissN, Dense, Network, OneParameter
from vanfast.observables import effective_sample_size, log_weights

LADDER = [round(0.1 + 0.05 * rung, 2) for rung in range(39)]
SHOWN = {"cw": (0.5, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 2.0), "sk": (0.5, 1.0, 1.2, 1.5, 1.75, 2.0)}
COUNT = 200_000
OF_MAGNETIZATION = ("CW_N", "CW_inf", "1P")
COMMON = {"batch": 2000, "learning_rate": 1e-3, "betas": (0.9, 0.999), "clip_norm": None, "progress": False}

Make = Callable[[Hamiltonian], Network]
DENSE: dict[str, Make] = {  # d linear layers, w N hidden units
    "1L": lambda ham: Dense(ham.num_sites, seed=0),
    "MADE_21": lambda ham: Dense(ham.num_sites, depth=2, width=1, seed=0),
    "MADE_22": lambda ham: Dense(ham.num_sites, depth=2, width=2, seed=0),
    "MADE_23": lambda ham: Dense(ham.num_sites, depth=2, width=3, seed=0),
    "MADE_32": lambda ham: Dense(ham.num_sites, depth=3, width=2, seed=0),
}
NETWORKS: dict[str, dict[str, Make]] = {
    "cw": {
        "1P": lambda ham: OneParameter(ham.num_sites, seed=0),
        "CW_inf": lambda ham: CurieWeissInf(ham.num_sites, seed=0),
        **{name: DENSE[name] for name in ("1L", "MADE_21", "MADE_22")},
    },
    "sk": {
        "SK_2RSB": lambda ham: SK(ham, LADDER[0], k=2),
        "SK_1RSB": lambda ham: SK(ham, LADDER[0], k=1),
        "SK_RS": lambda ham: SK(ham, LADDER[0], k=0),
        **{name: DENSE[name] for name in ("1L", "MADE_23", "MADE_32")},
    },
}


def free_energies(name: str, net: Network, ham: Hamiltonian, options: Any) -> dict[float, tuple[float, float, float]]:
    """beta F, an unbiased estimate of it, and the effective share of the samples, at each shown beta."""
    found: dict[float, tuple[float, float, float]] = {}
    steps = [options.warm_up] + [options.steps] * (len(LADDER) - 1)
    ends = {sum(steps[: rung + 1]) - 1: beta for rung, beta in enumerate(LADDER) if beta in SHOWN[options.system]}

    def look(record: Any) -> None:
        beta = ends.get(record.step)
        if beta is None:
            return
        if name in OF_MAGNETIZATION:
            value = beta * vf.exact.forward_recursion(net.table(), beta).free_energy.item()
            found[beta] = value, math.nan, math.nan
            return
        batch = vf.Sampler(net, ham, threads=options.threads).sample(COUNT, seed=7)
        weight = log_weights(batch.log_q, batch.energy, beta)
        top = weight.max()
        log_z = top + math.log(np.exp(weight - top).mean())
        found[beta] = -float(weight.mean()), -float(log_z), effective_sample_size(weight) / COUNT

    vf.train(net, ham, LADDER, steps, seed=1, threads=options.threads, callback=look, **COMMON)
    return found


def of_instance(ham: Hamiltonian, options: Any) -> tuple[dict[str, dict[float, float]], dict[float, float], float]:
    """beta F by network and beta, the exact one by beta, and the smallest effective share of the latter's samples."""
    shown, found = SHOWN[options.system], {}
    for name, make in NETWORKS[options.system].items():
        begin = time.thread_time()
        found[name] = free_energies(name, make(ham), ham, options)
        line = " ".join(f"{found[name][beta][0] / (beta * ham.num_sites):.6f}" for beta in shown)
        print(f"{ham.describe()}: {name}: {line}  ({time.thread_time() - begin:.0f} s)", flush=True)
    table = {name: {beta: values[0] for beta, values in row.items()} for name, row in found.items()}
    if options.system == "cw":
        exact = {beta: -vf.exact.curie_weiss(ham.num_sites, beta).log_z for beta in shown}
        nets = {beta: CurieWeissN(ham, beta) for beta in shown}
        energies = {beta: vf.exact.forward_recursion(net.table(), beta).free_energy for beta, net in nets.items()}
        return {"CW_N": {beta: beta * F.item() for beta, F in energies.items()}, **table}, exact, 1.0
    if ham.num_sites <= 20:
        return table, {beta: -vf.exact.enumerate(ham, beta, threads=options.threads).log_z for beta in shown}, 1.0
    best = {beta: max((row[beta] for row in found.values()), key=lambda values: values[2]) for beta in shown}
    return table, {beta: best[beta][1] for beta in shown}, min(values[2] for values in best.values())


def main() -> None:
    options = arguments(__doc__ or "", system="cw", N=20, instances=10, warm_up=300, steps=100, threads=1)
    N = options.N
    hams: list[Hamiltonian] = [CurieWeiss(N)]
    if options.system == "sk":
        hams = [SherringtonKirkpatrick(N, seed=seed) for seed in range(1, options.instances + 1)]
    results = [of_instance(ham, options) for ham in hams]
    shown = SHOWN[options.system]
    rows: list[list[Any]] = []
    for name in results[0][0]:
        values = np.array([[table[name][beta] for beta in shown] for table, _, _ in results])
        exact = np.array([[reference[beta] for beta in shown] for _, reference, _ in results])
        errors = 1e4 * (values - exact) / np.abs(exact)
        spread = errors.std(0, ddof=1) / math.sqrt(len(errors)) if len(errors) > 1 else np.full(len(shown), math.nan)
        means = (values / (N * np.array(shown))).mean(0)
        cells = [
            f"{error:.4g}" + ("" if math.isnan(width) else f" ± {width:.2g}")
            for error, width in zip(errors.mean(0), spread, strict=True)
        ]
        rows.append([name, *cells, *map(float, means)])
    reference = np.array([[found[beta] for beta in shown] for _, found, _ in results]) / (N * np.array(shown))
    rows.append(["exact", *[""] * len(shown), *map(float, reference.mean(0))])
    columns = ["network", *(f"beta {beta:g}" for beta in shown), *(f"mean f, {beta:g}" for beta in shown)]
    settings = vars(options) | {"smallest effective share of the reference": min(r[2] for r in results)}
    report(f"h2arnn_{options.system}{N}", settings, columns, rows)


if __name__ == "__main__":
    main()
