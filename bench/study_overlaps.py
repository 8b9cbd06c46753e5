"""Overlaps: P(q) of Curie-Weiss networks beside the exact one, and the modes of a Hopfield model.

Curie-Weiss, N = 200, beta = 1.2 (the H2ARNN paper's panel): CW_N, and CW_inf and 1P at their optima, found without
samples along a ladder; P(q) from all pairs of 20,000 samples, and its exact value
    P = sum_{K,K'} p_K p_K' Hypergeometric(N; K, K'),
because configurations with K spins up are all alike. Hopfield (VAN, Figs. 3 and 6): N = 100, two orthogonal patterns,
one layer without biases, beta = 0.3 -> 1.5; free energy and <o^2> beside exact values, shares of the four modes.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from scipy.stats import hypergeom
from study import RESULTS, arguments, report

import vanfast as vf
from vanfast.cli.overlaps import mode_shares
from vanfast.hamiltonians import CurieWeiss, Hopfield, orthogonal_patterns
from vanfast.networks import CurieWeissInf, CurieWeissN, Dense, Network, OneParameter
from vanfast.observables import log_weights, measure, overlap_distribution, overlaps
from vanfast.plots import overlaps_figure

SITES, BETA, COUNT = 200, 1.2, 20_000
SHOWN = (0.02, 0.42, 0.58)  # centres of bins of width 0.04
PUBLISHED = {"CW_N": (0.047, 1.87, 0.43), "CW_inf": (0.002, 2.09, 0.41), "1P": (0.68, 1.00, 0.58)}


def optimum(make: Any) -> Network:
    """The network of least free energy at BETA, followed from small beta on; in float32, as it is sampled."""
    net = make().double()
    for beta in (0.3, 0.6, 0.8, 0.9, 1.0, 1.1, BETA):
        optimizer = torch.optim.LBFGS(
            net.parameters(), max_iter=60, tolerance_change=1e-14, line_search_fn="strong_wolfe"
        )

        def loss(optimizer: torch.optim.LBFGS = optimizer, beta: float = beta) -> torch.Tensor:
            optimizer.zero_grad()
            kl = vf.exact.forward_recursion(net.table(), beta).kl
            kl.backward()  # type: ignore[no-untyped-call]  # torch's own
            return kl

        optimizer.step(loss)
    found: Network = net.float()
    return found


def exact_probability() -> np.ndarray:
    up = np.arange(SITES + 1)
    m = 2 * up / SITES - 1
    log_p = np.array([math.lgamma(SITES + 1) - math.lgamma(k + 1) - math.lgamma(SITES - k + 1) for k in up])
    log_p += BETA * SITES * m**2 / 2
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    probability = np.zeros(SITES + 1)  # by the number of sites that agree, N - K - K' + 2 common
    common = np.arange(SITES + 1)
    for K in up:
        for K2 in up:
            share = p[K] * p[K2]
            if share > 1e-14:
                agree = SITES - K - K2 + 2 * common
                inside = (agree >= 0) & (agree <= SITES)
                np.add.at(probability, agree[inside], share * hypergeom.pmf(common[inside], SITES, K, K2))
    return probability


def curie_weiss(threads: int) -> None:
    ham = CurieWeiss(SITES)
    nets: dict[str, Network] = {
        "CW_N": CurieWeissN(ham, BETA),
        "CW_inf": optimum(lambda: CurieWeissInf(SITES, seed=0)),
        "1P": optimum(lambda: OneParameter(SITES, seed=0)),
    }
    exact = exact_probability()
    q = 2 * np.arange(SITES + 1) / SITES - 1
    rows, curves = [], {}
    for name, net in nets.items():
        batch = vf.Sampler(net, ham, threads=threads).sample(COUNT, seed=1)
        begin = time.perf_counter()
        curves[name] = found = overlap_distribution(batch.spins, SITES, mirror=True)
        seconds = time.perf_counter() - begin
        weighted = overlap_distribution(batch.spins, SITES, log_weights(batch.log_q, batch.energy, BETA), mirror=True)
        edges, density = found.density(50)
        bins = [int(np.searchsorted(edges, value) - 1) for value in SHOWN]
        squared = found.mean(q**2)
        row: list[Any] = [name, *(f"{density.value[b]:.3f} ± {density.error[b]:.2g}" for b in bins)]
        row += [*PUBLISHED[name], str(squared), str(weighted.mean(q**2)), float(exact @ q**2), seconds]
        rows.append(row)
    columns = ["network", *(f"P({value})" for value in SHOWN), *(f"published P({value})" for value in SHOWN)]
    columns += ["<q^2>", "<q^2> reweighted", "<q^2> exact", "seconds for 2e8 pairs"]
    report("overlaps_cw200", {"beta": BETA, "count": COUNT}, columns, rows)
    overlaps_figure(RESULTS / "overlaps_cw200.png", curves)


def hopfield(threads: int, steps: int) -> None:
    ham = Hopfield(orthogonal_patterns(2, 100, seed=0))
    net = Dense(100, bias=False, seed=0)
    ladder = [round(0.3 + 0.1 * rung, 1) for rung in range(13)]
    rows: list[list[Any]] = []
    landscapes, curves = {}, {}
    ends = {(rung + 1) * steps - 1: beta for rung, beta in enumerate(ladder)}

    def look(record: Any) -> None:
        beta = ends.get(record.step)
        if beta is None:
            return
        batch = vf.Sampler(net, ham, threads=threads).sample(COUNT, seed=1)
        overlap = overlaps(batch.spins, ham.patterns, 100)
        found = measure(batch, beta, patterns=ham.patterns)
        exact = vf.exact.hopfield(ham.patterns, beta)
        squared, unbiased = found.overlap_squared, found.unbiased.overlap_squared
        assert squared is not None
        assert unbiased is not None
        rows.append(
            [
                *(beta, found.free_energy.value / 100, exact.free_energy / 100, found.ess_fraction),
                *(float(squared.value.mean()), float(unbiased.value.mean()), float(exact.overlap_squared.mean())),
                " ".join(f"{100 * share:.1f}" for share in mode_shares(overlap)),
            ]
        )
        if beta in (0.3, 1.0, 1.5):
            name = f"β = {beta:g}"
            landscapes[name] = overlap, batch.log_q.numpy()
            curves[name] = overlap_distribution(batch.spins, 100, mirror=True)

    vf.train(
        *(net, ham, ladder, steps),
        **{"batch": 1000, "learning_rate": 3e-3, "seed": 1, "threads": threads, "callback": look, "progress": False},
    )
    columns = ["beta", "F/N network", "F/N exact", "ESS", "<o^2> network", "<o^2> reweighted", "<o^2> exact"]
    report("hopfield", {"steps": steps, "count": COUNT}, [*columns, "% of +1 -1 +2 -2"], rows)
    overlaps_figure(RESULTS / "hopfield.png", curves, landscapes)


if __name__ == "__main__":
    options = arguments(__doc__ or "", steps=300, threads=1)
    curie_weiss(options.threads)
    hopfield(options.threads, options.steps)
