"""Which pairs of a `NestPlan` the kernel of csrc/cuda/nest_scan.cu meets, and in which order. On the host, once.

The field u_il moves if any site before i couples to l; else it is 0 and the pair (i, l) a constant. A step holds four
later sites l = r mod 4, r = 0 .. 3, of a site i; -1 stands where one is missing.
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
    """later[t, r] is l of the pair that lane r meets in step t, or -1; sites[t] its i. steps[i]: how many i has.
    still: (i, l) of the pairs in use whose field is 0."""

    later: Ints  # [T, 4]
    sites: Ints  # [T]
    steps: Ints  # [N]
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
    later, sites = [np.empty((0, QUAD), dtype=np.int64)], []
    for i in range(N):
        mine = np.flatnonzero(met[i])
        lanes = [mine[mine % QUAD == r] for r in range(QUAD)]
        steps = np.full((max(map(len, lanes)), QUAD), -1)
        for r, lane in enumerate(lanes):
            steps[: len(lane), r] = lane
        later.append(steps)
        sites += [i] * len(steps)
    found = np.array(sites, dtype=np.int64)
    still, l = np.nonzero(used & ~moves)
    return NestOrder(np.concatenate(later), found, np.bincount(found, minlength=N), (still, l))
