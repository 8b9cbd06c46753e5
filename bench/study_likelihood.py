"""A step of likelihood training on one thread: the engine's two passes for given spins against autograd's.

The engine's time includes the packing of new weights. CPU time of the process, the least of several.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from study import arguments, report

import vanfast as vf
from vanfast.networks import MADE, SK, CurieWeissInf, Dense, PixelCNN
from vanfast.training.likelihood.step import accumulate_log_prob

FREE = vf.hamiltonians.Pairwise(np.zeros((100, 100)))
CASES = {
    "MADE 256-180-120-256": (lambda: MADE(256, hidden=(180, 120), seed=1), 500),
    "Dense 3/4, N = 256": (lambda: Dense(256, depth=3, width=4, seed=1), 500),
    "PixelCNN 3/32/6, L = 16": (lambda: PixelCNN((16, 16), 3, 32, 6, z2=False, seed=1), 100),
    "SK_1RSB, N = 100, couplings learnt": (lambda: SK(FREE, 1.0, start="small", learn_couplings=True, seed=1), 500),
    "CW_inf, N = 100": (lambda: CurieWeissInf(100, seed=1), 500),
}


def cpu_milliseconds(step: Callable[[], object], repeats: int) -> float:
    step()
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        step()
        taken.append(time.process_time() - begin)
    return 1e3 * min(taken)


def main() -> None:
    options = arguments(__doc__ or "", repeats=5)
    torch.set_num_threads(1)
    rows = []
    for name, (make, batch) in CASES.items():
        net = make()
        spins = torch.from_numpy(np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (batch, net.num_sites)))
        weight = torch.full((batch,), -1.0 / batch, dtype=torch.float64)
        sampler = vf.Sampler(net, backend="cpu", threads=1)

        def engine(sampler: vf.Sampler = sampler, spins: torch.Tensor = spins, weight: torch.Tensor = weight) -> None:
            sampler.forget()
            accumulate_log_prob(sampler, spins, weight, None)

        def autograd(
            net: vf.networks.Network = net, spins: torch.Tensor = spins, weight: torch.Tensor = weight
        ) -> None:
            net.zero_grad(set_to_none=True)
            (weight * net.log_prob(spins)).sum().backward()

        mine, other = (cpu_milliseconds(step, options.repeats) for step in (engine, autograd))
        rows.append([name, batch, mine, other, other / mine])
    report("likelihood_step", vars(options), ["network", "batch", "engine, ms", "autograd, ms", "ratio"], rows)


if __name__ == "__main__":
    main()
