"""Free energy of a network on the Curie-Weiss model, without samples.

Where the conditionals of a network depend on the site i and on M_i = s_0 + .. + s_{i-1} alone, so does the distribution
of M_i: with u the number of spins up among the first i and a_iu the logits,
    Q_0(0) = 1,   Q_{i+1}(u + 1) += Q_i(u) sigmoid(a_iu),   Q_{i+1}(u) += Q_i(u) sigmoid(-a_iu),
    beta F = sum_i sum_u Q_i(u) [p ln p + (1-p) ln(1-p)] - (beta J / 2N) (<M^2> - N) - beta h <M>.
O(N^2), and differentiable: the optimum of such networks follows without noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from vanfast.exact._result import check_beta
from vanfast.exact.curie_weiss import curie_weiss


@dataclass(frozen=True, kw_only=True)
class NetworkThermodynamics:
    """Figures of q, float64 tensors without dimensions that carry gradients; extensive but for the magnetisations.

    Attributes:
        free_energy: F[q] = <E> - S / beta.
        energy: <E>.
        entropy: S = -<ln q>.
        kl: D_KL(q || Boltzmann) = beta F[q] + ln Z.
        magnetization, abs_magnetization: <m> and <|m|> of m = M / N.
        distribution: of the number of spins up, [N + 1].
    """

    num_sites: int
    beta: float
    free_energy: Tensor
    energy: Tensor
    entropy: Tensor
    kl: Tensor
    magnetization: Tensor
    abs_magnetization: Tensor
    distribution: Tensor


def forward_recursion(logits: Tensor, beta: float, J: float = 1.0, h: float = 0.0) -> NetworkThermodynamics:
    """What the network with the logits a_iu has for a free energy on the Curie-Weiss model of its size.

    Args:
        logits: [N, N], entry [i, u] for u <= i as in `networks.MagnetizationPlan`: `net.table()`.
        beta, J, h: of the Curie-Weiss model, see `curie_weiss`.

    Raises:
        ValueError: logits that are not square, beta not positive, J or h not finite.
    """
    beta = check_beta(beta)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != logits.shape[1] or not len(logits):
        found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"logits must be a square tensor [N, N], not {found}")
    for name, value in (("J", J), ("h", h)):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, not {value}")
    N = len(logits)
    reached = torch.ones_like(logits, dtype=torch.bool).tril()
    a = torch.where(reached, logits.double(), 0.0)  # what lies above the diagonal may be anything
    log_up, log_down = functional.logsigmoid(a), functional.logsigmoid(-a)
    up, down = log_up.exp(), log_down.exp()
    visits: Tensor = _Visits.apply(up, down)
    entropy = -(visits[:N, :N] * (up * log_up + down * log_down)).sum()
    Q = visits[N]
    m = 2 * torch.arange(N + 1, dtype=torch.float64, device=Q.device) / N - 1
    energy = (Q * (-J * (N * m**2 - 1) / 2 - N * h * m)).sum()
    return NetworkThermodynamics(
        num_sites=N,
        beta=beta,
        free_energy=energy - entropy / beta,
        energy=energy,
        entropy=entropy,
        kl=beta * energy - entropy + curie_weiss(N, beta, J, h).log_z,
        magnetization=(Q * m).sum(),
        abs_magnetization=(Q * m.abs()).sum(),
        distribution=Q,
    )


class _Visits(torch.autograd.Function):
    """Q_i(u), float64 [N + 1, N + 1] with zeros for u > i, from the probabilities of up and down, [N, N].

    The derivative goes the other way: with G the one by Q and L_N = G_N,
        L_i(u) = G_i(u) + up_iu L_{i+1}(u + 1) + down_iu L_{i+1}(u),
    that by up_iu is Q_i(u) L_{i+1}(u + 1), that by down_iu is Q_i(u) L_{i+1}(u). In numpy, whose calls cost less.
    """

    @staticmethod
    def forward(ctx: Any, up: Tensor, down: Tensor) -> Tensor:
        u, d = up.cpu().numpy(), down.cpu().numpy()
        N = len(u)
        Q = np.zeros((N + 1, N + 1))
        Q[0, 0] = 1.0
        for i in range(N):
            Q[i + 1, : i + 1] = Q[i, : i + 1] * d[i, : i + 1]
            Q[i + 1, 1 : i + 2] += Q[i, : i + 1] * u[i, : i + 1]
        ctx.tables = u, d, Q
        return torch.from_numpy(Q.copy()).to(up.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        u, d, Q = ctx.tables
        L = gradient.cpu().numpy().copy()
        by_up, by_down = np.zeros_like(u), np.zeros_like(d)
        for i in reversed(range(len(u))):
            above, same = L[i + 1, 1 : i + 2], L[i + 1, : i + 1]
            by_up[i, : i + 1] = Q[i, : i + 1] * above
            by_down[i, : i + 1] = Q[i, : i + 1] * same
            L[i, : i + 1] += u[i, : i + 1] * above + d[i, : i + 1] * same
        return torch.from_numpy(by_up).to(gradient.device), torch.from_numpy(by_down).to(gradient.device)
