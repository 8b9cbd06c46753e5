"""What `sample`, `evaluate` and `overlaps` share: the run they start from, its system, its samples in pieces."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vanfast.backends import PRECISIONS
from vanfast.cli.parser import integer, positive, seed
from vanfast.cli.placing import add_placing_options, place
from vanfast.cli.systems import add_system_options, names_a_system, system_of

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.sampler import Batch, Sampler
    from vanfast.training import FitRun, Run


def add_sampling_options(parser: argparse.ArgumentParser, default_num: int, writers: str) -> None:
    parser.add_argument("run", metavar="RUN", help=f"directory that {writers} wrote")
    parser.add_argument(
        "--num", type=integer(1), default=default_num, metavar="N", help=f"samples (default {default_num})"
    )
    parser.add_argument("--seed", type=seed, default=1, metavar="S", help="seed of the samples (default 1)")
    parser.add_argument("--first", type=seed, default=0, metavar="I", help="index of the first sample (default 0)")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: that of the training")
    add_placing_options(parser)
    parser.add_argument("--threads", type=integer(1), metavar="N", help="default: all cores")
    parser.add_argument("--chunk", type=integer(1), metavar="N", help="samples in memory (default: 64 MiB of spins)")


def load_trained(path: str) -> Run | FitRun:
    """The run that `vanfast train` or `vanfast fit` stored; raises as `load_run`."""
    from vanfast.training import load_fit, load_run
    from vanfast.training.checkpoint import kind_of_state
    from vanfast.training.likelihood.run import KIND
    from vanfast.training.metrics import StepRecord
    from vanfast.training.run import RunFolder

    folder = RunFolder(path, StepRecord)
    return load_fit(path) if folder.holds_a_run() and kind_of_state(folder.checkpoint) == KIND else load_run(path)


def add_fit_system_options(parser: argparse.ArgumentParser) -> None:
    """--beta, and the options of a spin system, which a fit does not have by itself."""
    parser.add_argument(
        "--beta",
        type=positive,
        metavar="B",
        help="of the Boltzmann weights (default: the last one of the training; of a fit that of its spin system)",
    )
    add_system_options(parser, "spin system that a fit is weighed with, with --beta")


def system_beside(trained: Run | FitRun, arguments: argparse.Namespace) -> tuple[Hamiltonian | None, float | None]:
    """The system and beta that samples of a run are weighed with: those of the training, of a fit the ones that the
    options name, or neither. ValueError for options that do not go together."""
    from vanfast.training import Run

    if isinstance(trained, Run):
        return trained.hamiltonian, trained.beta if arguments.beta is None else arguments.beta
    if names_a_system(arguments) != (arguments.beta is not None):
        raise ValueError(f"{trained.out} is a fit: --beta goes with a system, --model or --couplings, and that with it")
    return (system_of(arguments), arguments.beta) if names_a_system(arguments) else (None, None)


def check_systems(runs: Sequence[Run | FitRun], arguments: argparse.Namespace) -> None:
    """ValueError for a system that no run needs."""
    from vanfast.training import Run

    if names_a_system(arguments) and all(isinstance(run, Run) for run in runs):
        raise ValueError(f"{runs[0].out} has the system of its training: --model and --couplings are for fits")


def sampler_of(trained: Run | FitRun, arguments: argparse.Namespace, ham: Hamiltonian | None = None) -> Sampler:
    """The sampler of a stored run, where and as it was asked for, with energies of `ham` if the run is a fit."""
    from vanfast.training import Run

    place(trained.net, arguments)
    options = arguments.backend, arguments.threads, arguments.precision
    return trained.sampler(*options) if isinstance(trained, Run) else trained.sampler(*options, ham)


class Pieces:
    """Iterates over batches of samples first .. first + num - 1, on the CPU, with a progress bar; `seconds` is sampling
    time."""

    def __init__(self, sampler: Sampler, arguments: argparse.Namespace) -> None:
        self.sampler, self.arguments, self.seconds = sampler, arguments, 0.0

    def __iter__(self) -> Iterator[Batch]:
        from rich.console import Console
        from rich.progress import Progress

        num, first = self.arguments.num, self.arguments.first
        chunk = self.arguments.chunk or min(65536, max(256, 2**26 // self.sampler.net.num_sites))
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task("sampling", total=num)
            for start in range(0, num, chunk):
                size = min(chunk, num - start)
                begin = time.perf_counter()
                piece = self.sampler.sample(size, seed=self.arguments.seed, first=first + start).cpu()
                self.seconds += time.perf_counter() - begin
                yield piece
                bar.advance(task, size)

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.arguments.num / self.seconds if self.seconds else float("inf")
