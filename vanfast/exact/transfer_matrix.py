"""Exact thermodynamics of strips and tori, site by site along the lattice."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from vanfast import _cpu
from vanfast.exact._elimination import Plan, best_plan
from vanfast.exact._result import PairSystem, Thermodynamics, check_beta, check_threads

MAX_BITS = 24  # three vectors of 2^24 float64: 384 MiB
MAX_COST = 2.0**36


def transfer_matrix(ham: PairSystem, beta: float, *, threads: int | None = None) -> Thermodynamics:
    """Exact thermodynamics of a lattice of any couplings and fields that is narrow in one direction.

    Sites are added in raster order, along whichever axis is cheapest, to a vector over the spins of the frontier
    that carries exp(-beta E) with its first two derivatives in beta; the cost is the number of sites times 2^W for a
    width W open in the long direction, and 4^W when it is periodic (2^(2W - 1) without fields). Square,
    triangular and cubic lattices, chains and whatever else has short bonds in raster order are taken alike.

    Limits: 24 bits of frontier (strips open in the long direction, up to width 23) and 2^36 updates of weights: a
    12 x 12 square torus takes 2^30, a few seconds, a 14 x 14 one 2^34.5, about a minute. At large beta the range of
    weights is that of long double: beta * W * |J| up to about 5000.

    Args:
        ham: any Hamiltonian; `ham.shape` gives the raster order.
        beta: inverse temperature, positive.
        threads: CPU threads, None for all; only periodic systems have work for more than one. The result does not
            depend on it.

    Raises:
        ValueError: too wide or too long (the message gives the cost), beta not positive and finite or too large for
            the couplings, threads below 1.
    """
    beta = check_beta(beta)
    workers = check_threads(threads)
    plan = best_plan(ham)
    # without fields the last given spin may stay -1
    halved = bool(plan.given) and not ham.fields.any()
    cost = plan.cost / 2 if halved else plan.cost
    if plan.max_bits > MAX_BITS or cost > MAX_COST:
        updates = f"2^{math.log2(cost):.1f}" if math.isfinite(cost) else "far too many"
        raise ValueError(
            f"this system is too wide for the transfer matrix: {updates} updates of weights on {plan.max_bits} or more "
            f"bits, allowed are 2^{math.log2(MAX_COST):.0f} updates and {MAX_BITS} bits"
        )
    settings = 2 ** len(plan.given) // (2 if halved else 1)
    spins = _given_spins(len(plan.given), settings)
    base = _given_energy(ham, plan.given, spins)
    log_z, energy, variance = _cpu.transfer(
        **_columns(ham, plan), settings=settings, beta=beta, cut=plan.cut, threads=workers
    )
    log_z, energy = log_z - beta * base, energy + base
    top = log_z.max()
    weight = np.exp(log_z - top)
    norm = weight.sum()
    weight /= norm
    mean = float(energy.min() + weight @ (energy - energy.min()))
    spread = float(weight @ (variance + (energy - mean) ** 2))
    total = float(top + math.log(norm)) + (math.log(2) if halved else 0.0)
    return Thermodynamics(
        num_sites=ham.num_sites,
        beta=beta,
        log_z=total,
        free_energy=-total / beta,
        energy=mean,
        entropy=total + beta * mean,
        heat_capacity=beta**2 * spread,
    )


def _given_spins(count: int, settings: int) -> np.ndarray:
    """±1 [settings, count]: bit g of a setting is site g."""
    return 2 * (np.arange(settings)[:, None] >> np.arange(count) & 1) - 1


def _given_energy(ham: PairSystem, given: tuple[int, ...], spins: np.ndarray) -> np.ndarray:
    """Energy of the given sites among themselves, [settings]."""
    column = {site: g for g, site in enumerate(given)}
    energy = -spins @ ham.fields[list(given)] if given else np.zeros(len(spins))
    for (i, j), coupling in zip(ham.edges.tolist(), ham.couplings.tolist(), strict=True):
        if i in column and j in column:
            energy = energy - coupling * spins[:, column[i]] * spins[:, column[j]]
    return energy


def _columns(ham: PairSystem, plan: Plan) -> dict[str, Any]:
    """The steps as the arrays that _cpu.transfer takes."""
    sites, slots, fresh, replaced, live, given = zip(*plan.steps, strict=True)
    live_start, live_slot, live_coupling = _ragged(live)
    given_start, given_index, given_coupling = _ragged(given)
    return {
        "slot": np.array(slots, dtype=np.int32),
        "fresh": np.array(fresh, dtype=np.int32),
        "replaced": np.array(replaced, dtype=np.float64),
        "field": ham.fields[list(sites)],
        "live_start": live_start,
        "live_slot": live_slot,
        "live_coupling": live_coupling,
        "given_start": given_start,
        "given_index": given_index,
        "given_coupling": given_coupling,
    }


def _ragged(lists: tuple[list[tuple[int, float]], ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the bonds of each step start, their ends, and their couplings."""
    start = np.cumsum([0, *(len(bonds) for bonds in lists)], dtype=np.int32)
    flat = list(itertools.chain.from_iterable(lists))
    return (
        start,
        np.array([other for other, _ in flat], dtype=np.int32),
        np.array([coupling for _, coupling in flat], dtype=np.float64),
    )
