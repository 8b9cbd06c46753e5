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

import torch
from torch import Tensor
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
    Q = torch.ones(1, dtype=torch.float64, device=logits.device)
    entropy = Q.new_zeros(())
    for i in range(N):
        a = logits[i, : i + 1].double()
        log_up, log_down = functional.logsigmoid(a), functional.logsigmoid(-a)
        up, down = Q * log_up.exp(), Q * log_down.exp()
        entropy = entropy - (up * log_up + down * log_down).sum()
        Q = functional.pad(down, (0, 1)) + functional.pad(up, (1, 0))
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
