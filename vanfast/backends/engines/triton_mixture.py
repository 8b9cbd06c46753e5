"""Mixtures of independent spins by Triton: one launch for everything."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vanfast.backends.engines.base import Drawn, Engine
from vanfast.kernels._dot import check
from vanfast.kernels.mixture_scan import mixture_scan
from vanfast.networks.plan import MixturePlan, Plan


class TritonMixture(Engine):
    """Tables of ln sigmoid(+-x), float64. There is nothing to keep: a mixture has no linear layers."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        super().__init__(plan, device)
        assert isinstance(plan, MixturePlan)
        components = len(plan.log_weights)
        self._weights = torch.empty(components, dtype=torch.float64, device=device)
        self._up = torch.empty((plan.num_sites, components), dtype=torch.float64, device=device)
        self._down = torch.empty_like(self._up)
        self._no_step = torch.zeros(1, dtype=torch.int64, device=device)
        self.load(plan)

    def load(self, plan: Plan) -> None:
        assert isinstance(plan, MixturePlan)
        x = plan.logits.double().T
        self._weights.copy_(plan.log_weights)
        self._up.copy_(functional.logsigmoid(x))
        self._down.copy_(functional.logsigmoid(-x))

    def draw(self, count: int, seed: int, first: int, step: Tensor | None = None, keep: bool = False) -> Drawn:
        spins = torch.empty((count, self.num_sites), dtype=torch.int8, device=self.device)
        return self._run(spins, seed, first, step, given=False)

    def evaluate(self, spins: Tensor, keep: bool = False) -> Drawn:
        check("spins", spins, (torch.int8,), (None, self.num_sites))
        return self._run(spins.contiguous(), 0, 0, None, given=True)

    def _run(self, spins: Tensor, seed: int, first: int, step: Tensor | None, given: bool) -> Drawn:
        log_q = torch.empty(len(spins), dtype=torch.float64, device=self.device)
        step = self._no_step if step is None else step
        mixture_scan(self._weights, self._up, self._down, spins, log_q, step, seed, first, given)
        return Drawn(spins, log_q, ())
