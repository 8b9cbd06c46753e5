"""Mixtures of independent spins on a GPU: one launch draws a batch (csrc/cuda/mixture_scan.cu)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vanfast.backends.engines.base import CudaEngine, Drawn
from vanfast.networks.plan import MixturePlan, Plan


class CudaMixture(CudaEngine):
    """A mixture keeps nothing: it has no linear layers."""

    def __init__(self, plan: MixturePlan, device: torch.device, module: Any) -> None:
        super().__init__(plan, device)
        self._module = module
        self._shared = module.device_properties(device.index or 0)["shared_bytes"]
        self._components = len(plan.log_weights)
        self._log_weights = torch.empty(self._components, dtype=torch.float64, device=device)
        self._tables = torch.empty((self.num_sites, self._components, 2), dtype=torch.float64, device=device)
        self.load(plan)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, MixturePlan)
        x = plan.logits.double().T
        self._log_weights.copy_(plan.log_weights)
        self._tables.copy_(torch.stack([functional.logsigmoid(x), functional.logsigmoid(-x)], -1))

    def _run(self, spins: Tensor, given: bool, seed: int, first: int, step: Tensor | None, keep: bool) -> Drawn:
        log_q = torch.empty(len(spins), dtype=torch.float64, device=self.device)
        if len(spins):
            self._module.mixture_scan(
                sites=self.num_sites,
                components=self._components,
                log_weights=self._log_weights.data_ptr(),
                tables=self._tables.data_ptr(),
                **self._call(spins, log_q, given, seed, first, step),
                shared_limit=self._shared,
            )
        return Drawn(spins, log_q, ())
