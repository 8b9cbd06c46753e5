"""Exact maximum likelihood: the couplings whose Boltzmann distribution has the data's moments, by enumeration.

The mean ln p of the data is L = sum_a theta_a mu_a - ln Z(theta), where a runs over spins and pairs, theta are
K = beta J and H = beta h, and mu the data's moments. L is concave: its gradient is mu - <s_a>, its Hessian minus the
covariance <s_a s_b> - <s_a><s_b>. Every product s_a s_b is a product of the spins in the symmetric difference of a and
b, and the Walsh-Hadamard transform of the 2^N probabilities holds the averages of all products at once: Newton's method
costs one enumeration and one transform a step.
"""

from __future__ import annotations

import numpy as np

from vanfast.exact import Enumeration, enumerate
from vanfast.hamiltonians import Pairwise
from vanfast.training.data import Moments
from vanfast.training.inverse.result import OuterStep, symmetric

MAX_SITES = 20
SHORTEST_STEP = 1e-10  # of the line search, as a share of Newton's step


def maximum_likelihood(
    moments: Moments, tolerance: float = 1e-10, max_steps: int = 100, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray, list[OuterStep]]:
    """K, H and the history of Newton's method, until no moment differs by more than `tolerance`.

    Raises ValueError for more than 20 spins, and where no finite couplings have these moments.
    """
    n = moments.num_sites
    if n > MAX_SITES:
        raise ValueError(f"method 'mle' enumerates at most {MAX_SITES} spins, the data have {n}; use 'plm' or 'van'")
    i, j = np.triu_indices(n, 1)
    target = np.concatenate([moments.magnetization, moments.correlation[i, j]])
    masks = np.concatenate([1 << np.arange(n), (1 << i) | (1 << j)])
    theta = np.concatenate([np.arctanh(moments.magnetization), np.zeros(len(i))])
    state = _evaluate(theta, n, threads)
    history: list[OuterStep] = []
    while True:
        gradient = target - np.concatenate([state.magnetization, state.correlation[i, j]])
        value = float(theta @ target) - state.log_z
        history.append(OuterStep(len(history), float(np.sqrt(np.mean(gradient**2))), objective=value))
        move = _newton_step(state, masks, gradient)
        small = np.abs(gradient).max() <= tolerance
        if small and np.abs(move).max() <= 1e-3:
            return symmetric(theta[n:], n), theta[:n], history
        # Where the maximum is at infinity the gradient vanishes while Newton's steps stay about 1.
        if small or len(history) > max_steps or not np.isfinite(move).all():
            raise ValueError(
                f"no finite couplings have these moments (after {len(history)} steps the largest is "
                f"{np.abs(theta).max():.3g}); give more samples, or regularizer > 0"
            )
        rise, share = float(gradient @ move), 1.0
        while True:
            trial = theta + share * move
            state = _evaluate(trial, n, threads)
            # Near the maximum the rise is lost in the rounding of L.
            slack = 1e-13 * max(1.0, abs(state.log_z))
            if trial @ target - state.log_z >= value + 1e-4 * share * rise - slack or share < SHORTEST_STEP:
                break
            share /= 2
        theta = trial


def log_likelihood(moments: Moments, K: np.ndarray, H: np.ndarray, threads: int | None = None) -> float:
    """Mean ln p of data with these moments under couplings K and fields H."""
    i, j = np.triu_indices(moments.num_sites, 1)
    log_z = enumerate(Pairwise(K, H), 1.0, threads=threads).log_z
    return float(H @ moments.magnetization + K[i, j] @ moments.correlation[i, j] - log_z)


def _evaluate(theta: np.ndarray, n: int, threads: int | None) -> Enumeration:
    return enumerate(Pairwise(symmetric(theta[n:], n), theta[:n]), 1.0, log_prob=True, threads=threads)


def _newton_step(state: Enumeration, masks: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    assert state.log_prob is not None
    products = walsh_hadamard(np.exp(state.log_prob))
    mean = products[masks]
    covariance = products[masks[:, None] ^ masks] - np.outer(mean, mean)
    # Far from the data directions that the model has frozen out would make the step infinite.
    floor = 1e-14 * np.trace(covariance) / len(covariance)
    return np.linalg.solve(covariance + floor * np.eye(len(covariance)), gradient)


def walsh_hadamard(values: np.ndarray) -> np.ndarray:
    """Entry m of the result is sum_k values_k prod_{i in m} s_i(k), [2^N]: s_i(k) = +1 where bit i of k is set."""
    total = np.array(values, dtype=np.float64)
    width = 1
    while width < len(total):
        pairs = total.reshape(-1, 2, width)
        total = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 1] - pairs[:, 0]], axis=1).ravel()
        width *= 2
    return total
