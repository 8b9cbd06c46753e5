"""Inverse SK with N = 20, the VAN paper's Fig. 7: reconstruction error Delta_J of every method.

From the exact moments of enumeration (the default; plm, which needs samples, is left out): mle then gives the true
couplings but for rounding, and what another method is off by is its own. With --samples M, from M samples of the
Boltzmann distribution instead, where mle is what the samples allow.

From exact moments VAN draws --moment-batch / beta^2 samples a step at beta < 1, at most 20 times as many.
"""

from __future__ import annotations

import time

import numpy as np
from study import arguments, report

import vanfast as vf
from vanfast.training.inverse import METHODS, Moments, Samples, inverse_ising


def main() -> None:
    options = arguments(
        __doc__ or "", instance=1, samples=0, tolerance=2e-5, max_steps=2000, moment_batch=10_000, threads=1
    )
    truth = vf.hamiltonians.SherringtonKirkpatrick(20, seed=options.instance)
    methods = METHODS if options.samples else [method for method in METHODS if method != "plm"]
    columns = ["beta", *methods, "van, steps", "van, network ESS", "van, seconds"]
    rows = []
    for beta in (0.5, 1.0, 1.5, 2.0) if options.samples else (0.1, 0.3, 0.5, 1.0, 1.5, 2.0):
        exact = vf.exact.enumerate(truth, beta, log_prob=True)
        data: Moments | Samples = Moments(np.zeros(20), exact.correlation)
        if options.samples:
            assert exact.log_prob is not None
            share = np.exp(exact.log_prob)
            counts = np.random.default_rng(options.instance).multinomial(options.samples, share / share.sum())
            data = Samples(vf.exact.states(20)[counts > 0], counts[counts > 0].astype(np.float64))
        settings = {key: getattr(options, key) for key in ("tolerance", "max_steps")}
        # The error of J is that of the moments over beta, and at small beta there is little else to find.
        larger = 1.0 if options.samples else min(20.0, max(1.0, beta**-2))
        settings["moment_batch"] = 8 * int(options.moment_batch * larger / 8)
        begin = time.perf_counter()
        van = inverse_ising(data, "van", beta, threads=options.threads, **settings)
        seconds = time.perf_counter() - begin
        ess = float(np.mean([step.ess for step in van.history[-100:]]))
        errors = [
            (van if method == "van" else inverse_ising(data, method, beta, threads=options.threads)).error(truth)
            for method in methods
        ]
        rows.append([beta, *errors, len(van.history), ess, seconds])
        print(*(f"{name} {value:.4g}" for name, value in zip(columns, rows[-1], strict=True)), flush=True)
    report("inverse_sk20_samples" if options.samples else "inverse_sk20", vars(options), columns, rows)


if __name__ == "__main__":
    main()
