"""Closed formulas of the inverse problem: naive mean field, TAP, independent pairs, Sessak-Monasson, Bethe.

All give K = beta J and H = beta h. Written below with m_i = <s_i>, L_i = 1 - m_i^2, c_ij = <s_i s_j> - m_i m_j and C
the matrix of c with L on its diagonal. The VAN paper's supplement has them without fields (m = 0, so C_ii = 1), and
without beta: its J is K. Off the diagonal, at small K and m = 0,
    c_ij = K_ij + sum_k K_ik K_kj + O(K^3),      (C^-1)_ij = -K_ij + O(K^3),
from which signs and orders below follow (and are tested).

Pairs. Two spins alone with moments m_i, m_j, c have probabilities p_ab = (1 + a m_i + b m_j + ab (c + m_i m_j)) / 4 and
    K = (1/4) ln(p_++ p_-- / p_+- p_-+),     H_i = (1/4) ln(p_++ p_+- / p_-+ p_--).
"""

from __future__ import annotations

import numpy as np

from vanfast.training.data import Moments

Inferred = tuple[np.ndarray, np.ndarray]


def naive_mean_field(moments: Moments) -> Inferred:
    """Linear response of naive mean field: K_ij = -(C^-1)_ij, H_i = artanh m_i - sum_j K_ij m_j.

    Eq. 24 of the supplement, delta_ij - (C^-1)_ij, is the same for i != j; its diagonal, which is not zero, means
    nothing. At m = 0 the error is of order K^3: two spins give sinh(2K) / 2.
    """
    m = moments.magnetization
    K = _off_diagonal(-np.linalg.inv(moments.connected))
    return K, np.arctanh(m) - K @ m


def thouless_anderson_palmer(moments: Moments) -> Inferred:
    """Linear response of the TAP equations: (C^-1)_ij = -K_ij - 2 K_ij^2 m_i m_j, of whose roots K is the small one;
    H_i = artanh m_i - sum_j K_ij m_j + m_i sum_j K_ij^2 L_j. Naive mean field where m = 0. With magnetisations of order
    1 its error is of order K^3, that of naive mean field K^2.

    Raises ValueError for pairs without a real root.
    """
    m, inverse = moments.magnetization, np.linalg.inv(moments.connected)
    square = 1 - 8 * np.outer(m, m) * inverse
    np.fill_diagonal(square, 1.0)
    if square.min() < 0:
        i, j = np.unravel_index(square.argmin(), square.shape)
        raise ValueError(
            f"tap has no solution for spins {i} and {j}: 1 - 8 m_i m_j (C^-1)_ij = {square.min():.3g} is negative; "
            "use another method, or give regularizer > 0"
        )
    K = _off_diagonal(-2 * inverse / (1 + np.sqrt(square)))
    return K, np.arctanh(m) - K @ m + m * (K**2 @ (1 - m**2))


def independent_pairs(moments: Moments) -> Inferred:
    """Every pair as if it were alone, eq. 26 of the supplement (there for m = 0: K_ij = artanh c_ij).

    Fields: H_i = artanh m_i + sum_j (H_i of the pair ij - artanh m_i). The error is of order K^2, from paths over a
    third spin; exact for two spins.
    """
    K, pair_fields = _pairs(moments.magnetization, moments.connected)
    return K, _sum_over_pairs(moments.magnetization, pair_fields)


def sessak_monasson(moments: Moments) -> Inferred:
    """Expansion in small correlations: loops of all lengths, and all that two spins do, less what is in both.

    Eq. 25 of the supplement with fields:  K_ij = -(C^-1)_ij + K_ij of the pair - c_ij / (L_i L_j - c_ij^2).
    The field follows from the same sum of entropies S(m, c), H_i = -dS/dm_i - sum_j K_ij m_j; the derivatives are
    artanh m_i + m_i ((C^-1)_ii - 1/L_i) of the loops, and (H_i of the pair) + (K of the pair) m_j.
    Exact for two spins; else the error is of order K^5 at m = 0.
    """
    m, c = moments.magnetization, moments.connected
    L = 1 - m**2
    inverse, determinant = np.linalg.inv(c), _pair_determinant(L, c)
    pair, pair_fields = _pairs(m, c)
    K = _off_diagonal(-inverse + pair - c / determinant)
    free = np.arctanh(m)
    loops = free + m * (np.diag(inverse) - 1 / L)
    alone = _off_diagonal(pair_fields + pair * m - free[:, None])
    counted = _off_diagonal(m[:, None] * (L[None, :] / determinant - 1 / L[:, None]))
    return K, loops + (alone - counted).sum(1) - K @ m


def bethe(moments: Moments) -> Inferred:
    """Linear response of belief propagation, exact on trees.

    There (C^-1)_ij = -x / (L_i L_j - x^2) for neighbours, x the connected correlation of the pair's belief; K_ij is the
    coupling of a pair with moments m_i, m_j, x, and H_i as for independent pairs. With m = 0 this is
    K_ij = -arcsinh(2 (C^-1)_ij) / 2: eq. 27 of the supplement lacks the minus sign.
    At m = 0 the error is of order K^4, from loops.
    """
    m = moments.magnetization
    L = 1 - m**2
    slope = -np.linalg.inv(moments.connected)
    product = np.outer(L, L)
    x = 2 * slope * product / (1 + np.sqrt(1 + 4 * slope**2 * product))
    K, pair_fields = _pairs(m, x)
    return K, _sum_over_pairs(m, pair_fields)


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    matrix = np.array(matrix)
    np.fill_diagonal(matrix, 0.0)
    return matrix


def _pair_determinant(L: np.ndarray, c: np.ndarray) -> np.ndarray:
    """L_i L_j - c_ij^2, with 1 on the diagonal."""
    determinant = np.outer(L, L) - c**2
    np.fill_diagonal(determinant, 1.0)
    return determinant


def _pairs(m: np.ndarray, c: np.ndarray) -> Inferred:
    """K_ij and H_i of the pair ij [N, N], zero on the diagonal; ValueError where a combination has probability 0."""
    full = c + np.outer(m, m)
    np.fill_diagonal(full, 0.0)
    p = {(a, b): 1 + a * m[:, None] + b * m[None, :] + a * b * full for a in (1, -1) for b in (1, -1)}
    for (a, b), values in p.items():
        others = ~np.eye(len(m), dtype=bool)
        if (values[others] <= 1e-13).any():
            i, j = (int(k) for k in np.argwhere((values <= 1e-13) & others)[0])
            raise ValueError(
                f"spins {i} and {j} are never {a:+d} and {b:+d}: their coupling is infinite; give more samples, or "
                "regularizer > 0"
            )
    with np.errstate(divide="ignore"):
        log = {key: np.log(np.where(np.eye(len(m)), 1.0, values)) for key, values in p.items()}
    K = (log[1, 1] + log[-1, -1] - log[1, -1] - log[-1, 1]) / 4
    H = (log[1, 1] + log[1, -1] - log[-1, 1] - log[-1, -1]) / 4
    return K, H


def _sum_over_pairs(m: np.ndarray, pair_fields: np.ndarray) -> np.ndarray:
    free = np.arctanh(m)
    return free + _off_diagonal(pair_fields - free[:, None]).sum(1)
