"""One estimate of the gradient of the variational free energy, by REINFORCE with the batch mean as baseline.

    grad (beta F) = E_q[ (beta E(s) + ln q(s) - b) grad ln q(s) ],   b = mean over the batch
(VAN, eq. 6; the baseline does not bias the expectation beyond a factor (B - 1) / B).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from vanfast.networks import Network
    from vanfast.sampler import Sampler


@dataclass(frozen=True)
class Draw:
    """A batch drawn from the network: spins int8 [B, N], log_q and energy float64 [B], and the seconds it took.

    Where the sampling pass kept the pre-activations of its linear layers they are in `activations`, and belong to
    `drawn`, the spins before the symmetry flip (log q is the same); else None, and `drawn` is `spins`.
    """

    spins: torch.Tensor
    log_q: torch.Tensor
    energy: torch.Tensor
    drawn: torch.Tensor
    activations: list[torch.Tensor] | None
    seconds: float


def draw(sampler: Sampler, count: int, seed: int, first: int, chunk: int | None) -> Draw:
    """Draws samples first .. first + count - 1; by the contract of randomness `chunk` bounds memory and nothing else.

    Activations are kept only where they belong to the whole batch, since a chunk says that memory is short.
    """
    begin = time.perf_counter()
    size = min(chunk or count, count)
    kept = sampler.sample_and_keep(count, seed=seed, first=first) if size == count else None
    if kept is not None and kept.energy is not None:
        seconds = time.perf_counter() - begin
        return Draw(kept.spins, kept.log_q, kept.energy, kept.drawn, kept.activations, seconds)
    pieces = [
        sampler.sample(min(size, count - start), seed=seed, first=first + start) for start in range(0, count, size)
    ]
    energies = [piece.energy for piece in pieces if piece.energy is not None]
    if len(energies) != len(pieces):
        raise ValueError("training needs a sampler with a Hamiltonian, got one without")
    spins = torch.cat([piece.spins for piece in pieces])
    log_q = torch.cat([piece.log_q for piece in pieces])
    return Draw(spins, log_q, torch.cat(energies), spins, None, time.perf_counter() - begin)


def accumulate_gradient(net: Network, batch: Draw, beta: float, micro_batch: int | None) -> torch.Tensor:
    """Leaves the gradient of beta F in the parameters' `.grad`; returns beta E + ln q, float64 [B].

    The baseline is that of the whole batch, so micro-batches change nothing but the order of additions.
    """
    reward = beta * batch.energy + batch.log_q
    weight = (reward - reward.mean()) / len(reward)
    net.zero_grad(set_to_none=True)
    count = len(reward)
    size = min(micro_batch or count, count)
    for start in range(0, count, size):
        part = slice(start, start + size)
        log_prob = net.log_prob(batch.drawn[part], activations=batch.activations if size == count else None)
        (weight[part].to(log_prob.device) * log_prob).sum().backward()
    return reward


def effective_sample_size(log_weight: torch.Tensor) -> float:
    """(sum w)^2 / (B sum w^2) of unnormalised log weights, in (0, 1]."""
    shifted = log_weight - log_weight.max()
    return float(torch.exp(2 * torch.logsumexp(shifted, 0) - torch.logsumexp(2 * shifted, 0))) / len(log_weight)
