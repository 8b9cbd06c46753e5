"""Pseudo-likelihood with an L1 penalty on the couplings, for any number of spins.

Maximised is, over symmetric K = beta J and H = beta h,
    (1/M) sum_samples sum_i ln p(s_i | all other spins) - l1 sum_{i<j} |K_ij|,
    ln p(s_i | others) = -ln(1 + exp(-2 s_i u_i)),     u_i = H_i + sum_j K_ij s_j,
J. Besag, The Statistician 24, 179 (1975); with L1 P. Ravikumar, M. Wainwright, J. Lafferty, Ann. Stat. 38, 1287 (2010).
Its gradient: d/dH_i = <s_i - tanh u_i>, d/dK_ij = <2 s_i s_j - s_i tanh u_j - s_j tanh u_i>.
Two products of [M, N] and [N, N] a step; samples seen more than once are merged.
"""

from __future__ import annotations

import numpy as np

from vanfast.training.data.samples import Samples
from vanfast.training.inverse.quasi_newton import minimise
from vanfast.training.inverse.result import OuterStep, symmetric

FARTHEST = 0.01  # step in K or H where the gradient has vanished: a longer one goes on to infinity
LARGEST = 10.0  # K or H that needs some exp(20) samples


def pseudo_likelihood(
    samples: Samples, l1: float = 0.0, tolerance: float = 1e-9, max_steps: int = 2000
) -> tuple[np.ndarray, np.ndarray, list[OuterStep], bool]:
    """K, H, the history, and whether the gradient fell to `tolerance`.

    Raises ValueError where the maximum is at infinity: a spin that the others determine in all samples.
    """
    samples = samples.distinct()
    n, total = samples.num_sites, float(samples.counts.sum())
    i, j = np.triu_indices(n, 1)
    penalty = np.concatenate([np.zeros(n), np.full(len(i), l1)])
    history: list[OuterStep] = []

    def function(theta: np.ndarray) -> tuple[float, np.ndarray]:
        K, H = symmetric(theta[n:], n), theta[:n]
        value, fields, pairs = 0.0, np.zeros(n), np.zeros((n, n))
        for s, counts in samples.chunks():
            w = counts / total
            u = s @ K + H
            x = -2 * s * u
            value += float(w @ (np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x)))).sum(1))  # ln(1 + e^x)
            residual = w[:, None] * (np.tanh(u) - s)
            fields += residual.sum(0)
            pairs += residual.T @ s
        return value, np.concatenate([fields, (pairs + pairs.T)[i, j]])

    def report(value: float, slope: np.ndarray) -> None:
        history.append(OuterStep(len(history), float(np.sqrt(np.mean(slope**2))), objective=-float(value)))

    m = samples.moments().magnetization
    start = np.concatenate([np.arctanh(m), np.zeros(len(i))])
    theta, converged, reach = minimise(function, start, penalty, tolerance, max_steps, report)
    # A penalty keeps the maximum finite, if on a plateau where steps are long.
    if not l1 and reach > FARTHEST and (converged or np.abs(theta).max() > LARGEST):
        k = int(np.abs(theta).argmax())
        what = f"field of spin {k}" if k < n else f"coupling of spins {i[k - n]} and {j[k - n]}"
        raise ValueError(
            f"the pseudo-likelihood has no finite maximum: the {what} grew to {theta[k]:.3g} and "
            "goes on, since other spins determine a spin in some or all samples; give more samples, or l1 > 0"
        )
    return symmetric(theta[n:], n), theta[:n], history, converged
