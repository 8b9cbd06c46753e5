"""What every kind of training does: a directory for the run, checkpoints, resuming, stopping by a signal, progress."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from vanfast.training.interrupt import StopRequest, TrainingInterrupted
from vanfast.training.metrics import AnyRecord
from vanfast.training.run import RunFolder
from vanfast.training.step import one_torch_thread

if TYPE_CHECKING:
    from vanfast.networks import Network
    from vanfast.sampler import Sampler
    from vanfast.training.likelihood.run import FitRun
    from vanfast.training.run import Run

Kind = TypeVar("Kind", bound="Run | FitRun")


class Trainer(ABC, Generic[Kind, AnyRecord]):
    """State of a run under way: network, optimiser, schedule, files."""

    def __init__(self, run: Kind, sampler: Sampler, optimizer: torch.optim.Optimizer) -> None:
        self.run, self.sampler, self.optimizer = run, sampler, optimizer
        self.schedule = run.settings.make_schedule()
        self.folder: RunFolder[AnyRecord] | None = None

    @abstractmethod
    def save(self) -> None:
        """Writes the checkpoint and the network, if the run has a directory."""

    @abstractmethod
    def restore(self, folder: RunFolder[AnyRecord]) -> None:
        """Takes up the state of the checkpoint in a directory; ValueError where it is that of another run."""

    @abstractmethod
    def advance(self, most: int) -> Sequence[AnyRecord]:
        """Does between one and `most` steps, and gives the records that they completed."""

    @abstractmethod
    def progress(self, wanted: bool | None) -> AbstractContextManager[Callable[[Sequence[AnyRecord]], None]]:
        """A progress bar."""

    @property
    @abstractmethod
    def one_torch_thread(self) -> bool:
        """Whether steps are to run with one thread of torch."""

    def keep(self, records: Sequence[AnyRecord]) -> None:
        """Called after every `advance`, to write what the run keeps besides its checkpoint."""

    def conclude(self) -> None:
        """Called after the last checkpoint was written, also when a signal stopped the run."""

    def open(self, folder: RunFolder[AnyRecord], resume: bool) -> None:
        """Starts the run's directory, or takes up what it holds."""
        run = self.run
        if folder.holds_a_run() and not resume:
            raise FileExistsError(f"{folder.path} already holds a run: resume it, or choose another directory")
        self.folder, run.out = folder, folder.path
        if not folder.holds_a_run():
            folder.describe(run.describe())
            folder.metrics.keep_before(0)
            self.save()
            return
        self.restore(folder)
        folder.describe(run.describe())

    def go(self, checkpoint_every: int, progress: bool | None, callback: Callable[[Any], None] | None) -> Kind:
        """Trains to the end. Raises TrainingInterrupted on a signal, after saving."""
        run = self.run
        try:
            with StopRequest() as stop, self.progress(progress) as report:
                single = self.one_torch_thread
                while not run.finished:
                    with one_torch_thread(single):
                        records = self.advance(checkpoint_every - run.step % checkpoint_every)
                    report(records)
                    self.keep(records)
                    if stop.signum is not None:
                        raise self.interrupted(stop.signum)
                    if run.step % checkpoint_every == 0 and not run.finished:
                        self.save()
                    if callback is not None:
                        for record in records:
                            callback(record)
            self.save()
        finally:
            if self.folder is not None:
                self.folder.metrics.close()
        self.conclude()
        return run

    def interrupted(self, signum: int) -> TrainingInterrupted:
        self.save()
        done = f"stopped after step {self.run.step} of {self.run.settings.total_steps}"
        kept = "nothing was saved (no run directory)" if self.folder is None else f"saved in {self.folder.path}"
        self.conclude()
        return TrainingInterrupted(f"{done}; {kept}", self.run, signum)


def check_same_network(net: Network, config: dict[str, Any], parameters: dict[str, torch.Tensor], path: Path) -> None:
    """ValueError unless `net` is one like that of a checkpoint."""
    if not net.take_up(config):
        raise ValueError(f"net differs from the stored run's: {net.config()} against {config} in {path}")
    for name, value in net.state_dict().items():
        if name not in parameters or parameters[name].dtype != value.dtype:
            raise ValueError(f"net differs from the stored run's in {name}, see {path}")


def check_training_arguments(net: Network, checkpoint_every: int, resume: bool, out: object) -> None:
    """Raises ValueError for what no kind of training takes."""
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise ValueError(f"net has no parameters to train: {type(net).__name__}")
    if isinstance(checkpoint_every, bool) or not isinstance(checkpoint_every, int) or checkpoint_every < 1:
        raise ValueError(f"checkpoint_every must be an integer >= 1, got {checkpoint_every!r}")
    if resume and out is None:
        raise ValueError("resume needs out, the run's directory")
