"""The progress bar of training: what was found so far, samples a second, time left."""

from __future__ import annotations

import string
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vanfast.errors import MissingDependency
from vanfast.training.metrics import StepRecord

if TYPE_CHECKING:
    from vanfast.training.run import Run


Show = Callable[..., None]  # of the steps done, and of the texts by name


@contextmanager
def bar(texts: Sequence[str], total: int, completed: int, wanted: bool | None) -> Iterator[Show | None]:
    """A bar over `total` steps between texts, each a format of fields such as "β {beta}". Gives the
    function that shows them, or None unless `wanted`, or wanted is None and this is a terminal."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        raise MissingDependency("rich", "all", "a progress bar") from None
    console = Console(stderr=True)
    fields = {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}
    first, *others = (TextColumn(text.replace("{", "{task.fields[").replace("}", "]}")) for text in texts)
    columns = [
        first,
        *([BarColumn(bar_width=20)] if console.width >= 110 else []),
        MofNCompleteColumn(),
        *others,
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console) as progress:
        empty: dict[str, Any] = dict.fromkeys(fields, "")
        task = progress.add_task("", total=total, completed=completed, **empty)
        yield lambda done, **values: progress.update(task, completed=done, **values)


@contextmanager
def open_progress(run: Run, wanted: bool | None) -> Iterator[Callable[[Sequence[StepRecord]], None]]:
    """Gives a function to call with new records of variational training."""
    texts = ["β {beta}", "F/N {energy}", "{exact}", "{rate}"]
    with bar(texts, run.settings.total_steps, run.step, wanted) as show:
        shown_rung = -1
        exact = ""

        def report(records: Sequence[StepRecord]) -> None:
            nonlocal shown_rung, exact
            if show is None or not records:
                return
            record = records[-1]
            if record.rung != shown_rung:
                shown_rung, exact = record.rung, _exact_text(run, run.settings.beta[record.rung])
            recent = run.history[-20:]
            rate = run.settings.batch * len(recent) / max(1e-9, sum(step.step_seconds for step in recent))
            show(
                record.step + 1,
                beta=f"{record.beta:.4f}",
                energy=f"{record.free_energy_per_site:+.5f} ±{record.free_energy_std_per_site:.4f}",
                exact=exact,
                rate=f"{rate:,.0f} samples/s",
            )

        yield report


def _exact_text(run: Run, beta: float) -> str:
    from vanfast.training.known import known_values

    known = known_values(run.hamiltonian, beta)
    return "" if known is None else f"exact {known.free_energy / run.hamiltonian.num_sites:+.5f}"
