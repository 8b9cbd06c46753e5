"""Observables of Markov chains, with errors from independent chains and from blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vanfast._estimates import Estimate
from vanfast.mcmc.autocorrelation import autocorrelation, geweke
from vanfast.mcmc.result import Chains

NAMES = ("energy", "heat_capacity", "magnetization", "abs_magnetization", "magnetization_squared")
MANY_CHAINS = 50  # from here on chains alone tell errors well: of 20, 1.06 errors are the spread of a mean
_PER_SITE = ("energy", "heat_capacity")
_BLOCK = 10  # least autocorrelation times in a block
_MANY_BLOCKS = 100  # where there could be more, blocks are longer


@dataclass(frozen=True, kw_only=True)
class ChainObservables:
    """Averages over the Boltzmann distribution from Markov chains. Energy and heat capacity are extensive, k_B = 1.

    Errors are jackknife errors over chains from 50 chains on, else over blocks, at least ten autocorrelation times long
    and about 100 where the chains are long enough, corrected for the correlation that neighbours still have.

    Attributes:
        energy: <E>.
        heat_capacity: beta^2 (<E^2> - <E>^2), the jackknife's bias correction made.
        magnetization, abs_magnetization, magnetization_squared: <m>, <|m|>, <m^2> of m = sum_i s_i / N, of states see
            `magnetizations`.
        errors_by_chains, errors_by_blocks: both errors of each; NaN where there are not two chains, not two blocks.
        tau_energy, tau_magnetization: integrated autocorrelation times of E and |m|, in draws; NaN for one draw a
            chain.
        effective: draws over 2 tau of the slower.
        geweke: pooled score of E, which stays below 3 in equilibrium; NaN with fewer than 20 draws a chain.
    """

    num_sites: int
    beta: float
    chains: int
    draws: int
    energy: Estimate
    heat_capacity: Estimate
    magnetization: Estimate
    abs_magnetization: Estimate
    magnetization_squared: Estimate
    errors_by_chains: dict[str, float]
    errors_by_blocks: dict[str, float]
    tau_energy: Estimate
    tau_magnetization: Estimate
    effective: float
    geweke: float

    def to_json(self) -> dict[str, Any]:
        """JSON-able numbers: `<name>_per_site` of what is extensive, `<key>_error` beside; what is not finite is left
        out."""
        numbers: dict[str, Any] = {name: getattr(self, name) for name in ("num_sites", "beta", "chains", "draws")}
        for name in (*NAMES, "tau_energy", "tau_magnetization"):
            estimate, key = getattr(self, name), name
            if name in _PER_SITE:
                estimate, key = estimate.per_site(self.num_sites), f"{name}_per_site"
            numbers[key], numbers[f"{key}_error"] = estimate
        numbers |= {"effective": self.effective, "geweke": self.geweke}
        return {key: value for key, value in numbers.items() if math.isfinite(value)}


def magnetizations(spins: np.ndarray, q: int | None = None, levels: Any = None) -> np.ndarray:
    """m of every configuration, float64 [...], of spins int8 [..., N].

    Of spins m = sum_i s_i / N. Of sites with q states m = sum_i levels[s_i] / N, where `levels` are the q numbers that
    the states stand for, those of the sums S of a block say; without levels it is the order parameter of the Potts
    model, m = (q max_k rho_k - 1) / (q - 1), rho_k the share of sites in state k: 1 where all agree, 0 where all states
    are equally frequent.

    Raises ValueError for levels of spins, or not q finite numbers.
    """
    N = spins.shape[-1]
    if q is None:
        if levels is not None:
            raise ValueError("levels belong to sites of q states, these are spins")
        return spins.sum(-1, dtype=np.int64) / N
    count = np.stack([(spins == k).sum(-1) for k in range(q)], axis=-1)  # [..., q]
    if levels is None:
        return (q * count.max(-1) - N) / (N * (q - 1))
    values = np.asarray(levels, dtype=np.float64)
    if values.shape != (q,) or not np.isfinite(values).all():
        raise ValueError(f"levels = {levels!r} must be {q} finite numbers, one for each state")
    return (count @ values) / N


def measure(result: Chains, ham: Any = None, levels: Any = None) -> ChainObservables:
    """Observables of a run; see ChainObservables, and `magnetizations` for `levels` of states.

    With `ham` the energies are its own, those of the true system of chains that a network's Hamiltonian drew say, and
    heat_capacity is beta^2 times their variance. Raises ValueError for a run without draws, a ham of another size, or
    levels that do not fit.
    """
    if not len(result):
        raise ValueError("result holds no draws")
    magnetization = magnetizations(result.spins, result.q, levels)
    energy = result.energy
    if ham is not None:
        rows = result.spins.reshape(-1, result.num_sites)
        energy = np.asarray(ham.energy(rows), dtype=np.float64).reshape(energy.shape)
    return measure_series(energy, magnetization, result.beta, result.num_sites)


def measure_series(energy: np.ndarray, magnetization: np.ndarray, beta: float, num_sites: int) -> ChainObservables:
    """The same from energies and magnetisations, both float64 [chains, draws]."""
    chains, draws = energy.shape
    size, nan = np.abs(magnetization), Estimate(math.nan, math.nan)
    tau_energy = autocorrelation(energy).tau if draws > 1 else nan
    tau_size = autocorrelation(size).tau if draws > 1 else nan
    slower = max(tau_energy.value, tau_size.value) if draws > 1 else 0.5
    shift = float(energy.mean())
    e = energy - shift
    columns = np.stack([np.ones_like(e), e, e**2, magnetization, size, size**2], axis=2)  # [chains, draws, 6]
    by_chains = _jackknife(columns.sum(1), beta)
    cut, correction = _blocks(columns, slower)
    value, error = _jackknife(cut, beta)
    by_blocks = value, error * correction
    values, errors = by_chains if chains >= MANY_CHAINS else (by_blocks if len(cut) > 1 else by_chains)
    # plain means are those of all draws, whatever blocks leave over
    whole = columns.sum((0, 1)) / (chains * draws)
    means = {
        "energy": whole[1] + shift,
        "heat_capacity": values[1],
        "magnetization": whole[3],
        "abs_magnetization": whole[4],
        "magnetization_squared": whole[5],
    }
    return ChainObservables(
        num_sites=num_sites,
        beta=beta,
        chains=chains,
        draws=draws,
        **{name: Estimate(float(means[name]), float(error)) for name, error in zip(NAMES, errors, strict=True)},
        errors_by_chains=dict(zip(NAMES, by_chains[1].tolist(), strict=True)),
        errors_by_blocks=dict(zip(NAMES, by_blocks[1].tolist(), strict=True)),
        tau_energy=tau_energy,
        tau_magnetization=tau_size,
        effective=chains * draws / (2 * slower),
        geweke=geweke(energy).pooled if draws >= 20 else math.nan,
    )


def _blocks(columns: np.ndarray, tau: float) -> tuple[np.ndarray, float]:
    """Sums over blocks within chains, [G, 6] (none where chains are too short), from columns [chains, draws, 6], and a
    correction to their errors.

    The mean of b draws with correlations rho^t, of integrated time tau, has the variance 2 tau Var / b (1 - c / b) but
    for terms in rho^b, with c = 2 rho / (1 - rho^2) = tau - 1 / (4 tau). So errors from blocks of b for chains of T are
    short by sqrt((1 - c / b) / (1 - c / T)).
    """
    chains, draws, kinds = columns.shape
    wanted = max(_BLOCK * tau, min(draws, chains * draws / _MANY_BLOCKS))
    count = draws // max(1, math.ceil(wanted))
    if not count:
        return columns[:0, 0], math.nan
    length = draws // count
    sums = columns[:, : count * length].reshape(chains * count, length, kinds).sum(1)
    c = tau - 1 / (4 * tau)
    return sums, math.sqrt((1 - c / (count * length)) / (1 - c / length))


def _functions(sums: np.ndarray, beta: float) -> np.ndarray:
    """Energy (less its shift), heat capacity, m, |m| and m^2 from sums [..., 6]."""
    one, e, e2, m, size, square = np.moveaxis(sums / sums[..., :1], -1, 0)
    return np.stack([e, beta**2 * (e2 - e**2) * one, m, size, square], axis=-1)


def _jackknife(groups: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Values with the jackknife's correction of their bias, and errors, both [5], from sums of groups [G, 6]."""
    count = len(groups)
    if count < 2:
        value = _functions(groups.sum(0), beta) if count else np.full(5, math.nan)
        return value, np.full(5, math.nan)
    total = groups.sum(0)
    left_out = _functions(total - groups, beta)
    value = count * _functions(total, beta) - (count - 1) * left_out.mean(0)
    return value, np.sqrt((count - 1) * left_out.var(0))
