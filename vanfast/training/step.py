"""One estimate of the gradient of the variational free energy, by REINFORCE with the batch mean as baseline.

    grad (beta F) = E_q[ (beta E(s) + ln q(s) - b) grad ln q(s) ],   b = mean over the batch
(VAN, eq. 6; the baseline does not bias the expectation beyond a factor (B - 1) / B).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from vanfast.backends import Kept
    from vanfast.sampler import Sampler


@contextmanager
def one_torch_thread(wanted: bool) -> Iterator[None]:
    """Where the engine does the work, on its own threads, torch's team of threads is kept out of the way: waiting for
    its next tiny operation it would spin on the engine's cores. SK with N = 20: 1.5 ms a step instead of 7 to 26."""
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if wanted:
            torch.set_num_threads(before)


@dataclass(frozen=True)
class Draw:
    """Samples first .. first + B - 1 of `seed`: spins int8 [B, N], log_q and energy float64 [B], and the seconds it
    took. `kept` is what the backward pass needs of the sampling pass, where the backend offers that and the whole
    batch was drawn at once."""

    seed: int
    first: int
    spins: torch.Tensor
    log_q: torch.Tensor
    energy: torch.Tensor
    kept: Kept | None
    seconds: float


def draw(sampler: Sampler, count: int, seed: int, first: int, chunk: int | None) -> Draw:
    """Draws samples first .. first + count - 1; `chunk` bounds memory and changes nothing else."""
    begin = time.perf_counter()
    size = min(chunk or count, count)
    if sampler.ham is None:
        raise ValueError("training needs a sampler with a Hamiltonian, got one without")
    kept = sampler.sample_and_keep(count, seed=seed, first=first) if size == count else None
    if kept is not None:
        assert kept.energy is not None
        return Draw(seed, first, kept.spins, kept.log_q, kept.energy, kept, time.perf_counter() - begin)
    starts = range(0, count, size)
    pieces = [sampler.sample(min(size, count - start), seed=seed, first=first + start) for start in starts]
    spins, log_q = torch.cat([piece.spins for piece in pieces]), torch.cat([piece.log_q for piece in pieces])
    energy = torch.cat([piece.energy for piece in pieces if piece.energy is not None])
    return Draw(seed, first, spins, log_q, energy, None, time.perf_counter() - begin)


def accumulate_gradient(sampler: Sampler, batch: Draw, beta: float, micro_batch: int | None) -> torch.Tensor:
    """Leaves the gradient of beta F in the `.grad` of the sampler's network; returns beta E + ln q, float64 [B].

    The backward pass is the backend's where it has one, else autograd's. A micro-batch that the backend differentiates
    is drawn once more: that costs less than a forward pass and needs no memory for the rest of the batch. The baseline
    is that of the whole batch, so micro-batches change nothing but the order of additions.
    """
    net = sampler.net
    reward = beta * batch.energy + batch.log_q
    weight = (reward - reward.mean()) / len(reward)
    net.zero_grad(set_to_none=True)
    count = len(reward)
    size = min(micro_batch or count, count)
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        kept = batch.kept
        if kept is None:
            kept = sampler.sample_and_keep(part.stop - start, seed=batch.seed, first=batch.first + start)
        if kept is not None:
            net.add_gradient(kept.gradient(weight[part]))
        else:
            log_prob = net.log_prob(batch.spins[part])
            (weight[part].to(log_prob.device) * log_prob).sum().backward()
    return reward


def effective_sample_size(log_weight: torch.Tensor) -> float:
    """(sum w)^2 / (B sum w^2) of unnormalised log weights, in (0, 1]."""
    shifted = log_weight - log_weight.max()
    return float(torch.exp(2 * torch.logsumexp(shifted, 0) - torch.logsumexp(2 * shifted, 0))) / len(log_weight)
