"""The star prior as the Triton kernels take it."""

from __future__ import annotations

from collections.abc import MutableMapping
from weakref import WeakKeyDictionary

import torch

from vanfast.kernels.star_prior import Star
from vanfast.networks.plan import StarPriorPlan

_KNOWN: MutableMapping[StarPriorPlan, dict[torch.device, Star]] = WeakKeyDictionary()


def star_of(plan: StarPriorPlan, device: torch.device) -> Star:
    """A prior's sites with their later neighbours, on the device."""
    late = torch.arange(len(plan.fields)).repeat_interleave(plan.start.diff())
    order = torch.argsort(plan.sites, stable=True)  # the later sites of one site ascend already
    counts = torch.bincount(plan.sites, minlength=len(plan.fields))
    start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    tensors = (plan.fields.float(), start.int(), late[order].int(), plan.couplings[order].float())
    return Star(*(tensor.to(device) for tensor in tensors))


def shared_star(plan: StarPriorPlan, device: torch.device) -> Star:
    """The same, made once for a prior and device; nobody may change it."""
    known = _KNOWN.setdefault(plan, {})
    if device not in known:
        known[device] = star_of(plan, device)
    return known[device]


class LoadedStar:
    """An engine's star, which moves in temperature in place."""

    def __init__(self, plan: StarPriorPlan, device: torch.device) -> None:
        self._plan, self.star = plan, star_of(plan, device)

    def load(self, plan: StarPriorPlan) -> None:
        """Takes up the same star at another temperature; nothing if it is the one that is here."""
        if plan is self._plan:
            return
        self._plan = plan
        for name, tensor in vars(star_of(plan, torch.device("cpu"))).items():
            getattr(self.star, name).copy_(tensor)
