"""Observables with standard errors from samples (s, ln q, E) of a network.

Every average is a ratio R = sum a f / sum a: a = 1 for averages over q, a = w for those over the Boltzmann
distribution, ln w = -beta E - ln q. Its variance by the delta method is sum a^2 (f - R)^2 / (sum a)^2, so a chunk of
samples enters only through sums of f, f^2 and powers of E weighted with 1, w and w^2.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Protocol

import numpy as np
import torch

from vanfast._blocks import block_levels, block_shape, block_sums, states_to_sums, sums_to_states
from vanfast._estimates import ArrayEstimate, Ensemble, Estimate, Observables
from vanfast._moments import ReferenceWeights, bessel, mean_and_variance, power_matrix
from vanfast._overlaps import OverlapDistribution, overlap_distribution
from vanfast._spins import Spins, as_spins

__all__ = [
    "Accumulator",
    "ArrayEstimate",
    "EffectiveSampleSizeWarning",
    "Ensemble",
    "Estimate",
    "Observables",
    "OverlapDistribution",
    "block_levels",
    "block_shape",
    "block_sums",
    "effective_sample_size",
    "log_weights",
    "magnetization",
    "measure",
    "overlap_distribution",
    "overlaps",
    "potts_spins",
    "states_to_sums",
    "sums_to_states",
]

_ROWS = 8192  # samples expanded to float64 at a time
_POWERS = 5  # powers 0 .. 4: the error of a variance needs the fourth


class EffectiveSampleSizeWarning(UserWarning):
    """Few samples carry nearly all of the importance weight: reweighted averages and their errors mislead."""


class Samples(Protocol):
    """What is measured: spins ±1 [B, N], ln q and energy [B], torch or numpy."""

    @property
    def spins(self) -> Any: ...
    @property
    def log_q(self) -> Any: ...
    @property
    def energy(self) -> Any: ...


def log_weights(log_q: Any, energy: Any, beta: float) -> np.ndarray:
    """ln w = -beta E - ln q, float64 [B].

    Raises ValueError for beta not positive and finite, arrays of different length, or values that are not finite.
    """
    beta = _positive(beta)
    log_q, energy = _column(log_q, "log_q"), _column(energy, "energy")
    if len(log_q) != len(energy):
        raise ValueError(f"log_q has {len(log_q)} values and energy {len(energy)}, expected one of each a sample")
    return -beta * energy - log_q


def effective_sample_size(log_weight: Any) -> float:
    """(sum w)^2 / sum w^2 from ln w [B], between 1 and B. Raises ValueError when empty or not finite."""
    log_weight = _column(log_weight, "log_weight")
    if not len(log_weight):
        raise ValueError("log_weight is empty, expected at least one sample")
    weight = np.exp(log_weight - log_weight.max())
    return float(weight.sum() ** 2 / (weight**2).sum())


def magnetization(spins: Spins, num_sites: int) -> np.ndarray:
    """m = sum_i s_i / N of every sample, float64 [B]."""
    return as_spins(spins, num_sites).sum(1, dtype=torch.int32).numpy() / num_sites


def potts_spins(states: Spins, num_sites: int, q: int) -> np.ndarray:
    """What a site adds to N m of the Potts model, float64 [B, N], of states 0 .. q - 1 [B, N]: 1 where it has the
    sample's most frequent state, the lowest of several, else -1 / (q - 1)."""
    rows = as_spins(states, num_sites, q=q).numpy()
    majority = np.stack([(rows == k).sum(1) for k in range(q)], 1).argmax(1)
    return np.where(rows == majority[:, None], 1.0, -1 / (q - 1))


