"""Correlations within Markov chains: integrated autocorrelation time, blocking, Geweke's check of equilibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vanfast._estimates import Estimate

_WINDOW = 5.0  # the sum of autocorrelations is cut at this many times its own value


@dataclass(frozen=True)
class Autocorrelation:
    """tau = 1/2 + sum_t rho(t), in draws: a mean over n of them has the variance 2 tau Var / n.

    Attributes:
        tau: with its statistical error; at least 1/2.
        window: largest t in the sum; NaN errors and a window at the end of the chains mean that they are too short.
        rho: autocorrelations, float64 [window + 1].
    """

    tau: Estimate
    window: int
    rho: np.ndarray


def series(values: Any, least: int = 1) -> np.ndarray:
    """One number a draw as float64 [chains, draws], from [draws] or [chains, draws].

    Raises ValueError for other shapes, fewer draws than `least`, or values that are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"values has shape {list(np.shape(values))}, expected [draws] or [chains, draws]")
    if array.shape[1] < least:
        raise ValueError(f"values has {array.shape[1]} draws a chain, at least {least} are needed")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite")
    return array


def autocorrelation(values: Any) -> Autocorrelation:
    """Integrated autocorrelation time of a quantity, [draws] or [chains, draws], by Sokal's window W >= 5 tau(W).

    All chains are taken about their common mean, so that chains which stay apart show up as a long time. Error after
    Madras and Sokal, J. Stat. Phys. 50, 109 (1988): tau sqrt(2 (2 W + 1) / n).
    """
    array = series(values, 2)
    chains, draws = array.shape
    centred = array - array.mean()
    spectrum = np.fft.rfft(centred, 2 * draws, axis=1)
    # each lag t has draws - t products a chain
    covariance = np.fft.irfft((spectrum.real**2 + spectrum.imag**2).mean(0), 2 * draws)[:draws]
    covariance /= draws - np.arange(draws)
    if covariance[0] <= 1e-28 * max(float(np.abs(array).max()) ** 2, 1e-300):
        return Autocorrelation(Estimate(0.5, 0.0), 0, np.ones(1))
    rho = covariance / covariance[0]
    sums = np.cumsum(rho) - 0.5
    enough = np.arange(draws) >= _WINDOW * np.maximum(sums, 0.5)
    window = int(enough.argmax()) if enough.any() else draws - 1
    tau = max(float(sums[window]), 0.5)
    error = tau * math.sqrt(2 * (2 * window + 1) / (chains * draws)) if enough.any() else math.nan
    return Autocorrelation(Estimate(tau, error), window, rho[: window + 1])


@dataclass(frozen=True)
class Blocking:
    """Errors of a mean from means of blocks.

    Attributes:
        mean: with the error at block length `length`.
        lengths, errors: all lengths that were tried, doubling, and the errors that they give.
        length: the first beyond which blocks are independent; the longest where there is none.
        converged: whether there is such a length.
    """

    mean: Estimate
    lengths: np.ndarray
    errors: np.ndarray
    length: int
    converged: bool


def blocking(values: Any) -> Blocking:
    """Standard error of the mean of correlated draws, [draws] or [chains, draws], by blocking.

    Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989); the length b is the first with b^3 > 2 n (s_b / s_1)^4 for n
    draws a chain, where s is the error (Lee, Troyer et al., Phys. Rev. E 83, 066706 (2011)). Blocks lie within chains.
    """
    array = series(values)
    chains, draws = array.shape
    lengths, errors = [], []
    length = 1
    # errors of fewer than 16 blocks say little
    while length <= draws and (blocks := chains * (draws // length)) >= (2 if length == 1 else 16):
        used = draws // length * length
        means = array[:, :used].reshape(blocks, length).mean(1)
        lengths.append(length)
        errors.append(float(means.std(ddof=1) / math.sqrt(blocks)))
        length *= 2
    mean = float(array.mean())
    if not errors:
        return Blocking(Estimate(mean, math.nan), np.zeros(0, np.int64), np.zeros(0), 0, False)
    growth = [(error / errors[0]) ** 4 if errors[0] else 1.0 for error in errors]
    found = next((k for k, ratio in enumerate(growth) if lengths[k] ** 3 > 2 * draws * ratio), None)
    at = len(errors) - 1 if found is None else found
    return Blocking(Estimate(mean, errors[at]), np.array(lengths), np.array(errors), lengths[at], found is not None)


@dataclass(frozen=True)
class Geweke:
    """Whether the beginning of chains agrees with their end.

    Attributes:
        z: of each chain, difference of the means of its two parts over its error, float64 [chains].
        pooled: the mean difference over all chains over its error.
        equilibrated: |pooled| < 3, and no more chains with |z| > 3 than chance allows (1 in 100, at least 1).
    """

    z: np.ndarray
    pooled: float
    equilibrated: bool


def geweke(values: Any, begin: float = 0.1, end: float = 0.5) -> Geweke:
    """Compares the first `begin` of every chain's draws with the last `end` of them, [draws] or [chains, draws].

    Geweke, Bayesian Statistics 4, 169 (1992), with the integrated autocorrelation time of the last part of all chains
    in place of spectral densities. Raises ValueError with fewer than 20 draws, or shares that overlap.
    """
    array = series(values, 20)
    if not (0 < begin < 1 and 0 < end < 1 and begin + end <= 1):
        raise ValueError(f"begin = {begin} and end = {end} must be positive with a sum of at most 1")
    chains, draws = array.shape
    head, tail = array[:, : max(2, int(begin * draws))], array[:, -max(2, int(end * draws)) :]
    tau = autocorrelation(tail).tau.value
    variance = float(((tail - tail.mean()) ** 2).mean())
    # a part shorter than 2 tau is as uncertain as one draw
    squares = [variance * min(1.0, 2 * tau / part.shape[1]) for part in (head, tail)]
    difference = head.mean(1) - tail.mean(1)
    error = math.sqrt(sum(squares))
    if not error:
        z = np.where(difference == 0, 0.0, math.inf)
        return Geweke(z, float(z.max()), bool((z == 0).all()))
    z = difference / error
    spread = float(difference.std(ddof=1)) / math.sqrt(chains) if chains >= 20 else error / math.sqrt(chains)
    pooled = float(difference.mean()) / spread if spread else 0.0
    return Geweke(z, pooled, abs(pooled) < 3 and int((np.abs(z) > 3).sum()) <= max(1, chains // 100))
