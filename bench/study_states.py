"""Sites of q states on one thread: the engine's samples against naive sampling, and its gradient against autograd's.

naive: the whole network once for every site in PyTorch, one forward pass times N. Gflop/s: the unmasked arithmetic of a
pass, and with a symmetry of the passes over all images. CPU time of the process, the least of several.
"""

from __future__ import annotations

import numpy as np
import torch
from study import arguments, report
from study_likelihood import cpu_milliseconds

import vanfast as vf
from vanfast.networks import MADE, CategoricalMADE, Network

BATCH = 1000
CASES = {
    "spins, N = 256": lambda: MADE(256, seed=1),
    "q = 2, N = 256": lambda: CategoricalMADE(256, 2, seed=1),
    "q = 3, N = 256": lambda: CategoricalMADE(256, 3, seed=1),
    "q = 3, N = 256, Z3": lambda: CategoricalMADE(256, 3, symmetry="cyclic", seed=1),
    "q = 5, N = 64 (stride 2 of L = 16)": lambda: CategoricalMADE(64, 5, seed=1),
    "q = 5, N = 225 (stride 1 of L = 16)": lambda: CategoricalMADE(225, 5, seed=1),
}


def useful_operations(net: Network) -> float:
    return 2.0 * sum(float((layer.weight != 0).sum()) for layer in net.plan().layers)


def main() -> None:
    options = arguments(__doc__ or "", repeats=7)
    torch.set_num_threads(1)
    rows = []
    for name, make in CASES.items():
        net = make()
        sampler = vf.Sampler(net, backend="cpu", threads=1)
        spins = sampler.sample(BATCH).spins
        weight = torch.full((BATCH,), 1.0 / BATCH, dtype=torch.float64)

        def autograd(net: Network = net, spins: torch.Tensor = spins, weight: torch.Tensor = weight) -> None:
            net.zero_grad(set_to_none=True)
            (weight * net.log_prob(spins)).sum().backward()

        def forward(net: Network = net, spins: torch.Tensor = spins) -> None:
            with torch.no_grad():
                net.logits(spins)

        sample = cpu_milliseconds(lambda s=sampler: s.sample(BATCH), options.repeats)
        naive = net.num_sites * cpu_milliseconds(forward, options.repeats)
        gradient, other = (
            cpu_milliseconds(step, options.repeats)
            for step in (lambda s=sampler, x=spins, w=weight: s.evaluate_and_keep(x).gradient(w), autograd)
        )
        passes = len(net.images(spins[:1]))
        rate = passes * BATCH * useful_operations(net) / sample / 1e6
        rows.append([name, sample, BATCH / sample * 1e3, naive / sample, rate, gradient, other / gradient])
    columns = ["sites", "1,000 samples, ms", "samples/s", "x naive", "Gflop/s", "gradient, ms", "autograd / gradient"]
    report("states", vars(options), columns, rows)
    ham, states = vf.hamiltonians.Potts(16, q=5), np.random.default_rng(0).integers(0, 5, (20_000, 256)).astype(np.int8)
    taken = cpu_milliseconds(lambda: ham.energy(states, threads=1), options.repeats)
    print(f"Potts energies, 16x16, q = 5: {20_000 / taken * 1e3:,.0f} a second")


if __name__ == "__main__":
    main()