def overlaps(spins: Spins, patterns: Spins, num_sites: int) -> np.ndarray:
    """o_p = sum_i xi_pi s_i / N of every sample with every pattern, float64 [B, P].

    Args:
        spins: ±1, [B, N]. patterns: ±1, [P, N], or [N] for one. num_sites: N.

    Raises ValueError for values other than ±1 and shapes that do not fit.
    """
    columns = as_spins(patterns, num_sites, "patterns").float().T
    # float32 products of ±1 are exact up to N = 2^24
    chunks = [chunk.float() @ columns for chunk in as_spins(spins, num_sites).split(_ROWS)]
    return torch.cat(chunks).double().numpy() / num_sites


def measure(
    batch: Samples,
    beta: float,
    *,
    reference: Samples | None = None,
    patterns: Spins | None = None,
    correlation: bool = False,
    q: int | None = None,
) -> Observables:
    """Observables of one batch (spins [B, N]); see Accumulator for the arguments, Observables for what comes back.

    Args:
        reference: samples of the Boltzmann distribution with the network's ln q of them.
    """
    accumulator = Accumulator(batch.spins.shape[-1], beta, patterns=patterns, correlation=correlation, q=q)
    accumulator.update(batch)
    if reference is not None:
        accumulator.update_reference(reference)
    return accumulator.result()


