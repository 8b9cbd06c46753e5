"""KL divergence between a trained network rounded to bf16 and itself in fp32, both ways, and what rounding does to F.

KL(a || b) is the mean over samples of a of d = ln q_a - ln q_b, both exact; here that of exp(-d) - 1 + d, which
has the same mean (that of exp(-d) is 1) and, for small d, a far smaller variance.
"""

from __future__ import annotations

import torch
from study import arguments, report

import vanfast as vf


def divergence(d: torch.Tensor) -> torch.Tensor:
    return torch.expm1(-d) + d


def main() -> None:
    options = arguments(__doc__ or "", steps=600, batch=1000, count=100_000)
    rows = []
    for L, depth, width, half_kernel in ((8, 3, 32, 4), (16, 3, 64, 6)):
        ham = vf.hamiltonians.IsingSquare(L=L)
        torch.manual_seed(0)
        net = vf.networks.PixelCNN((L, L), depth, width, half_kernel, z2=True)
        steps = options.steps if L == 8 else options.steps // 6
        vf.train(net, ham, beta=0.44, steps=steps, batch=options.batch, anneal=0.01 ** (2 / steps), progress=False)
        count = options.count if L == 8 else options.count // 5
        full, rounded = vf.Sampler(net, ham), vf.Sampler(net, ham, precision="bf16")
        a, b = full.sample(count, seed=1), rounded.sample(count, seed=1)
        forward = divergence(b.log_q - full.log_prob(b.spins))
        backward = divergence(a.log_q - rounded.log_prob(a.spins))
        difference = (0.44 * b.energy + b.log_q).mean() - (0.44 * a.energy + a.log_q).mean()
        rows.append(
            [
                f"{depth}/{width}/{half_kernel} L={L}",
                float(forward.mean()),
                float(forward.std() / count**0.5),
                float(backward.mean()),
                float(backward.std() / count**0.5),
                float(difference) / L**2,
                float((a.spins != b.spins).any(1).double().mean()),
            ]
        )
    columns = [
        "network",
        "KL(bf16 || fp32)",
        "±",
        "KL(fp32 || bf16)",
        "± back",
        "beta F/N, bf16 - fp32",
        "samples changed",
    ]
    report("bf16", vars(options), columns, rows)


if __name__ == "__main__":
    main()
