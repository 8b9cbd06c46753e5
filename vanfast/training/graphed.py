"""A whole training step on the device, replayed as one CUDA graph: no launch is paid for, and nothing waits.

The step is that of `step.py`: pack the weights, draw, energies, gradient of beta F, clip, Adam. What changes from step
to step lies on the device: the sample index, which the graph itself moves on, beta and the learning rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vanfast.backends.device import DeviceProgram
from vanfast.backends.engines.base import selected

if TYPE_CHECKING:
    from vanfast.sampler import Sampler

RING = 64  # steps whose figures wait on the device
WARM_UP = 2  # steps before the capture: Triton compiles and the libraries open at first use


@dataclass(frozen=True)
class StepFigures:
    """What one step tells: means over the batch, extensive, and the effective sample size as a share of it."""

    loss: float
    deviation: float
    ess: float
    gradient_norm: float
    energy: float
    log_q: float


def device_program(sampler: Sampler) -> DeviceProgram | None:
    """The sampler's program, if it draws, differentiates and holds the parameters on one device; else None."""
    program = sampler.program
    if sampler.ham is not None and not sampler.ham.is_pairwise:  # its energies are made elsewhere
        return None
    if not isinstance(program, DeviceProgram) or program.device != sampler.net.device:
        return None
    return program if sampler.sample_and_keep(1) is not None else None


def make_adam(
    net: torch.nn.Module, learning_rate: float, betas: tuple[float, float], captured: bool
) -> torch.optim.Adam:
    """Adam; for a captured step with its counters and its learning rate on the device."""
    parameters = list(net.parameters())
    if not captured:
        return torch.optim.Adam(parameters, lr=learning_rate, betas=betas)
    rate = torch.tensor(learning_rate, dtype=torch.float32, device=parameters[0].device)
    return torch.optim.Adam(parameters, lr=rate, betas=betas, capturable=True, fused=True)


class GraphedStep:
    """Training steps of a sampler's network with its Hamiltonian. On the CPU (emulated kernels) it runs uncaptured.

    Step t draws samples t * batch .. of `seed`, as training does on every backend.
    """

    def __init__(
        self,
        sampler: Sampler,
        program: DeviceProgram,
        optimizer: torch.optim.Adam,
        batch: int,
        seed: int,
        clip_norm: float | None = None,
    ) -> None:
        if sampler.ham is None:
            raise ValueError("training needs a sampler with a Hamiltonian, got one without")
        self.net, self.ham, self.program, self.optimizer = sampler.net, sampler.ham, program, optimizer
        self._sampler = sampler
        self.batch, self.seed, self.limit = batch, seed, math.inf if clip_norm is None else clip_norm
        device = program.device
        self._place = torch.zeros(2, dtype=torch.int64, device=device)  # moved on by one addition and one remainder
        self._first, self._slot = self._place.split(1)
        self._stride = torch.tensor([batch, 1], device=device)
        self._period = torch.tensor([2**63 - 1, RING], device=device)
        self._one = torch.ones((), dtype=torch.float32, device=device)
        self._beta = torch.zeros((), dtype=torch.float64, device=device)
        self._bad = torch.zeros((), dtype=torch.float32, device=device)  # 1 from the first step that is not finite
        self._figures = torch.zeros((RING, 6), dtype=torch.float64, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._next: tuple[int, int] | None = None  # the step and the slot that the device holds
        self._values: tuple[float, float] | None = None  # beta and learning rate that the device holds

    def run(self, step: int, slot: int, beta: float, learning_rate: float) -> None:
        """Starts step number `step`; its figures go to `slot`, in [0, RING)."""
        if self._next != (step, slot):
            self._first.fill_(step * self.batch)
            self._slot.fill_(slot)
        if self._values != (beta, learning_rate):
            self._beta.fill_(beta)
            self._set_rate(learning_rate)
        self._sampler.forget()
        self.program.load_prior(self.net)
        if self.program.device.type == "cuda":
            with selected(self.program.device):
                if self._graph is None:
                    self._graph = self._capture()
                self._graph.replay()
        else:
            self._step()
        self._next, self._values = (step + 1, (slot + 1) % RING), (beta, learning_rate)

    def figures(self, count: int) -> list[StepFigures]:
        """Those of slots 0 .. count - 1; waits for the device."""
        rows = self._figures[:count].clone().cpu()
        rows[:, 2] = 1 / (self.batch * rows[:, 2])
        return [StepFigures(*row) for row in rows.tolist()]

    def _set_rate(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def _step(self) -> None:
        net, program = self.net, self.program
        program.load(net)
        kept = program.draw(self.batch, self.seed, 0, self.ham, step=self._first, keep=True)
        assert kept.energy is not None
        # Every operation here is a launch of its own, a microsecond or more however small it is.
        reward = torch.addcmul(kept.log_q, self._beta, kept.energy)
        deviation, mean = torch.std_mean(reward)
        net.zero_grad(set_to_none=True)
        net.add_gradient(kept.gradient((reward - mean) / self.batch))
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), self.limit).double()
        self._update(mean + norm)
        shares = torch.softmax(-reward, 0).square().sum()  # no cuBLAS, whose workspaces would outlive the capture
        row = torch.stack([mean, deviation, shares, norm, kept.energy.mean(), kept.log_q.mean()])
        self._figures.index_copy_(0, self._slot, row[None])
        self._place.add_(self._stride).remainder_(self._period)

    def _update(self, figure: Tensor) -> None:
        """Adam's step, but none from the first one on whose figure is not finite: the parameters before it stay."""
        torch.where((figure - figure).eq(0), self._bad, self._one, out=self._bad)  # fewer launches than isfinite
        if self.program.device.type == "cuda":
            self.optimizer.found_inf = self._bad  # type: ignore[attr-defined]  # as torch.amp.GradScaler tells it
            self.optimizer.step()
        elif not self._bad:
            self.optimizer.step()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Records one step. The steps that warm up are undone."""
        parameters, states = list(self.net.parameters()), self.optimizer.state
        tensors = [*parameters, self._place, self._bad]
        fresh = not states
        tensors += [value for parameter in parameters for value in states.get(parameter, {}).values()]
        before = [tensor.detach().clone() for tensor in tensors]
        stream = torch.cuda.Stream(self.program.device)
        stream.wait_stream(torch.cuda.current_stream(self.program.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream(self.program.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        self.net.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph, stream=stream):  # torch's own would be of the device of the first capture
            self._step()
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
            if fresh:
                for parameter in parameters:
                    for value in states[parameter].values():
                        value.zero_()
        return graph