class Accumulator:
    """Observables of samples that come in chunks; memory does not grow with their number.

    The result does not depend on how the samples were cut into chunks, but for rounding.

    Args:
        num_sites: N.
        beta: inverse temperature of the Boltzmann distribution, positive.
        patterns: ±1 [P, N]; overlaps with them are measured when given.
        correlation: measure <s_i s_j> too, which costs N^2 a sample.
        q: where it is a number, samples hold the states 0 .. q - 1 of sites, and a magnetisation is that of the Potts
            model: a site counts 1 where it has the sample's most frequent state (the lowest of several), else
            -1 / (q - 1), so that m = (q n_max / N - 1) / (q - 1) >= 0. It goes with neither patterns nor correlation.
    """

    def __init__(
        self,
        num_sites: int,
        beta: float,
        *,
        patterns: Spins | None = None,
        correlation: bool = False,
        q: int | None = None,
    ) -> None:
        if num_sites < 1:
            raise ValueError(f"num_sites must be at least 1, not {num_sites}")
        if q is not None and (q < 2 or correlation or patterns is not None):
            raise ValueError(f"q = {q} must be at least 2, and goes with neither patterns nor correlation")
        self.num_sites, self.q = num_sites, q
        self.beta = _positive(beta)
        self.count = 0
        self._patterns = None if patterns is None else as_spins(patterns, num_sites, "patterns")
        self._num_patterns = 0 if self._patterns is None else len(self._patterns)
        # Rows of the weighted sums are the weights 1, w and w^2, with w = exp(ln w - _log_scale) <= 1.
        self._log_scale = -math.inf
        self._energy = np.zeros((3, _POWERS))
        self._features = np.zeros((3, 3 + 3 * self._num_patterns))
        self._squares = np.zeros_like(self._features)
        self._sites = np.zeros((3, num_sites))
        self._pairs = np.zeros((3, num_sites, num_sites)) if correlation else None
        self._loss = np.zeros(_POWERS)
        self._surprise = np.zeros(3)
        self._shift = (0.0, 0.0, 0.0)  # of E, beta E + ln q and -ln q: about the mean, powers keep their digits
        self._reference = ReferenceWeights()

    def update(self, batch: Samples) -> None:
        """Adds the samples of `batch`.

        Raises ValueError when energy is None, lengths differ, a value is not finite or a spin is not ±1 (a state not
        0 .. q - 1); nothing is added then.
        """
        spins = as_spins(batch.spins, self.num_sites, q=self.q)
        log_q, energy = _log_q_and_energy(batch)
        if len(log_q) != len(spins):
            raise ValueError(f"log_q has {len(log_q)} values for {len(spins)} configurations, expected one of each")
        if not len(spins):
            return
        loss = self.beta * energy + log_q
        if not self.count:
            self._shift = (float(energy.mean()), float(loss.mean()), float(-log_q.mean()))
        self._rescale(float(-loss.min()))
        w = np.exp(-loss - self._log_scale)
        weights = np.stack([np.ones_like(w), w, w**2])
        self._energy += weights @ power_matrix(energy - self._shift[0], _POWERS)
        self._loss += power_matrix(loss - self._shift[1], _POWERS).sum(0)
        self._surprise += power_matrix(-log_q - self._shift[2], 3).sum(0)
        for first in range(0, len(spins), _ROWS):
            self._add_spins(spins[first : first + _ROWS], weights[:, first : first + _ROWS])
        self.count += len(spins)

    def update_reference(self, batch: Samples) -> None:
        """Adds samples of the Boltzmann distribution itself, with the network's ln q of them; spins are not read."""
        log_q, energy = _log_q_and_energy(batch)
        self._reference.add(-self.beta * energy - log_q)

    def result(self) -> Observables:
        """Everything measured so far.

        Warns with EffectiveSampleSizeWarning when fewer than 1 % or 100 of the samples are effective.
        Raises ValueError when there are no samples.
        """
        if not self.count:
            raise ValueError("no samples were added, expected at least one")
        w, ww = self._energy[1:, 0]
        ess = float(min(w**2 / ww, self.count))
        _warn(ess, self.count)
        error = math.sqrt(max(ww / w**2 - 1 / self.count, 0.0) * bessel(self.count))
        log_z = Estimate(self._log_scale + math.log(w / self.count), error)
        loss, loss_variance = mean_and_variance(self._loss, self._loss, self.count)
        loss = Estimate(self._shift[1] + loss.value, loss.error)
        surprise, _ = mean_and_variance(self._surprise, self._surprise, self.count)
        entropy = Estimate(self._shift[2] + surprise.value, surprise.error)
        has_reference = self._reference.count > 0
        return Observables(
            **self._ensemble(0, 0, _scaled(loss, 1 / self.beta), entropy),
            num_sites=self.num_sites,
            beta=self.beta,
            count=self.count,
            unbiased=Ensemble(**self._ensemble(1, 2, _scaled(log_z, -1 / self.beta), self._entropy(log_z))),
            log_z=log_z,
            log_z_bias=-0.5 * error**2,
            log_z_lower=_scaled(loss, -1.0),
            log_z_upper=self._reference.mean() if has_reference else None,
            ess=ess,
            ess_fraction=ess / self.count,
            forward_ess_fraction=self._reference.forward_ess_fraction() if has_reference else None,
            loss_variance=_scaled(loss_variance, bessel(self.count)),
        )

    def _rescale(self, log_weight: float) -> None:
        """Raises _log_scale to the largest ln w seen; sums so far follow."""
        if log_weight <= self._log_scale:
            return
        ratio = math.exp(self._log_scale - log_weight)
        self._log_scale = log_weight
        for sums in (self._energy, self._features, self._squares, self._sites, self._pairs):
            if sums is not None:
                sums[1] *= ratio
                sums[2] *= ratio**2

    def _add_spins(self, spins: torch.Tensor, weights: np.ndarray) -> None:
        rows = spins.double().numpy() if self.q is None else potts_spins(spins, self.num_sites, self.q)
        m = rows.mean(1)
        columns = [m, np.abs(m), m**2]
        if self._patterns is not None:
            overlap = overlaps(spins, self._patterns, self.num_sites).T
            columns += [*overlap, *np.abs(overlap), *overlap**2]
        features = np.stack(columns, 1)
        self._features += weights @ features
        self._squares += weights @ features**2
        self._sites += weights @ rows
        if self._pairs is not None:
            for sums, weight in zip(self._pairs, weights, strict=True):
                sums += rows.T @ (rows * weight[:, None])

    def _ensemble(self, first: int, second: int, free_energy: Estimate, entropy: Estimate) -> dict[str, Any]:
        """Averages with weights a, from the sums with a (row `first`) and with a^2 (row `second`)."""
        norm = self._energy[first, 0]
        squared = self._energy[:, 0]  # the sums of a f^2 of signs f = ±1
        other = 1.0 if self.q is None else 1 / (self.q - 1)  # f is 1 or -other, so f^2 = (1 - other) f + other
        site_squares = (1 - other) * self._sites + other * squared[:, None]

        def average(sums: np.ndarray, squares: np.ndarray) -> ArrayEstimate:
            value = sums[first] / norm
            spread = squares[second] - 2 * value * sums[second] + value**2 * squared[second]
            return ArrayEstimate(value, np.sqrt(np.maximum(spread, 0.0) * bessel(self.count)) / norm)

        features = average(self._features, self._squares)
        scalars = [Estimate(float(features.value[k]), float(features.error[k])) for k in range(3)]
        overlap: list[ArrayEstimate | None] = [None] * 3
        if self._num_patterns:
            groups = (np.split(part[3:], 3) for part in features)
            overlap = [ArrayEstimate(value, error) for value, error in zip(*groups, strict=True)]
        energy, variance = mean_and_variance(self._energy[first], self._energy[second], self.count)
        # n - 1 makes the plain variance unbiased; a self-normalised one has a bias of order 1 / ess anyway
        scale = self.beta**2 * (bessel(self.count) if first == 0 else 1.0)
        return {
            "free_energy": free_energy,
            "energy": Estimate(self._shift[0] + energy.value, energy.error),
            "entropy": entropy,
            "heat_capacity": _scaled(variance, scale),
            "magnetization": scalars[0],
            "abs_magnetization": scalars[1],
            "magnetization_squared": scalars[2],
            "site_magnetization": average(self._sites, site_squares),
            "correlation": None if self._pairs is None else average(self._pairs, squared[:, None, None]),
            "overlap": overlap[0],
            "abs_overlap": overlap[1],
            "overlap_squared": overlap[2],
        }

    def _entropy(self, log_z: Estimate) -> Estimate:
        """S = ln Z + beta <E> over p; both come from the same weights, so their errors are taken together."""
        norm = self._energy[1, 0]
        mean = self._energy[1, 1] / norm
        s0, s1, s2 = self._energy[2, :3]
        # sum of w^2 (1 + beta (E - mean))^2
        total = s0 + 2 * self.beta * (s1 - mean * s0) + self.beta**2 * (s2 - 2 * mean * s1 + mean**2 * s0)
        variance = max(total / norm**2 - 1 / self.count, 0.0) * bessel(self.count)
        return Estimate(float(log_z.value + self.beta * (self._shift[0] + mean)), math.sqrt(variance))


