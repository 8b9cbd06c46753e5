"""Tabulated conditionals (of the magnetisation, of the prefix) by Triton: one launch for everything."""

from __future__ import annotations

import torch
from torch import Tensor

from vanfast.backends.engines.base import Drawn, Engine
from vanfast.kernels._dot import check
from vanfast.kernels.table_scan import table_scan
from vanfast.networks.plan import MagnetizationPlan, Plan, PrefixPlan


class TritonTable(Engine):
    """Keeps the logits, rounded to float32; ln q is that of the table, float64."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        super().__init__(plan, device)
        assert isinstance(plan, MagnetizationPlan | PrefixPlan)
        self._table = plan.logits.to(device, torch.float64).clone(memory_format=torch.contiguous_format)
        self._no_step = torch.zeros(1, dtype=torch.int64, device=device)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, MagnetizationPlan | PrefixPlan)
        self._table.copy_(plan.logits)

    def draw(self, count: int, seed: int, first: int, step: Tensor | None = None, keep: bool = False) -> Drawn:
        spins = torch.empty((count, self.num_sites), dtype=torch.int8, device=self.device)
        return self._run(spins, seed, first, step, keep, given=False)

    def evaluate(self, spins: Tensor, keep: bool = False) -> Drawn:
        check("spins", spins, (torch.int8,), (None, self.num_sites))
        return self._run(spins.contiguous(), 0, 0, None, keep, given=True)

    def _run(self, spins: Tensor, seed: int, first: int, step: Tensor | None, keep: bool, given: bool) -> Drawn:
        log_q = torch.empty(len(spins), dtype=torch.float64, device=self.device)
        logits = torch.empty(spins.shape, dtype=torch.float32, device=self.device) if keep else None
        table_scan(self._table, spins, log_q, logits, self._no_step if step is None else step, seed, first, given)
        return Drawn(spins, log_q, () if logits is None else (logits,))
