"""What `sample` and `evaluate` share: the run they start from, and its samples in pieces."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vanfast.backends import PRECISIONS
from vanfast.cli.parser import integer, seed
from vanfast.cli.placing import add_placing_options, place

if TYPE_CHECKING:
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


def sampler_of(trained: Run | FitRun, arguments: argparse.Namespace) -> Sampler:
    """The sampler of a stored run, where and as it was asked for."""
    place(trained.net, arguments)
    return trained.sampler(arguments.backend, arguments.threads, arguments.precision)


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
