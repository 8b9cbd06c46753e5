"""A training run: what `vanfast.train` returns, and what `load_run` reads back from its directory."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import torch

from vanfast import hamiltonians, networks
from vanfast._files import write_json
from vanfast.errors import FileFormatError
from vanfast.saving import load
from vanfast.training.checkpoint import Checkpoint, load_checkpoint
from vanfast.training.metrics import AnyRecord, MetricsFile, StepRecord
from vanfast.training.settings import Settings

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network
    from vanfast.sampler import Sampler

RUNG_PREFIX = "beta-"  # the network that a rung of a ladder left is in beta-0.5 or so, inside the run's directory
AVERAGED_STEPS = 100  # the paper's moving average of the free energy


class RunFolder(Generic[AnyRecord]):
    """Files of a run directory: run.json (to read by eye), checkpoint.safetensors (the state), metrics.jsonl."""

    def __init__(self, path: str | os.PathLike[str], records: type[AnyRecord]) -> None:
        self.path = Path(path)
        self.description = self.path / "run.json"
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.metrics = MetricsFile(self.path / "metrics.jsonl", records)

    def holds_a_run(self) -> bool:
        return self.checkpoint.exists()

    def describe(self, description: dict[str, Any]) -> None:
        """Creates the directory and run.json."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.description, description)


@dataclass
class Run:
    """Result of variational training so far.

    net, hamiltonian and settings are those of the run; `step` counts finished steps, `history` has one record
    for each of them, `out` is the run's directory (None when it has none).
    """

    net: Network = field(repr=False)
    hamiltonian: Hamiltonian
    settings: Settings
    step: int = 0
    history: list[StepRecord] = field(default_factory=list, repr=False)
    out: Path | None = None

    @property
    def finished(self) -> bool:
        return self.step >= self.settings.total_steps

    def describe(self) -> dict[str, Any]:
        """What run.json says."""
        return {
            "settings": self.settings.to_json(),
            "network": self.net.config(),
            "hamiltonian": self.hamiltonian.config(),
        }

    @property
    def beta(self) -> float:
        """Inverse temperature that the network was last trained for (annealing rounded to its target)."""
        return self.settings.beta[self.settings.rung(max(0, self.step - 1))[0]]

    def recent(self, rung: int | None = None, count: int = AVERAGED_STEPS) -> list[StepRecord]:
        """Last `count` records of a rung of the ladder (default: the last one reached) at its own beta.

        Steps whose annealed beta is more than 0.1 % off are left out, but for the last step of all.
        """
        if not self.history:
            return []
        rung = self.history[-1].rung if rung is None else rung
        records = [record for record in self.history if record.rung == rung][-count:]
        target = self.settings.beta[rung]
        return [r for r in records if abs(r.beta - target) <= 1e-3 * target] or records[-1:]

    def free_energy_of(self, rung: int) -> float:
        """Variational free energy (extensive) of a rung: mean over `recent` steps; NaN when there are none."""
        values = [record.free_energy_per_site for record in self.recent(rung)]
        return self.hamiltonian.num_sites * sum(values) / len(values) if values else math.nan

    @property
    def free_energy(self) -> float:
        """Variational free energy, extensive: mean over the last 100 steps (an upper bound but for noise)."""
        return self.free_energy_of(self.history[-1].rung) if self.history else math.nan

    @property
    def free_energy_per_site(self) -> float:
        return self.free_energy / self.hamiltonian.num_sites

    def sampler(self, backend: str = "auto", threads: int | None = None, precision: str | None = None) -> Sampler:
        """Sampler of the trained network, with the run's precision unless told otherwise."""
        from vanfast.sampler import Sampler

        return Sampler(
            self.net,
            self.hamiltonian,
            backend=backend,
            precision=precision or self.settings.precision,
            threads=threads,
        )


def run_from_checkpoint(state: Checkpoint, path: Path) -> Run:
    """Run with the network and Hamiltonian that a checkpoint describes (no history)."""
    try:
        ham = hamiltonians.from_config(state.hamiltonian, state.arrays)
        settings = Settings.from_json(state.settings)
        net = stored_network(state.network, state.parameters)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise FileFormatError(f"{path}: the checkpoint does not describe a run: {error}") from None
    return Run(net, ham, settings, step=state.step)


def stored_network(config: dict[str, Any], parameters: dict[str, torch.Tensor]) -> Network:
    """The network of a checkpoint, in the dtype of its parameters."""
    net = networks.from_config(config)
    net.to(next(value.dtype for value in parameters.values() if value.is_floating_point()))
    net.load_state_dict(parameters)
    return net


def load_run(path: str | os.PathLike[str]) -> Run:
    """Run stored in a directory by `vanfast.train(..., out=path)`, as of its last checkpoint.

    `path` may also be the directory of one rung of a ladder in a run, beta-0.5 say: then the run as it was when that
    rung was done, with the network of that moment.

    Raises FileNotFoundError when the directory holds no run, FileFormatError when its files are not as written.
    """
    folder = RunFolder(path, StepRecord)
    if not folder.holds_a_run() and folder.path.name.startswith(RUNG_PREFIX):
        return _load_rung(folder.path)
    if not folder.holds_a_run():
        raise FileNotFoundError(f"no run in {folder.path}: expected {folder.checkpoint.name}, as vanfast train writes")
    run = run_from_checkpoint(load_checkpoint(folder.checkpoint), folder.checkpoint)
    run.out = folder.path
    run.history = folder.metrics.read(run.step)
    return run


def _load_rung(path: Path) -> Run:
    run = load_run(path.parent)
    names = [f"{RUNG_PREFIX}{beta:g}" for beta in run.settings.beta]
    if path.name not in names:
        raise FileNotFoundError(f"no {path.name} in {path.parent}: its rungs are {', '.join(names)}")
    run.net = load(path)
    run.step = sum(run.settings.steps[: names.index(path.name) + 1])
    run.history = [record for record in run.history if record.step < run.step]
    run.out = path
    return run
