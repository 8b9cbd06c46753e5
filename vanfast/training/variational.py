"""Variational training: the network's parameters move down the gradient of its free energy (VAN, eqs. 5 and 6)."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vanfast.hamiltonians import Hamiltonian
from vanfast.sampler import Sampler
from vanfast.training.checkpoint import Checkpoint, adam_tensors, load_checkpoint, restore_adam, save_checkpoint
from vanfast.training.graphed import RING, GraphedStep, StepFigures, device_program, make_adam
from vanfast.training.metrics import StepRecord
from vanfast.training.progress import open_progress
from vanfast.training.run import RUNG_PREFIX, Run, RunFolder
from vanfast.training.settings import Settings
from vanfast.training.step import accumulate_gradient, draw, effective_sample_size
from vanfast.training.trainer import Trainer, check_same_network, check_training_arguments

if TYPE_CHECKING:
    from vanfast.networks import Network


def train(
    net: Network,
    ham: Hamiltonian,
    beta: float | Sequence[float],
    steps: int | Sequence[int] = 1000,
    batch: int = 1000,
    seed: int = 0,
    *,
    learning_rate: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.99),
    anneal: float | None = None,
    clip_norm: float | None = 1.0,
    micro_batch: int | None = None,
    schedule: str | dict[str, Any] = "constant",
    precision: str = "fp32",
    backend: str = "auto",
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
    resume: bool = False,
    progress: bool | None = None,
    callback: Callable[[StepRecord], None] | None = None,
) -> Run:
    """Trains `net` (in place) to the Boltzmann distribution of `ham` at inverse temperature `beta`.

    beta       one value, or a ladder of them, trained one after the other with a warm start (`steps` for each).
    batch      samples a step; step t uses samples t*batch ... of `seed`, so nothing depends on when it runs.
    anneal     None, or a rate r in (0, 1): beta_t = beta (1 - r^t), on a ladder from one rung to the next.
    betas      Adam's two decay rates. clip_norm: largest norm of a gradient, or None.
    micro_batch  samples differentiated at once: bounds memory, the result is the same but for rounding.
    schedule   "constant", "cosine", "plateau", or a dict such as {"name": "plateau", "patience": 500}.
    out        run directory: metrics.jsonl, and a checkpoint every `checkpoint_every` steps and at the end.
    resume     go on from the directory's checkpoint (start when there is none); bit for bit as if never stopped.
    progress   a progress bar on standard error; None shows it on a terminal only.
    callback   called with the StepRecord of every step.

    Returns a Run. Raises TrainingInterrupted (a KeyboardInterrupt that carries the run) on SIGINT or SIGTERM, after
    saving; FileExistsError when `out` already holds a run and `resume` is not set; FloatingPointError when the
    loss is no longer finite; ValueError or TypeError when an argument does not fit.
    """
    settings = Settings.checked(
        beta=beta,
        steps=steps,
        batch=batch,
        seed=seed,
        learning_rate=learning_rate,
        adam_betas=betas,
        anneal=anneal,
        clip_norm=clip_norm,
        micro_batch=micro_batch,
        schedule=schedule,
        precision=precision,
    )
    if not isinstance(ham, Hamiltonian):
        raise TypeError(f"ham must be a vanfast.hamiltonians.Hamiltonian, got {type(ham).__name__}")
    check_training_arguments(net, checkpoint_every, resume, out)
    sampler = Sampler(net, ham, backend=backend, precision=precision, threads=threads)
    _warn_when_annealing_stops_short(settings)
    trainer = _Trainer(net, ham, settings, sampler)
    if out is not None:
        trainer.open(RunFolder(out, StepRecord), resume)
    return trainer.go(checkpoint_every, progress, callback)


def _warn_when_annealing_stops_short(settings: Settings) -> None:
    last = settings.beta_at(settings.total_steps - 1)
    if abs(last - settings.beta[-1]) > 0.01 * settings.beta[-1]:
        warnings.warn(
            f"annealing with rate {settings.anneal} reaches beta = {last:.4g} of {settings.beta[-1]:.4g} in "
            f"{settings.steps[-1]} steps: give more steps or a smaller rate",
            stacklevel=3,
        )


class _Trainer(Trainer[Run, StepRecord]):
    def __init__(self, net: Network, ham: Hamiltonian, settings: Settings, sampler: Sampler) -> None:
        program = device_program(sampler) if settings.micro_batch is None else None
        on_gpu = program is not None and program.device.type == "cuda"
        optimizer = make_adam(net, settings.learning_rate, settings.adam_betas, on_gpu)
        super().__init__(Run(net, ham, settings), sampler, optimizer)
        self.captured: GraphedStep | None = None
        if program is not None:
            options = settings.batch, settings.seed, settings.clip_norm
            self.captured = GraphedStep(sampler, program, optimizer, *options)

    def restore(self, folder: RunFolder[StepRecord]) -> None:
        run = self.run
        state = load_checkpoint(folder.checkpoint)
        self._check_same_run(state, folder.checkpoint)
        run.net.load_state_dict(state.parameters)
        restore_adam(run.net, self.optimizer, state.adam)
        self.schedule.restore(state.schedule)
        run.step = state.step
        run.history = folder.metrics.keep_before(state.step)

    def _check_same_run(self, state: Checkpoint, path: Path) -> None:
        run = self.run
        Settings.from_json(state.settings).continued_by(run.settings)
        check_same_network(run.net, state.network, state.parameters, path)
        arrays = run.hamiltonian.arrays()
        same = state.hamiltonian == run.hamiltonian.config() and arrays.keys() == state.arrays.keys()
        # Couplings of bonds that do not exist may be NaN.
        if not same or any(not np.array_equal(arrays[k], state.arrays[k], arrays[k].dtype.kind == "f") for k in arrays):
            raise ValueError(f"ham differs from the stored run's Hamiltonian, {state.hamiltonian} in {path}")
        if state.step > run.settings.total_steps:
            raise ValueError(f"steps must be at least the {state.step} already done, got {run.settings.total_steps}")

    def save(self) -> None:
        if self.folder is None:
            return
        run = self.run
        run.net.save(self.folder.path)  # for vanfast.load; the checkpoint is what a run is resumed from
        save_checkpoint(
            self.folder.checkpoint,
            Checkpoint(
                step=run.step,
                settings=run.settings.to_json(),
                schedule=self.schedule.state(),
                network=run.net.config(),
                hamiltonian=run.hamiltonian.config(),
                parameters=dict(run.net.state_dict()),
                adam=adam_tensors(run.net, self.optimizer),
                arrays=run.hamiltonian.arrays(),
            ),
        )

    def progress(self, wanted: bool | None) -> AbstractContextManager[Callable[[Sequence[StepRecord]], None]]:
        return open_progress(self.run, wanted)

    @property
    def one_torch_thread(self) -> bool:
        return self.sampler.sample_and_keep(1) is not None  # the engine draws and differentiates by itself

    def keep(self, records: Sequence[StepRecord]) -> None:
        """Keeps the network that the last step of a rung left, in a directory named for its beta."""
        settings, rung = self.run.settings, records[-1].rung
        if self.folder is not None and len(settings.beta) > 1 and self.run.step == sum(settings.steps[: rung + 1]):
            self.run.net.save(self.folder.path / f"{RUNG_PREFIX}{settings.beta[rung]:g}")

    def advance(self, most: int) -> list[StepRecord]:
        """Does the next step, or on a GPU up to `most` of them before their figures are waited for."""
        if self.captured is None:
            return [self.one_step()]
        run, settings, begin = self.run, self.run.settings, time.perf_counter()
        count = min(most, RING, sum(settings.steps[: settings.rung(run.step)[0] + 1]) - run.step)
        if self.schedule.observes:
            count = 1
        planned = []
        for slot, step in enumerate(range(run.step, run.step + count)):
            beta, rate = self._prepare(step)
            self.captured.run(step, slot, beta, rate)
            planned.append((step, beta, rate))
        figures = self.captured.figures(count)
        seconds = (time.perf_counter() - begin) / count
        return [
            self._finish(step, beta, rate, figure, math.nan, seconds)
            for (step, beta, rate), figure in zip(planned, figures, strict=True)
        ]

    def one_step(self) -> StepRecord:
        """Draws a batch, moves the parameters once, and records it."""
        run, settings, begin = self.run, self.run.settings, time.perf_counter()
        step = run.step
        beta, rate = self._prepare(step)
        batch = draw(self.sampler, settings.batch, settings.seed, step * settings.batch, settings.micro_batch)
        reward = accumulate_gradient(self.sampler, batch, beta, settings.micro_batch)
        limit = math.inf if settings.clip_norm is None else settings.clip_norm
        figures = StepFigures(
            loss=float(reward.mean()),
            deviation=float(reward.std()),
            energy=float(batch.energy.mean()),
            log_q=float(batch.log_q.mean()),
            ess=effective_sample_size(-reward),
            gradient_norm=float(torch.nn.utils.clip_grad_norm_(list(run.net.parameters()), limit)),
        )
        _check_finite(step, figures)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return self._finish(step, beta, rate, figures, batch.seconds, time.perf_counter() - begin)

    def _prepare(self, step: int) -> tuple[float, float]:
        """beta and the learning rate of a step."""
        settings = self.run.settings
        rung, inside = settings.rung(step)
        if inside == 0 and rung > 0:
            self.schedule.restart()
        beta = settings.beta_at(step)
        if settings.anneal is not None:  # the first beta is 0, where nothing can be
            self.run.net.follow(beta or settings.beta_at(step + 1))
        elif inside == 0:
            self.run.net.follow(beta)
        return beta, settings.learning_rate * self.schedule.factor(step, settings.total_steps)

    def _finish(
        self, step: int, beta: float, rate: float, figures: StepFigures, sample_seconds: float, step_seconds: float
    ) -> StepRecord:
        """Records a step that was done."""
        _check_finite(step, figures)
        run, settings, sites = self.run, self.run.settings, self.run.hamiltonian.num_sites
        rung, _ = settings.rung(step)
        self.schedule.observe(figures.loss / sites, abs(beta - settings.beta[rung]) <= 1e-3 * settings.beta[rung])
        scale = beta * sites
        record = StepRecord(
            step=step,
            beta=beta,
            rung=rung,
            loss=figures.loss,
            free_energy_per_site=figures.loss / scale if scale else math.nan,
            free_energy_std_per_site=figures.deviation / scale if scale else math.nan,
            energy_per_site=figures.energy / sites,
            entropy_per_site=-figures.log_q / sites,
            ess=figures.ess,
            gradient_norm=figures.gradient_norm,
            learning_rate=rate,
            sample_seconds=sample_seconds,
            step_seconds=step_seconds,
        )
        run.step += 1
        run.history.append(record)
        if self.folder is not None:
            self.folder.metrics.append(record)
        return record


def _check_finite(step: int, figures: StepFigures) -> None:
    if not (math.isfinite(figures.loss) and math.isfinite(figures.gradient_norm)):
        raise FloatingPointError(
            f"training diverged at step {step}: loss {figures.loss}, gradient norm {figures.gradient_norm}; "
            "lower the learning rate"
        )
