"""Nested log-sigmoids (SK networks) by Triton: one launch draws, one more sums ln q."""

from __future__ import annotations

import torch
from torch import Tensor

from vanfast.backends.engines.base import Drawn, Engine
from vanfast.kernels._dot import check
from vanfast.kernels.log_prob import log_prob
from vanfast.kernels.nest_scan import nest_scan, used_blocks
from vanfast.networks.plan import NestPlan, Plan


class TritonNest(Engine):
    """Keeps the logits: the backward pass evaluates nests again."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        super().__init__(plan, device)
        assert isinstance(plan, NestPlan)
        self._tensors = [t.clone(memory_format=torch.contiguous_format) for t in _tensors(plan)]
        self._used = used_blocks(plan.weight, plan.couplings)
        self._no_step = torch.zeros(1, dtype=torch.int64, device=device)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, NestPlan)
        for mine, given in zip(self._tensors, _tensors(plan), strict=True):
            mine.copy_(given)
        self._used.copy_(used_blocks(plan.weight, plan.couplings))

    def draw(self, count: int, seed: int, first: int, step: Tensor | None = None, keep: bool = False) -> Drawn:
        spins = torch.empty((count, self.num_sites), dtype=torch.int8, device=self.device)
        return self._run(spins, seed, first, step, keep, given=False)

    def evaluate(self, spins: Tensor, keep: bool = False) -> Drawn:
        check("spins", spins, (torch.int8,), (None, self.num_sites))
        return self._run(spins.contiguous(), 0, 0, None, keep, given=True)

    def _run(self, spins: Tensor, seed: int, first: int, step: Tensor | None, keep: bool, given: bool) -> Drawn:
        logits = torch.empty(spins.shape, dtype=torch.float32, device=self.device)
        step = self._no_step if step is None else step
        nest_scan(*self._tensors, self._used, spins, logits, step, seed, first, given)
        return Drawn(spins, log_prob(logits, spins), (logits,) if keep else ())


def _tensors(plan: NestPlan) -> tuple[Tensor, ...]:
    return plan.weight, plan.shift, plan.couplings, plan.bias, plan.direct
