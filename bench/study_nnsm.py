"""A network learns the 16x16 ferromagnet at T0 = 2.5 and predicts other temperatures (arXiv:2007.01037, Fig. 3).

--samples independent configurations by Wolff's algorithm train a MADE 256-180-120-256 by maximum likelihood, with a
tenth held out. H = -T0 ln p is then a Hamiltonian: heat-bath chains of it at T in [1.5, 3.5], the magnetisation |m| and
the true energy of what they draw, beside chains of the true Hamiltonian. The paper's coarse-grained spins are not here.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from study import RESULTS, arguments, report

import vanfast as vf
from vanfast.plots import EXACT, FAINT, NETWORK, STYLE

T0, L = 2.5, 16
TEMPERATURES = (1.5, 1.75, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.75, 3.0, 3.5)


def chains(ham: Any, T: float, options: Any, **how: Any) -> Any:
    settings = {"chains": options.chains, "seed": options.seed, "threads": options.threads} | how
    return vf.mcmc.run(ham, 1 / T, **settings)


def main() -> None:
    options = arguments(
        __doc__ or "",
        **{"samples": 60_000, "chains": 256, "sweeps": 400, "burn_in": 200, "epochs": 60, "seed": 1, "threads": 2},
    )
    ham = vf.hamiltonians.IsingSquare(L)
    wolff = {"algorithm": "wolff", "sweeps": 1, "burn_in": 100}
    measured = chains(ham, T0, options, **(wolff | {"chains": options.samples}))
    net = vf.networks.MADE(L * L, (180, 120), seed=options.seed)
    fit = vf.fit(
        *(net, measured.spins[:, 0], options.epochs, 500),
        **{"patience": 8, "learning_rate": 2e-3, "schedule": "cosine", "threads": options.threads, "progress": False},
    )
    entropy = vf.exact.kaufman(L, 1 / T0).entropy
    print(
        f"{fit.epoch} epochs, best {fit.best_epoch}: -<ln q> = {fit.best_loss:.3f}, entropy {entropy:.3f}", flush=True
    )
    learned = vf.hamiltonians.Neural(net, T0)
    rows: list[list[Any]] = []
    for T in TEMPERATURES:
        truth = vf.mcmc.measure(chains(ham, T, options, algorithm="wolff", sweeps=options.sweeps, burn_in=100))
        # below the transition single flips take long to order
        start = np.ones(L * L, dtype=np.int8) if T < 2.3 else None
        run = chains(
            *(learned, T, options),
            **{"algorithm": "heat_bath", "sweeps": options.sweeps, "burn_in": options.burn_in, "thin": 10},
            start=start,
        )
        found = vf.mcmc.measure(run, ham=ham)
        rows.append([T])
        for name, scale in (("abs_magnetization", 1), ("energy", L * L)):
            for result in (truth, found):
                estimate = getattr(result, name)
                rows[-1] += [estimate.value / scale, estimate.error / scale]
        print(*(f"{value:.4f}" for value in rows[-1]), flush=True)
    columns = ["T", "|m| true", "±", "|m| learnt", "± ", "E/N true", "±  ", "E/N learnt", "±   "]
    settings = vars(options) | {"epochs done": fit.epoch, "held out -<ln q>": fit.best_loss, "entropy": entropy}
    report("nnsm", settings, columns, rows)
    figure(np.array(rows, dtype=np.float64))


def figure(rows: np.ndarray) -> None:
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(9.0, 3.8), layout="constrained")
        for axes, first, label in zip(made.subplots(1, 2), (1, 5), ("|m|", "true energy a site"), strict=True):
            truth, learnt = rows[:, first : first + 2].T, rows[:, first + 2 : first + 4].T
            axes.errorbar(rows[:, 0], *truth, color=EXACT, fmt="o--", ms=4, label="true Hamiltonian")
            axes.errorbar(rows[:, 0], *learnt, color=NETWORK, fmt="s-", ms=4, label="learnt at T = 2.5")
            axes.axvline(T0, color=FAINT)
            axes.set_xlabel("temperature")
            axes.set_ylabel(label)
            axes.legend()
        made.savefig(RESULTS / "nnsm.png")


if __name__ == "__main__":
    main()
