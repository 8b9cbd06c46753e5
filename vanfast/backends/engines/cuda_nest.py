"""Nested log-sigmoids on a GPU: one launch draws a batch (csrc/cuda/nest_scan.cu)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vanfast.backends.engines.base import CudaEngine, Drawn
from vanfast.backends.engines.nest_records import QUAD, NestOrder, nest_order
from vanfast.networks.plan import NestPlan, Plan

CHUNK_BYTES = 4096  # of records that are copied to shared memory at once
LOG2_E, LN2 = 1 / math.log(2), math.log(2)


class CudaNest(CudaEngine):
    """`lanes` (of a sample, 4 or 16) and `threads` (of a block) are for tests; 0 leaves them to the launcher.

    Which pairs are packed is settled by the first plan; later ones have other parameters only.
    """

    def __init__(self, plan: NestPlan, device: torch.device, module: Any, lanes: int = 0, threads: int = 0) -> None:
        super().__init__(plan, device)
        self._module, self._layout = module, {"lanes": lanes, "threads": threads}
        self._shared = module.device_properties(device.index or 0)["shared_bytes"]
        self._levels = plan.nestings + 1
        self._chunk_steps = max(1, CHUNK_BYTES // (4 * 4 * QUAD * (self._levels + 1)))
        self._place(nest_order(plan))
        self.load(plan)

    def _place(self, order: NestOrder) -> None:
        """Indices and buffers on the device."""
        N, steps = self.num_sites, len(order.later)
        self._chunks = -(-steps // self._chunk_steps)
        filling = self._chunks * self._chunk_steps - steps
        later, rows = (np.concatenate([x, np.full((filling, QUAD), -1)]) for x in (order.later, order.rows))
        sites = np.concatenate([order.sites, np.zeros(filling, dtype=np.int64)])[:, None]
        missing = later < 0
        self._rows = self._on_device(rows.reshape(-1)).int().view(torch.float32)
        self._missing = self._on_device(missing.reshape(-1))
        self._pair = self._on_device(np.where(missing, 0, sites * N + later).reshape(-1))
        self._step = self._on_device(np.where(missing, 0, (sites - 1) * N + later).reshape(-1))
        self._records = torch.zeros((len(later), self._levels + 1, QUAD, 4), device=self.device)
        self._headers = torch.zeros((N, 8), device=self.device)
        self._headers[:, 4:] = self._on_device(order.steps).int().view(torch.float32)
        self._site_steps = int(order.steps.sum(1).max())
        # Pairs that are constants, by sites that have any, each as many as the one with most.
        i, l = order.still
        found, counts = np.unique(i, return_counts=True)
        still = np.full((len(found), counts.max(initial=0)), -1)
        for row, site in enumerate(found):
            still[row, : counts[row]] = site * N + l[i == site]
        self._still_sites = self._on_device(found)
        self._still, self._no_still = self._on_device(np.maximum(still, 0)), self._on_device(still < 0)

    def _on_device(self, values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, NestPlan)
        N, levels = self.num_sites, self._levels
        weight = plan.weight.reshape(N * N, 2, levels + 1)[self._pair].double()
        shift = plan.shift.reshape(N * N, 2, levels)[self._pair].double() * LOG2_E
        weight[:, :, 0] *= LOG2_E
        weight[:, :, levels] *= LN2
        nested = torch.stack([weight[:, :, :levels], shift], 3).flatten(2)  # w_0, b_0, w_1, b_1, ...
        branches = torch.cat([nested, weight[:, :, levels:]], 2).flatten(1).float()
        branches.masked_fill_(self._missing[:, None], 0.0)
        coupling = plan.couplings.reshape(-1)[self._step].masked_fill(self._missing, 0.0)
        packed = torch.cat([coupling[:, None], self._rows[:, None], branches], 1)  # [4 T, 4 (levels + 1)]
        self._records.copy_(packed.view(-1, QUAD, levels + 1, 4).transpose(1, 2))
        self._headers[:, 0] = self._bias(plan)
        self._headers[:, 1] = plan.direct
        self._headers[1:, 2] = plan.couplings.diagonal(1)

    def _bias(self, plan: NestPlan) -> Tensor:
        """float64 [N], with what the pairs add whose field is 0."""
        bias = plan.bias.double()
        if not self._still.numel():
            return bias
        weight, shift = (x.flatten(0, 1)[self._still].double() for x in (plan.weight, plan.shift))
        y = torch.zeros_like(shift[..., 0])
        for j in range(self._levels):
            y = functional.logsigmoid(shift[..., j] + weight[..., j] * y)
        constants = (weight[..., -1] * y).sum(-1).masked_fill(self._no_still, 0.0).sum(-1)
        return bias.index_copy(0, self._still_sites, bias[self._still_sites] + constants)

    def _run(self, spins: Tensor, given: bool, seed: int, first: int, step: Tensor | None, keep: bool) -> Drawn:
        log_q = torch.empty(len(spins), dtype=torch.float64, device=self.device)
        kept: tuple[Tensor, ...] = (log_q.new_empty(spins.shape, dtype=torch.float32),) if keep else ()
        if len(spins):
            self._module.nest_scan(
                sites=self.num_sites,
                levels=self._levels,
                chunks=self._chunks,
                chunk_steps=self._chunk_steps,
                site_steps=self._site_steps,
                headers=self._headers.data_ptr(),
                records=self._records.data_ptr(),
                **self._call(spins, log_q, given, seed, first, step),
                keep=kept[0].data_ptr() if keep else 0,
                **self._layout,
                shared_limit=self._shared,
            )
        return Drawn(spins, log_q, kept)
