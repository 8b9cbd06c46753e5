"""SK with N = 20 and one layer, the VAN paper's Fig. 4a: free energy against enumeration, naive mean field and Bethe.

One network follows a ladder of beta with warm starts; each rung is judged on 100,000 fresh samples.
"""

from __future__ import annotations

import math

import torch
from study import arguments, report

import vanfast as vf


def main() -> None:
    options = arguments(__doc__ or "", steps=600, batch=10_000, learning_rate=5e-3, instance=1)
    ham = vf.hamiltonians.SherringtonKirkpatrick(20, seed=options.instance)
    torch.manual_seed(0)
    net = vf.networks.Dense(20)
    rows = []
    for beta in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
        run = vf.train(
            net,
            ham,
            beta=beta,
            steps=options.steps,
            batch=options.batch,
            learning_rate=options.learning_rate,
            schedule="cosine",
            seed=int(10 * beta),
            progress=False,
        )
        seconds = sum(record.step_seconds for record in run.history)
        found = vf.observables.measure(vf.Sampler(net, ham).sample(100_000, seed=7), beta=beta, correlation=False)
        exact = vf.exact.enumerate(ham, beta)
        field, bethe = vf.exact.naive_mean_field(ham, beta), vf.exact.bethe(ham, beta)

        def relative(value: float, truth: float = exact.free_energy) -> float:
            return (value - truth) / abs(truth)

        rows.append(
            [
                beta,
                exact.free_energy / 20,
                relative(found.free_energy.value),
                found.free_energy.error / abs(exact.free_energy),
                relative(found.unbiased.free_energy.value),
                found.unbiased.free_energy.error / abs(exact.free_energy),
                relative(field.free_energy),
                relative(bethe.free_energy) if bethe.converged else math.nan,
                found.ess_fraction,
                seconds / options.steps,
            ]
        )
    columns = [
        "beta",
        "exact F/N",
        "VAN, relative error",
        "± VAN",
        "unbiased, relative error",
        "± unbiased",
        "NMF, relative error",
        "Bethe, relative error",
        "ESS",
        "seconds per step",
    ]
    report("sk20", vars(options), columns, rows)


if __name__ == "__main__":
    main()
