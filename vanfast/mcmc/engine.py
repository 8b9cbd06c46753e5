"""The C++ kernels with a Hamiltonian's arrays; csrc/cpu/bind_mcmc.cpp says what a schedule holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from vanfast import _cpu
from vanfast.exact import PairSystem
from vanfast.hamiltonians import Neural, Potts
from vanfast.mcmc import _tables
from vanfast.mcmc.incremental import Drawn, states_of

_NONE = np.zeros(0, dtype=np.int64)


def run_clusters(
    ham: PairSystem | Potts, beta: float, wolff: bool, per_sweep: int | None, schedule: dict[str, Any]
) -> tuple[Drawn, np.ndarray | None]:
    """Clusters, and how many made a sweep of Wolff's, int64 [chains]; what is counted are shares of spins that turn."""
    rows = _tables.neighbours(ham)
    q = states_of(ham)
    limits = _tables.bond_thresholds(rows, beta, q)
    spins, built, turned, found = _cpu.mcmc_clusters(
        rows.start, rows.neighbour, limits, q or 0, wolff, per_sweep or 0, schedule
    )
    drawn = Drawn(spins, built, np.array([turned / ham.num_sites]), _NONE)
    return drawn, np.array(found, dtype=np.int64) if wolff else None


def run_planes(ham: PairSystem, beta: float, heat_bath: bool, sweeps: int, schedule: dict[str, Any]) -> Drawn:
    """Multi-spin coding; sweeps: those of all chains after burn-in."""
    planes = _tables.required_planes(ham)
    limits = planes.thresholds(beta, heat_bath)
    spins, turned = _cpu.mcmc_planes(planes.start, planes.neighbour, planes.negative, limits, heat_bath, schedule)
    return Drawn(spins, sweeps * ham.num_sites, np.array([turned]), _NONE)


def run_pairwise(
    ham: PairSystem,
    betas: list[float],
    target: int,
    heat_bath: bool,
    dense: bool,
    sweeps: int,
    schedule: dict[str, Any],
) -> Drawn:
    """Cached local fields, at one beta or with replicas at all of them."""
    a = _tables.pair_arrays(ham, dense)
    spins, turned, swaps = _cpu.mcmc_pairwise(
        a.start, a.neighbour, a.twice, a.field, a.is_free, a.quantum, betas, target, heat_bath, schedule
    )
    return Drawn(spins, sweeps * ham.num_sites, np.array(turned), np.array(swaps, dtype=np.int64))


def run_potts(
    ham: Potts, betas: list[float], target: int, heat_bath: bool, sweeps: int, schedule: dict[str, Any]
) -> Drawn:
    """Sites of q states, whose bonds are summed at every visit, at one beta or with replicas at all of them."""
    a = _tables.potts_arrays(ham)
    spins, changed, swaps = _cpu.mcmc_potts(
        a.start, a.neighbour, a.coupling, a.field, a.quantum, betas, target, heat_bath, schedule
    )
    return Drawn(spins, sweeps * ham.num_sites, np.array(changed), np.array(swaps, dtype=np.int64))


def run_masked(
    ham: Neural, betas: list[float], target: int, heat_bath: bool, sweeps: int, schedule: dict[str, Any]
) -> Drawn:
    """-T0 ln p of a masked stack, evaluated where a change changes it, at one beta or with replicas at all of them."""
    spins, turned, swaps = _cpu.mcmc_masked(*ham.masked_arrays(), ham.T0, betas, target, heat_bath, schedule)
    return Drawn(spins, sweeps * ham.num_sites, np.array(turned), np.array(swaps, dtype=np.int64))
