"""The progress bar of training: F so far, exact F where known, samples a second, time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vanfast.errors import MissingDependency
from vanfast.training.metrics import StepRecord

if TYPE_CHECKING:
    from vanfast.training.run import Run


@contextmanager
def open_progress(run: Run, wanted: bool | None) -> Iterator[Callable[[StepRecord], None]]:
    """Gives a function to call with every record; it does nothing unless `wanted`, or None and on a terminal."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield lambda record: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        raise MissingDependency("rich", "all", "a progress bar") from None
    console = Console(stderr=True)
    columns = [
        TextColumn("β {task.fields[beta]:.4f}"),
        *([BarColumn(bar_width=20)] if console.width >= 110 else []),
        MofNCompleteColumn(),
        TextColumn("F/N {task.fields[energy]}", style="bold"),
        TextColumn("{task.fields[exact]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(
            "", total=run.settings.total_steps, completed=run.step, beta=0.0, energy="", exact="", rate=""
        )
        shown_rung = -1
        exact = ""

        def report(record: StepRecord) -> None:
            nonlocal shown_rung, exact
            if record.rung != shown_rung:
                shown_rung, exact = record.rung, _exact_text(run, run.settings.beta[record.rung])
            recent = run.history[-20:]
            rate = run.settings.batch * len(recent) / max(1e-9, sum(step.step_seconds for step in recent))
            bar.update(
                task,
                completed=record.step + 1,
                beta=record.beta,
                energy=f"{record.free_energy_per_site:+.5f} ±{record.free_energy_std_per_site:.4f}",
                exact=exact,
                rate=f"{rate:,.0f} samples/s",
            )

        yield report


def _exact_text(run: Run, beta: float) -> str:
    from vanfast.training.known import known_values

    known = known_values(run.hamiltonian, beta)
    return "" if known is None else f"exact {known.free_energy / run.hamiltonian.num_sites:+.5f}"
