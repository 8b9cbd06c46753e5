"""Couplings from configurations by a network with a trainable first layer: I. Biazzo, Commun. Phys. 6, 296 (2023).

SK, N = 100, instance 4, beta = 2: SK_1RSB, first layer and all else near zero, is fitted to 10,000 equilibrium
configurations of parallel tempering (200 chains of 50 draws), and what it has for couplings is held against the true
ones. The paper's configurations, of a single-temperature chain, were not in equilibrium, so its figures (slope 2.769,
intercept 0.139, r = 0.644 of |J|, 0.830 with the signs of 59 of 99 rows changed by the true couplings) are no target.

Two protocols: the paper's (all configurations, batches of 5000, Adam 1e-3, 1475 steps, the last parameters), and a
tenth of the configurations held out, a cosine, the best parameters. Beside them pseudo-likelihood on the same data.

--small: N = 20 from ExactH2 in a minute. --data FILE: configurations of that instance from elsewhere. --plot FILE: a
figure of the second protocol.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from study import arguments, report

import vanfast as vf
from vanfast.plots import learned_couplings_figure
from vanfast.training import Samples, load_data
from vanfast.training.inverse import compare_couplings, inverse_ising, learned_couplings, reconstruction_error

# loss: -<ln q> of the last epoch's batches, held out: the least of the validation data. slope, intercept, r |J|: of the
# first layer against |J|; r: of couplings with the signs they have, with those that make direct positive, with those of
# the truth, which flipped so many rows and agreed with direct in so many; scaled: direct_l J_sl / (2 beta)
COLUMNS = ["protocol", "steps", "loss/N", "held out", "slope", "intercept", "r |J|", "r raw"]
COLUMNS += ["r direct", "r truth", "flipped", "agreed", "slope scaled", "r scaled"]
COLUMNS += ["Delta_J", "seconds"]


def configurations(options: Any, ham: vf.hamiltonians.Hamiltonian) -> Any:
    """Equilibrium configurations, and what they are."""
    if options.data:
        data = load_data(options.data)
        if not isinstance(data, Samples) or data.num_sites != ham.num_sites:
            raise SystemExit(f"{options.data} does not hold samples of {ham.num_sites} spins")
        return data, f"from {options.data}"
    if ham.num_sites <= 20:
        exact = vf.networks.ExactH2(ham, options.beta)
        return vf.Sampler(exact).sample(options.samples, seed=options.seed).spins, "exact"
    draws = options.samples // options.chains
    found = vf.mcmc.run(
        ham,
        options.beta,
        chains=options.chains,
        sweeps=draws * options.thin,
        burn_in=options.burn_in,
        thin=options.thin,
        algorithm="tempering",
        seed=options.seed,
    )
    spins = found.spins.reshape(-1, ham.num_sites)
    return spins, f"tempering, mean E/N {found.energy.mean() / ham.num_sites:.4f}"


def judged(net: vf.networks.Network, ham: vf.hamiltonians.Hamiltonian, beta: float) -> dict[str, Any]:
    """The first layer against the true couplings."""
    learned, told = learned_couplings(net), learned_couplings(net, ham)
    scaled, compared = learned.scaled(beta), learned.compare(ham)
    return {
        "slope": compared.slope,
        "intercept": compared.intercept,
        "r |J|": compared.pearson,
        "r raw": compare_couplings(learned.raw, ham).signed_pearson,
        "r direct": compared.signed_pearson,
        "r truth": told.compare(ham).signed_pearson,
        "flipped": told.flipped,
        "agreed": int((learned.signs == told.signs)[1:].sum()),
        "slope scaled": compare_couplings(scaled, ham).slope,
        "r scaled": compare_couplings(scaled, ham).signed_pearson,
        "Delta_J": reconstruction_error(scaled, ham),
    }


def main() -> None:
    options = arguments(
        __doc__ or "",
        **{"small": False, "N": 100, "instance": 4, "beta": 2.0, "samples": 10_000, "k": 1, "seed": 1, "threads": 1},
        **{"chains": 200, "burn_in": 20_000, "thin": 200, "data": "", "plot": ""},
        **{"epochs": 700, "batch": 1000, "learning_rate": 3e-3, "patience": 60},
    )
    if options.small:
        options.N = 20
    ham = vf.hamiltonians.SherringtonKirkpatrick(options.N, seed=options.instance)
    data, source = configurations(options, ham)
    free = vf.hamiltonians.Pairwise(np.zeros((options.N, options.N)))
    rows: list[dict[str, Any]] = []
    paper = {"epochs": 738, "batch": 5000, "validation": 0, "learning_rate": 1e-3, "betas": (0.9, 0.999)}
    mine = {"epochs": options.epochs, "batch": options.batch, "validation": 0.1, "learning_rate": options.learning_rate}
    mine |= {"patience": options.patience, "schedule": "cosine"}
    for name, protocol in (("paper", paper), ("early", mine)):
        net = vf.networks.SK(free, 1.0, k=options.k, start="small", learn_couplings=True, seed=options.seed)
        begin = time.perf_counter()
        run = vf.fit(net, data, seed=options.seed, threads=options.threads, **protocol)
        row: dict[str, Any] = {"protocol": name, "steps": run.step, "seconds": time.perf_counter() - begin}
        row["loss/N"] = run.history[-1].loss / options.N
        if run.best is not None:
            row["held out"] = run.best_loss / options.N
        rows.append(row | judged(net, ham, options.beta))
        print(rows[-1], flush=True)
        if options.plot:  # the last one stays
            learned = learned_couplings(net)
            found = {"first layer": learned.J, "scaled": learned.scaled(options.beta)}
            learned_couplings_figure(options.plot, found, ham.to_dense())
    begin = time.perf_counter()
    plm = inverse_ising(data, "plm", options.beta, threads=options.threads)
    row = {"protocol": "plm", "seconds": time.perf_counter() - begin, "Delta_J": plm.error(ham)}
    compared = compare_couplings(plm.J, ham)
    row |= {"r |J|": compared.pearson, "r scaled": compared.signed_pearson}
    rows.append(row | {"slope": compared.slope, "intercept": compared.intercept})
    settings = {**vars(options), "configurations": source}
    report(
        "couplings_small" if options.small else "couplings",
        settings,
        COLUMNS,
        [[row.get(key, "") for key in COLUMNS] for row in rows],
    )


if __name__ == "__main__":
    main()
