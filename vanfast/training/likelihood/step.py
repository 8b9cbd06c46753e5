"""ln q of given configurations and its gradient.

With weights w_n of the data, sum_n w_n = 1, the cross-entropy is L = -sum_n w_n ln q(s_n): both spin values count,
where L. Wang and Y. Jiang (arXiv:2007.01037, eq. 1) print the term of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from vanfast.sampler import Sampler


def accumulate_log_prob(
    sampler: Sampler, spins: torch.Tensor, weight: torch.Tensor, micro_batch: int | None
) -> torch.Tensor:
    """Leaves the gradient of sum_n weight[n] ln q(s_n) in the `.grad` of the sampler's network; returns ln q, float64
    [B], on the CPU.

    spins: int8 [B, N] where the network lies; weight: float64 [B], on the CPU. One pass forward and one backward by the
    engine where it has one for given spins, else by autograd.
    """
    net = sampler.net
    net.zero_grad(set_to_none=True)
    size = len(spins) if micro_batch is None else min(micro_batch, len(spins))
    log_q = []
    for some, share in zip(spins.split(size), weight.split(size), strict=True):
        kept = sampler.evaluate_and_keep(some)
        if kept is not None:
            net.add_gradient(kept.gradient(share))
            log_q.append(kept.log_q.cpu())
            continue
        found = net.log_prob(some)
        (share.to(found.device) * found).sum().backward()
        log_q.append(found.detach().cpu())
    return torch.cat(log_q)


def cross_entropy(sampler: Sampler, spins: torch.Tensor, counts: torch.Tensor, chunk: int = 1 << 14) -> float:
    """-sum_n counts[n] ln q(s_n) / sum_n counts[n] in nats. spins: int8 [B, N]; counts: float64 [B], on the CPU."""
    total = sum(
        float(share @ sampler.log_prob(some).cpu())
        for some, share in zip(spins.split(chunk), counts.split(chunk), strict=True)
    )
    return -total / float(counts.sum())
