"""The plan of a site-by-site transfer: in which order sites are added, and which bit each one takes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from vanfast.exact._result import PairSystem

HOPELESS_BITS = 40  # a plan that needs more is not followed to its end


@dataclass(frozen=True)
class Plan:
    """Steps for csrc/cpu/transfer_matrix.h.

    Attributes:
        given: sites whose spins are fixed one setting after another.
        steps: one row a site that is not given: (site, slot, fresh, coupling to the site that leaves the slot,
            bonds to other slots, bonds to indices of `given`).
        cost: number of weights updated, summed over steps and settings; infinite beyond HOPELESS_BITS.
        max_bits: largest number of bits of the vector.
        cut: largest sum of |J| over bonds between added and missing sites.
    """

    given: tuple[int, ...]
    steps: list[tuple[int, int, bool, float, list[tuple[int, float]], list[tuple[int, float]]]]
    cost: float
    max_bits: int
    cut: float


def best_plan(ham: PairSystem) -> Plan:
    """The cheapest of raster orders along every choice of axes, with or without the first layer given.

    A layer is given where it meets the last one: across a periodic direction its sites would stay in the frontier to
    the end, which costs the same but needs the square of the memory.
    """
    neighbours: list[list[tuple[int, float]]] = [[] for _ in range(ham.num_sites)]
    for (i, j), coupling in zip(ham.edges.tolist(), ham.couplings.tolist(), strict=True):
        if coupling != 0:
            neighbours[i].append((j, coupling))
            neighbours[j].append((i, coupling))
    raster = np.arange(ham.num_sites).reshape(ham.shape)
    plans = []
    for axes in itertools.permutations(range(len(ham.shape))):
        layers = raster.transpose(axes).reshape(ham.shape[axes[0]], -1)
        order = layers.ravel().tolist()
        last = set(layers[-1].tolist())
        closing = [site for site in layers[0].tolist() if any(other in last for other, _ in neighbours[site])]
        plans.append(_plan(order, (), neighbours))
        if closing and len(layers) > 2:
            plans.append(_plan(order, tuple(closing), neighbours))
    # at the same cost the smaller vector is faster and runs in parallel
    return min(plans, key=lambda plan: (plan.cost, plan.max_bits))


def _plan(order: list[int], given: tuple[int, ...], neighbours: list[list[tuple[int, float]]]) -> Plan:
    index = {site: g for g, site in enumerate(given)}
    sites = [site for site in order if site not in index]
    position = {site: t for t, site in enumerate(sites)}
    last_use = [max((position.get(other, -1) for other, _ in neighbours[site]), default=-1) for site in sites]
    slots: list[int] = []  # position of the site in each bit
    steps = []
    cost, cut, open_bonds = 0.0, 0.0, 0.0
    for t, site in enumerate(sites):
        bonds = {position[other]: coupling for other, coupling in neighbours[site] if position.get(other, t) < t}
        ready = [slot for slot, p in enumerate(slots) if last_use[p] <= t]
        # a bond to the leaving site costs nothing more; the highest bit is the fastest
        slot = max(ready, key=lambda s: (slots[s] in bonds, s), default=len(slots))
        fresh = slot == len(slots)
        replaced = 0.0 if fresh else bonds.pop(slots[slot], 0.0)
        open_bonds -= sum(abs(coupling) for coupling in bonds.values()) + abs(replaced)
        if fresh:
            slots.append(t)
        slots[slot] = t
        slot_of = {p: s for s, p in enumerate(slots)}
        live = [(slot_of[p], coupling) for p, coupling in bonds.items()]
        fixed = [(index[other], coupling) for other, coupling in neighbours[site] if other in index]
        steps.append((site, slot, fresh, replaced, live, fixed))
        open_bonds += sum(abs(coupling) for other, coupling in neighbours[site] if position.get(other, -1) > t)
        cut = max(cut, open_bonds)
        if len(slots) > HOPELESS_BITS:
            return Plan(given, [], math.inf, len(slots), cut)
        cost += 2.0 ** len(slots)
    return Plan(given, steps, cost * 2.0 ** len(given), len(slots), cut)
