"""Operations of torch, `torch.ops.vanfast.sample`, `log_prob`, `log_prob_backward` and `energy`, and functions that
call them for networks and Hamiltonians. All can be used inside `torch.compile(fullgraph=True)`.

    def loss(net, ham, beta, first):
        spins, log_q = vf.ops.sample(net, 1000, seed=0, first=first)
        reward = beta * vf.ops.energy(ham, spins) + log_q
        return ((reward - reward.mean()) * vf.ops.log_prob(net, spins)).mean()

    step = torch.compile(loss, fullgraph=True)
"""

from __future__ import annotations

from vanfast.ops import autograd, cpu, device, schemas  # noqa: F401  they register
from vanfast.ops.functional import energy, log_prob, sample

__all__ = ["energy", "log_prob", "sample"]
