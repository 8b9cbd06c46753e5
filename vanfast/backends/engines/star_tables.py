"""What CUDA samplers read of a star prior (csrc/cuda/star_tables.cuh), and where it lies on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vanfast.networks.plan import StarPriorPlan

UNITS = 2 / math.log(2)  # fields and couplings count in ln 2 / 2: exp(-2 |f|) is then a power of 2
WEAK = 2.5  # largest |beta J| of pairs whose factors are multiplied; as many as kStarRun of csrc/cuda/star_tables.cuh
WEAK_PAIR, STRONG_PAIR, NO_PAIR = range(3)


@dataclass(frozen=True)
class StarTables:
    """Row (site, slot): the later sites l, l % slots == slot, coupled to the site or to the one drawn before it."""

    rows: NDArray[np.int32]  # [N, slots, 4]: where weak pairs, strong ones and the rest begin, and the end
    entries: NDArray[np.int32]  # [E, 4]: l; bits of float32: coupling to the site before, to the site or its share; 0
    sites: NDArray[np.float32]  # [N, 2]: beta h, and the coupling to the site before


def star_tables(plan: StarPriorPlan, slots: int) -> StarTables:
    """The tables of a prior. Their sizes depend on which couplings there are and not on how large they are."""
    N = len(plan.fields)
    early, K = plan.sites.numpy(), plan.couplings.numpy()
    late = np.repeat(np.arange(N), np.diff(plan.start.numpy()))
    pairs, passed = early * N + late, (early + 1) * N + late  # keys (site, l): of a term, and of what a spin changes
    inside = late > early + 1
    keys = np.unique(np.concatenate([pairs, passed[inside]]))
    own, change, pair = np.zeros(N), np.zeros(len(keys)), np.zeros(len(keys))
    own[late[~inside]] = K[~inside]
    change[np.searchsorted(keys, passed[inside])] = K[inside]
    kind = np.full(len(keys), NO_PAIR)
    at = np.searchsorted(keys, pairs)
    pair[at], kind[at] = K, np.where(np.abs(K) <= WEAK, WEAK_PAIR, STRONG_PAIR)
    site, l = np.divmod(keys, N)
    lists = (site * slots + l % slots) * 3 + kind
    order = np.lexsort((l, lists))
    ends = np.cumsum(np.bincount(lists, minlength=3 * slots * N)).reshape(N, slots, 3)
    begins = np.concatenate([[0], ends[:, :, 2].flatten()[:-1]]).reshape(N, slots, 1)
    given = np.where(kind == WEAK_PAIR, np.copysign(np.exp(-2 * np.abs(pair)), pair), pair)
    entries = np.zeros((len(keys), 4), np.int32)
    entries[:, 0] = l[order]
    entries[:, 1] = (UNITS * change[order]).astype(np.float32).view(np.int32)
    entries[:, 2] = given[order].astype(np.float32).view(np.int32)
    sites = UNITS * np.stack([plan.fields.numpy(), own], 1)
    return StarTables(np.concatenate([begins, ends], 2).astype(np.int32), entries, sites.astype(np.float32))


class StarArrays:
    """A prior's tables on a device, for kernels that deal a sample's later sites to `slots` threads or groups."""

    def __init__(self, plan: StarPriorPlan, slots: int, device: torch.device) -> None:
        self.slots, self._plan = slots, plan
        self._tensors = [tensor.to(device) for tensor in self._tables()]

    def _tables(self) -> list[Tensor]:
        return [torch.from_numpy(table) for table in vars(star_tables(self._plan, self.slots)).values()]

    def load(self, plan: StarPriorPlan) -> None:
        """Takes up the same star at another temperature, in place; nothing if it is the one that is here."""
        if plan is self._plan:
            return
        self._plan = plan
        for tensor, table in zip(self._tensors, self._tables(), strict=True):
            tensor.copy_(table)

    def pointers(self) -> tuple[int, int, int]:
        """As csrc/cuda/star_tables.cuh names them."""
        rows, entries, sites = (tensor.data_ptr() for tensor in self._tensors)
        return rows, entries, sites


NO_STAR = (0, 0, 0)
