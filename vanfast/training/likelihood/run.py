"""A fit: what `vanfast.fit` returns, and what `load_fit` reads back from its directory."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vanfast.errors import FileFormatError
from vanfast.training.checkpoint import read_state, write_state
from vanfast.training.likelihood.settings import FitSettings
from vanfast.training.metrics import Record
from vanfast.training.run import RunFolder, stored_network

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network
    from vanfast.sampler import Sampler

KIND = "likelihood"


@dataclass(frozen=True)
class EpochRecord(Record):
    """One epoch, counted from 1; `step` is the number of its last step, from 0.

    loss is -<ln q(s)> in nats over the training data, each batch before its step; validation_loss that over the
    validation data after the epoch, NaN where there are none. gradient_norm is the epoch's mean, learning_rate that of
    its last step.
    """

    epoch: int
    loss: float
    validation_loss: float
    gradient_norm: float
    learning_rate: float
    seconds: float


@dataclass
class Best:
    """The parameters with the lowest validation loss so far; `epoch` 0 is the start."""

    epoch: int
    loss: float
    parameters: dict[str, torch.Tensor] = field(repr=False)


@dataclass
class FitRun:
    """Result of a fit so far.

    net has the best parameters once `vanfast.fit` returns: those with the lowest validation loss, `best_loss`, after
    epoch `best_epoch` (0: the start); without validation data the last ones (best is None). `step` counts finished
    steps, `history` has one record for each finished epoch, `data` is a digest of the data, `out` the run's directory
    (None when it has none).
    """

    net: Network = field(repr=False)
    settings: FitSettings
    data: str = field(repr=False)
    step: int = 0
    history: list[EpochRecord] = field(default_factory=list, repr=False)
    best: Best | None = field(default=None, repr=False)
    out: Path | None = None

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.step // self.settings.steps_per_epoch

    @property
    def best_epoch(self) -> int:
        return self.epoch if self.best is None else self.best.epoch

    @property
    def best_loss(self) -> float:
        """Of the validation data, in nats; NaN without these."""
        return math.nan if self.best is None else self.best.loss

    @property
    def stopped_early(self) -> bool:
        """Whether `patience` epochs have not lowered the validation loss."""
        patience = self.settings.patience
        return patience is not None and self.best is not None and self.epoch - self.best.epoch >= patience

    @property
    def finished(self) -> bool:
        return self.step >= self.settings.total_steps or self.stopped_early

    def describe(self) -> dict[str, Any]:
        """What run.json says."""
        return {"settings": self.settings.to_json(), "network": self.net.config(), "data": self.data}

    def sampler(
        self,
        backend: str = "auto",
        threads: int | None = None,
        precision: str | None = None,
        ham: Hamiltonian | None = None,
    ) -> Sampler:
        """Sampler of the network, with the fit's precision unless told otherwise, and energies where `ham` is given."""
        from vanfast.sampler import Sampler

        return Sampler(self.net, ham, backend=backend, precision=precision or self.settings.precision, threads=threads)


@dataclass
class Sums:
    """Of the epoch under way: losses and gradient norms of its steps, and their seconds."""

    loss: float = 0.0
    gradient_norm: float = 0.0
    seconds: float = 0.0


@dataclass
class FitState:
    """A fit's checkpoint: all that the rest of the run depends on."""

    step: int
    settings: dict[str, Any]
    schedule: dict[str, float]
    network: dict[str, Any]
    data: str
    sums: dict[str, float]
    best: dict[str, Any] | None  # epoch and loss
    parameters: dict[str, torch.Tensor]
    adam: dict[str, torch.Tensor]
    best_parameters: dict[str, torch.Tensor]

    def save(self, path: Path) -> None:
        tensors = {"net": self.parameters, "adam": self.adam, "best": self.best_parameters}
        write_state(path, KIND, {key: getattr(self, key) for key in _HEADER}, tensors)

    @classmethod
    def load(cls, path: Path) -> FitState:
        """Raises FileNotFoundError when there is none, FileFormatError when the file is something else."""
        header, groups = read_state(path, KIND, _HEADER)
        named = {"parameters": "net", "adam": "adam", "best_parameters": "best"}
        values = header | {name: groups.get(group, {}) for name, group in named.items()}
        return cls(**values)

    def best_so_far(self) -> Best | None:
        return None if self.best is None else Best(**self.best, parameters=self.best_parameters)


_HEADER = ("step", "settings", "schedule", "network", "data", "sums", "best")


def load_fit(path: str | os.PathLike[str]) -> FitRun:
    """Fit stored in a directory by `vanfast.fit(..., out=path)`, as of its last checkpoint, with the best parameters.

    Raises FileNotFoundError when the directory holds no run, FileFormatError when its files are not as written.
    """
    folder = RunFolder(path, EpochRecord)
    if not folder.holds_a_run():
        raise FileNotFoundError(f"no run in {folder.path}: expected {folder.checkpoint.name}, as vanfast fit writes")
    state = FitState.load(folder.checkpoint)
    try:
        best = state.best_so_far()
        net = stored_network(state.network, state.parameters if best is None else best.parameters)
        settings = FitSettings.from_json(state.settings)
    except (ValueError, TypeError, KeyError, RuntimeError, StopIteration) as error:
        raise FileFormatError(f"{folder.checkpoint}: the checkpoint does not describe a fit: {error}") from None
    run = FitRun(net, settings, state.data, step=state.step, best=best, out=folder.path)
    run.history = folder.metrics.read(run.step)
    return run
