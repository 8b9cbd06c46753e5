"""Tabulated logits on a GPU: one launch draws a batch (csrc/cuda/table_scan.cu)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vanfast.backends.engines.base import CudaEngine, Drawn
from vanfast.networks.plan import MagnetizationPlan, Plan, PrefixPlan


class CudaTable(CudaEngine):
    """All in float64: thresholds and ln q are tabulated, and the kernel only looks them up."""

    def __init__(self, plan: MagnetizationPlan | PrefixPlan, device: torch.device, module: Any) -> None:
        super().__init__(plan, device)
        self._module, self._prefix = module, isinstance(plan, PrefixPlan)
        logits = plan.logits
        self._reached = None if self._prefix else torch.ones_like(logits).tril().flatten().nonzero()[:, 0]
        entries = len(logits) if self._reached is None else len(self._reached)
        self._rules = torch.empty(entries, dtype=torch.int64, device=device)
        self._table = torch.empty((entries, 2), dtype=torch.float64, device=device)
        self.load(plan)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, MagnetizationPlan | PrefixPlan)
        logits = plan.logits if self._reached is None else plan.logits.reshape(-1)[self._reached]
        logits = logits.double()
        e = logits.abs().neg().exp()
        threshold = (e / (1 + e) * 2.0**32).nan_to_num(0.0).long()  # not a number: never
        self._rules.copy_(threshold + (~(logits < 0)).long() * 2**32)
        torch.stack([functional.logsigmoid(-logits), functional.logsigmoid(logits)], 1, out=self._table)

    def _run(self, spins: Tensor, given: bool, seed: int, first: int, step: Tensor | None, keep: bool) -> Drawn:
        log_q = torch.empty(len(spins), dtype=torch.float64, device=self.device)
        kept: tuple[Tensor, ...] = (log_q.new_empty(spins.shape, dtype=torch.float32),) if keep else ()
        if len(spins):
            self._module.table_scan(
                sites=self.num_sites,
                prefix=self._prefix,
                rules=self._rules.data_ptr(),
                table=self._table.data_ptr(),
                **self._call(spins, log_q, given, seed, first, step),
                keep=kept[0].data_ptr() if keep else 0,
            )
        return Drawn(spins, log_q, kept)
