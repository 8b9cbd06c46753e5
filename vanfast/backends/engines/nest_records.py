"""Which pairs of a `NestPlan` the kernel of csrc/cuda/nest_scan.cu meets, and in which order. On the host, once.

The field u_il moves if any site before i couples to l; else it is 0 and the pair (i, l) a constant. Sites are counted
from the last, row = N - 1 - l. A site i has its later sites in four quarters q, q = row // 4 mod 4, one after another;
a step holds four of them, row = r mod 4 for r = 0 .. 3. Where one is missing, l is -1 and the row another of the same
lane's, r + 4 q mod 16: a row that two lanes wrote would lose what one of them wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vanfast.networks.plan import NestPlan

QUAD = 4
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class NestOrder:
    """later[t, r] is l of the pair that lane r meets in step t, or -1, and rows[t, r] where its field lies; sites[t] is
    its i. steps[i, q]: how many quarter q of site i has. still: (i, l) of the pairs in use whose field is 0."""

    later: Ints  # [T, 4]
    rows: Ints  # [T, 4]
    sites: Ints  # [T]
    steps: Ints  # [N, 4]
    still: tuple[Ints, Ints]


def nest_order(plan: NestPlan) -> NestOrder:
    """Depends on which pairs are in use and, unless they are learnt, which couplings are 0; never on parameters."""
    N = plan.num_sites
    used = np.zeros((N, N), dtype=bool)
    if plan.pairs is None:
        used[np.triu_indices(N, 1)] = True
    else:
        used[tuple(plan.pairs.cpu().numpy())] = True
    coupled = np.ones((N, N), dtype=bool) if plan.learn_couplings else plan.couplings.cpu().numpy() != 0
    moves, takes_in = np.zeros((2, N, N), dtype=bool)  # whether u_il is not 0; whether x_{i-1} is a part of it
    takes_in[1:] = np.triu(coupled, 1)[:-1]
    np.logical_or.accumulate(takes_in, out=moves)
    met = np.triu((used & moves) | takes_in, 1)
    later, counts = [np.empty((0, QUAD), dtype=np.int64)], np.zeros((N, 4), dtype=np.int64)
    for i, q in np.ndindex(N, 4):
        mine = np.flatnonzero(met[i])[::-1]
        lanes = [mine[(N - 1 - mine) % 16 == r + QUAD * q] for r in range(QUAD)]
        counts[i, q] = max(map(len, lanes))
        steps = np.full((counts[i, q], QUAD), -1)
        for r, lane in enumerate(lanes):
            steps[: len(lane), r] = lane
        later.append(steps)
    found = np.concatenate(later)
    rows = np.where(found < 0, -1, N - 1 - found)
    quads = rows.max(axis=1, keepdims=True) // QUAD * QUAD
    rows = np.where(found < 0, quads + np.arange(QUAD), rows)
    still, l = np.nonzero(used & ~moves)
    return NestOrder(found, rows, np.repeat(np.arange(N), counts.sum(1)), counts, (still, l))
