"""Averages with standard errors: what the observables of a batch are reported as, and their JSON form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A mean and its standard error; the error is NaN where one sample or none was seen."""

    value: float
    error: float

    def per_site(self, num_sites: int) -> Estimate:
        return Estimate(self.value / num_sites, self.error / num_sites)

    def __str__(self) -> str:
        return f"{self.value:.8g} ± {self.error:.2g}"


class ArrayEstimate(NamedTuple):
    """Means and standard errors of the same shape, float64."""

    value: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Averages over one distribution of N spins. Energies, entropy and heat capacity are extensive, k_B = 1.

    Attributes:
        free_energy: F; over q the variational <E + ln q / beta>, else -ln Z / beta.
        energy, entropy: <E> and S = beta (<E> - F).
        heat_capacity: beta^2 (<E^2> - <E>^2).
        magnetization, abs_magnetization, magnetization_squared: <m>, <|m|> and <m^2> of m = sum_i s_i / N.
        site_magnetization: <s_i>, [N].
        correlation: <s_i s_j> (not connected), [N, N]; None unless asked for.
        overlap, abs_overlap, overlap_squared: <o>, <|o|> and <o^2> of o = sum_i xi_i s_i / N, [P]; None without
            patterns.
    """

    free_energy: Estimate
    energy: Estimate
    entropy: Estimate
    heat_capacity: Estimate
    magnetization: Estimate
    abs_magnetization: Estimate
    magnetization_squared: Estimate
    site_magnetization: ArrayEstimate
    correlation: ArrayEstimate | None = None
    overlap: ArrayEstimate | None = None
    abs_overlap: ArrayEstimate | None = None
    overlap_squared: ArrayEstimate | None = None


@dataclass(frozen=True, kw_only=True)
class Observables(Ensemble):
    """What samples of q with their ln q and energies tell at inverse temperature beta.

    The averages of this object itself are over q. `unbiased` holds those over the Boltzmann distribution p, by
    self-normalised importance weights w = exp(-beta E) / q; they are consistent, with a bias of order 1 / ess, as
    long as q reaches all that p does, and so are their errors: an ess that collapses means neither can be trusted.

    Attributes:
        count: number of samples.
        unbiased: averages over p.
        log_z: ln of the mean weight. Its expectation is below ln Z; the mean weight itself is unbiased.
        log_z_bias: estimate of E[log_z] - ln Z, -error^2 / 2 in leading order. Not subtracted.
        log_z_lower: E_q[ln w] <= ln Z.
        log_z_upper: E_p[ln w] >= ln Z from reference samples of p; None without them.
        ess: (sum w)^2 / sum w^2, a number of samples. A q that misses a part of p does not show here.
        ess_fraction: ess / count.
        forward_ess_fraction: 1 / (E_p[w] E_p[1 / w]) from reference samples, which does show it; None without them.
        loss_variance: variance of beta E + ln q, 0 only where q is p on everything that q reaches.
    """

    num_sites: int
    beta: float
    count: int
    unbiased: Ensemble
    log_z: Estimate
    log_z_bias: float
    log_z_lower: Estimate
    log_z_upper: Estimate | None
    ess: float
    ess_fraction: float
    forward_ess_fraction: float | None
    loss_variance: Estimate

    def to_json(self) -> dict[str, Any]:
        """JSON-able numbers: `<name>_per_site` of what is extensive, `<key>_error` beside every estimate.

        Averages over p carry the prefix `unbiased_`. Errors that are not finite are left out; arrays are not
        exported.
        """
        numbers: dict[str, Any] = {"num_sites": self.num_sites, "beta": self.beta, "count": self.count}
        for prefix, ensemble in (("", self), ("unbiased_", self.unbiased)):
            for name in ("free_energy", "energy", "entropy", "heat_capacity"):
                _put(numbers, f"{prefix}{name}_per_site", getattr(ensemble, name).per_site(self.num_sites))
            for name in ("magnetization", "abs_magnetization", "magnetization_squared"):
                _put(numbers, prefix + name, getattr(ensemble, name))
        _put(numbers, "log_z", self.log_z)
        numbers["log_z_bias"] = self.log_z_bias
        _put(numbers, "log_z_lower", self.log_z_lower)
        if self.log_z_upper is not None:
            _put(numbers, "log_z_upper", self.log_z_upper)
        numbers |= {"ess": self.ess, "ess_fraction": self.ess_fraction}
        if self.forward_ess_fraction is not None:
            numbers["forward_ess_fraction"] = self.forward_ess_fraction
        _put(numbers, "loss_variance", self.loss_variance)
        return {key: value for key, value in numbers.items() if math.isfinite(value)}


def _put(numbers: dict[str, Any], key: str, estimate: Estimate) -> None:
    numbers[key] = estimate.value
    numbers[key + "_error"] = estimate.error
