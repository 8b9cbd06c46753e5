"""Means and variances with delta-method errors from sums of weighted powers."""

from __future__ import annotations

import math

import numpy as np

from vanfast._estimates import Estimate


def power_matrix(values: np.ndarray, count: int) -> np.ndarray:
    """values^0 .. values^(count - 1), [B, count]."""
    return np.vander(values, count, increasing=True)


def bessel(count: int) -> float:
    """n / (n - 1), NaN for one sample."""
    return count / (count - 1) if count > 1 else math.nan


def mean_and_variance(first: np.ndarray, second: np.ndarray, count: int) -> tuple[Estimate, Estimate]:
    """Mean and variance of x under weights a, with standard errors.

    The mean's influence is a (x - mean), the variance's a ((x - mean)^2 - variance), both over sum a; an error is
    the root of the sum of squared influences.

    Args:
        first, second: sums of a x^k and of a^2 x^k; k = 0 .. 4, or 0 .. 2 where the variance's error is not wanted
            (it is NaN then).
        count: number of samples.
    """
    norm = first[0]
    mean = first[1] / norm
    variance = max(float(first[2] / norm - mean**2), 0.0)
    s0, s1, s2 = second[:3]
    factor = bessel(count) / norm**2
    squared = s2 - 2 * mean * s1 + mean**2 * s0
    variance_error = math.nan
    if len(second) > 3:
        s3, s4 = second[3:]
        fourth = s4 - 4 * mean * s3 + 6 * mean**2 * s2 - 4 * mean**3 * s1 + mean**4 * s0
        variance_error = _root((fourth - 2 * variance * squared + variance**2 * s0) * factor)
    return Estimate(float(mean), _root(squared * factor)), Estimate(variance, variance_error)


class ReferenceWeights:
    """ln w of samples of p, streamed: their mean, and the means of w and 1 / w in logarithms."""

    def __init__(self) -> None:
        self.count = 0
        self._shift = 0.0
        self._powers = np.zeros(3)
        self._log_sum = -math.inf
        self._log_inverse_sum = -math.inf

    def add(self, log_weight: np.ndarray) -> None:
        if not len(log_weight):
            return
        if not self.count:
            self._shift = float(log_weight.mean())
        self.count += len(log_weight)
        self._powers += power_matrix(log_weight - self._shift, 3).sum(0)
        self._log_sum = float(np.logaddexp(self._log_sum, np.logaddexp.reduce(log_weight)))
        self._log_inverse_sum = float(np.logaddexp(self._log_inverse_sum, np.logaddexp.reduce(-log_weight)))

    def mean(self) -> Estimate:
        """E_p[ln w], an upper bound of ln Z."""
        mean, _ = mean_and_variance(self._powers, self._powers, self.count)
        return Estimate(self._shift + mean.value, mean.error)

    def forward_ess_fraction(self) -> float:
        """E_q[w]^2 / E_q[w^2] = 1 / (E_p[w] E_p[1 / w])."""
        return math.exp(2 * math.log(self.count) - self._log_sum - self._log_inverse_sum)


def _root(square: float) -> float:
    """Square root, 0 where rounding made it negative; NaN stays."""
    return 0.0 if square < 0 else math.sqrt(square)
