"""The loop of a fit: minibatches, Adam, validation after every epoch, the best parameters kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import torch

from vanfast.sampler import Sampler
from vanfast.training.checkpoint import adam_tensors, restore_adam
from vanfast.training.data import Samples
from vanfast.training.graphed import make_adam
from vanfast.training.likelihood.batches import Batches
from vanfast.training.likelihood.run import Best, EpochRecord, FitRun, FitState, Sums
from vanfast.training.likelihood.settings import FitSettings
from vanfast.training.likelihood.step import accumulate_log_prob, cross_entropy
from vanfast.training.progress import bar
from vanfast.training.run import RunFolder
from vanfast.training.trainer import Trainer, check_same_network


class LikelihoodTrainer(Trainer[FitRun, EpochRecord]):
    def __init__(self, run: FitRun, sampler: Sampler, training: Samples, validation: Samples | None) -> None:
        settings = run.settings
        super().__init__(run, sampler, make_adam(run.net, settings.learning_rate, settings.adam_betas, False))
        self.batches = Batches(len(training), settings.steps_per_epoch, settings.seed)
        home = run.net.device
        self.spins = torch.from_numpy(training.spins).to(home)
        self.shares = torch.from_numpy(training.counts / training.counts.sum())  # of the cross-entropy's weights
        self.held_out = None
        if validation is not None:
            self.held_out = torch.from_numpy(validation.spins).to(home), torch.from_numpy(validation.counts)
        self.sums = Sums()

    def save(self) -> None:
        if self.folder is None:
            return
        run = self.run
        with self.best_in_place():
            run.net.save(self.folder.path)  # for vanfast.load; the checkpoint is what a run is resumed from
        best = run.best
        FitState(
            step=run.step,
            settings=run.settings.to_json(),
            schedule=self.schedule.state(),
            network=run.net.config(),
            data=run.data,
            sums=asdict(self.sums),
            best=None if best is None else {"epoch": best.epoch, "loss": best.loss},
            parameters=dict(run.net.state_dict()),
            adam=adam_tensors(run.net, self.optimizer),
            best_parameters={} if best is None else best.parameters,
        ).save(self.folder.checkpoint)

    def restore(self, folder: RunFolder[EpochRecord]) -> None:
        run, path = self.run, folder.checkpoint
        state = FitState.load(path)
        FitSettings.from_json(state.settings).continued_by(run.settings)
        check_same_network(run.net, state.network, state.parameters, path)
        if state.data != run.data:
            raise ValueError(f"data differ from those of the stored run (training or validation), see {path}")
        if state.step > run.settings.total_steps:
            done = state.step // run.settings.steps_per_epoch
            raise ValueError(f"epochs must be at least the {done} already done, got {run.settings.epochs}")
        run.net.load_state_dict(state.parameters)
        restore_adam(run.net, self.optimizer, state.adam)
        self.schedule.restore(state.schedule)
        self.sums = Sums(**state.sums)
        run.step, run.best = state.step, state.best_so_far()
        run.history = folder.metrics.keep_before(state.step)

    def conclude(self) -> None:
        """The network is left with the best parameters; the checkpoint has the last ones."""
        if self.run.best is not None:
            self.run.net.load_state_dict(self.run.best.parameters)

    @contextmanager
    def best_in_place(self) -> Iterator[None]:
        """The network has the best parameters meanwhile."""
        last = self._parameters()
        self.conclude()
        try:
            yield
        finally:
            self.run.net.load_state_dict(last)

    @contextmanager
    def progress(self, wanted: bool | None) -> Iterator[Callable[[Sequence[EpochRecord]], None]]:
        run = self.run
        texts = ["epoch {epoch}", "-ln q {loss}", "{validation}", "{rate}"]
        with bar(texts, run.settings.total_steps, run.step, wanted) as show:

            def report(records: Sequence[EpochRecord]) -> None:
                if show is None:
                    return
                values = {"epoch": f"{run.epoch}/{run.settings.epochs}"}
                if records:
                    last = records[-1]
                    values["loss"] = f"{last.loss:.5g}"
                    values["rate"] = f"{run.settings.num_samples / max(last.seconds, 1e-9):,.0f} samples/s"
                    if run.best is not None:
                        values["validation"] = f"validation {last.validation_loss:.5g} (best {run.best_loss:.5g})"
                show(run.step, **values)

            yield report

    @property
    def one_torch_thread(self) -> bool:
        # of autograd too, where there is no engine: its sums depend on the number of threads
        return self.run.net.device.type == "cpu"

    def advance(self, most: int) -> Sequence[EpochRecord]:
        run, settings, begin = self.run, self.run.settings, time.perf_counter()
        if run.step == 0:
            self._validate()
        rows = torch.from_numpy(self.batches.rows(run.step))
        # unbiased: over an epoch every configuration has its share, whatever else its batches held
        weight = self.shares[rows] * (settings.num_samples / len(rows))
        log_q = accumulate_log_prob(self.sampler, self.spins[rows.to(self.spins.device)], -weight, settings.micro_batch)
        limit = math.inf if settings.clip_norm is None else settings.clip_norm
        norm = float(torch.nn.utils.clip_grad_norm_(list(run.net.parameters()), limit))
        loss = -float(weight @ log_q)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise FloatingPointError(
                f"training diverged at step {run.step}: loss {loss}, gradient norm {norm}; lower the learning rate"
            )
        rate = settings.learning_rate * self.schedule.factor(run.step, settings.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.schedule.observe(loss / run.net.num_sites, True)
        run.step += 1
        self.sums.loss += loss * len(rows) / settings.num_samples
        self.sums.gradient_norm += norm / settings.steps_per_epoch
        ended = run.step % settings.steps_per_epoch == 0
        validation_loss = self._validate() if ended else math.nan
        self.sums.seconds += time.perf_counter() - begin
        return [self._finish_epoch(validation_loss, rate)] if ended else []

    def _finish_epoch(self, validation_loss: float, rate: float) -> EpochRecord:
        run, sums = self.run, self.sums
        record = EpochRecord(
            step=run.step - 1,
            epoch=run.epoch,
            loss=sums.loss,
            validation_loss=validation_loss,
            gradient_norm=sums.gradient_norm,
            learning_rate=rate,
            seconds=sums.seconds,
        )
        self.sums = Sums()
        run.history.append(record)
        if self.folder is not None:
            self.folder.metrics.append(record)
        return record

    def _validate(self) -> float:
        """The validation loss of the present parameters, which are kept if they are the best; NaN without data."""
        if self.held_out is None:
            return math.nan
        loss, run = cross_entropy(self.sampler, *self.held_out), self.run
        if not math.isfinite(loss):
            raise FloatingPointError(f"validation loss is {loss} after step {run.step}; lower the learning rate")
        if run.best is None or loss < run.best.loss:
            run.best = Best(run.epoch, loss, self._parameters())
        return loss

    def _parameters(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.run.net.state_dict().items()}
