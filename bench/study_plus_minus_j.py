"""A +-J instance on the 16 x 16 torus, written to a file, read back, trained on and sampled.

A transfer matrix of width 16 is out of reach, so there the network is judged by itself: variational against unbiased
free energy, the effective sample size and the variance of beta E + ln q. An 8 x 16 torus comes with its exact values.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from study import arguments, report

import vanfast as vf
from vanfast.hamiltonians import EdwardsAnderson, Hamiltonian


def through_a_file(ham: Hamiltonian) -> Hamiltonian:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "couplings.txt"
        vf.hamiltonians.save(ham, path)
        read = vf.hamiltonians.load(path, shape=ham.shape)
    assert np.array_equal(read.edges, ham.edges)
    assert np.array_equal(read.couplings, ham.couplings)
    return read


def main() -> None:
    options = arguments(__doc__ or "", steps=1500, batch=1000, learning_rate=5e-3, beta=0.8)
    rows = []
    for shape in ((8, 16), (16, 16)):
        ham = through_a_file(EdwardsAnderson(shape, disorder="pm", seed=0))
        torch.manual_seed(0)
        net = vf.networks.Dense(ham.num_sites, z2=True)  # a convolution knows no site from another, disorder does
        begin = time.perf_counter()
        vf.train(
            net,
            ham,
            beta=options.beta,
            steps=options.steps,
            batch=options.batch,
            learning_rate=options.learning_rate,
            anneal=0.9945,
            schedule="cosine",
            progress=False,
        )
        trained = time.perf_counter() - begin
        begin = time.perf_counter()
        batch = vf.Sampler(net, ham).sample(100_000, seed=1)
        sampled = time.perf_counter() - begin
        found = vf.observables.measure(batch, beta=options.beta, correlation=False)
        sites = ham.num_sites
        exact = vf.exact.transfer_matrix(ham, options.beta) if min(shape) <= 8 else None
        rows.append(
            [
                f"{shape[0]} x {shape[1]}",
                found.free_energy.value / sites,
                found.free_energy.error / sites,
                found.unbiased.free_energy.value / sites,
                found.unbiased.free_energy.error / sites,
                exact.free_energy / sites if exact else "-",
                found.energy.value / sites,
                found.unbiased.energy.value / sites,
                exact.energy / sites if exact else "-",
                found.ess_fraction,
                found.loss_variance.value,
                trained / options.steps,
                100_000 / sampled,
            ]
        )
    columns = ["lattice", "F/N VAN", "±", "F/N unbiased", "± unbiased", "F/N exact", "E/N VAN", "E/N unbiased"]
    columns += ["E/N exact", "ESS", "Var(beta E + ln q)", "seconds per step", "samples/s"]
    report("plus_minus_j", vars(options), columns, rows)


if __name__ == "__main__":
    main()
