"""The frontier of a graph whose sites are drawn one after the other."""

from __future__ import annotations

import numpy as np

from vanfast.hamiltonians import Hamiltonian


def frontier(ham: Hamiltonian) -> np.ndarray:
    """bool [N, N]: whether the field of drawn spins s < i on site l > i can change the conditional of site i.

    It can where l has a neighbour before i, or else that field is always 0, and where a path of bonds leads from i to l
    through sites after i, or else spin l is independent of spin i once the drawn ones are given.
    """
    N = ham.num_sites
    neighbours: list[list[int]] = [[] for _ in range(N)]
    first = np.full(N, N)  # the earliest neighbour
    for (a, b), coupling in zip(ham.edges.tolist(), ham.couplings.tolist(), strict=True):
        if coupling != 0:
            neighbours[a].append(b)
            neighbours[b].append(a)
            first[a], first[b] = min(first[a], b), min(first[b], a)
    component = np.arange(N)  # of the graph of sites >= i
    result = np.zeros((N, N), dtype=bool)
    for i in reversed(range(N)):
        for l in neighbours[i]:
            if l > i:
                component[component == component[l]] = i
        result[i] = (component == i) & (first < i)
        result[i, : i + 1] = False
    return result