def _warn(ess: float, count: int) -> None:
    if ess < 0.01 * count or ess < min(100, 0.5 * count):
        warnings.warn(
            f"only {ess:.1f} of {count} samples are effective: reweighted averages and their errors cannot be "
            "trusted; train further or draw more samples",
            EffectiveSampleSizeWarning,
            stacklevel=3,
        )


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.error * abs(factor))


def _positive(beta: float) -> float:
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"beta must be positive and finite, not {beta}")
    return float(beta)


def _log_q_and_energy(batch: Samples) -> tuple[np.ndarray, np.ndarray]:
    if batch.energy is None:
        raise ValueError("energy of the samples is None, expected one value a sample: sample with a Hamiltonian")
    log_q, energy = _column(batch.log_q, "log_q"), _column(batch.energy, "energy")
    if len(log_q) != len(energy):
        raise ValueError(f"log_q has {len(log_q)} values and energy {len(energy)}, expected one of each a sample")
    return log_q, energy


def _column(values: Any, name: str) -> np.ndarray:
    """float64 [B] of a torch tensor or anything numpy takes."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise ValueError(f"{name} has shape {list(column.shape)}, expected [B]")
    finite = np.isfinite(column)
    if not finite.all():
        where = int(np.argmin(finite))
        raise ValueError(f"{name} must be finite, found {column[where]} at sample {where}")
    return column
