"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any


def print_json(values: dict[str, Any]) -> None:
    """One JSON object on standard output; numbers that are not finite become null."""
    print(json.dumps(_finite(values), indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: bool = False) -> None:
    """A table on standard output: the first column to the left, the others to the right unless `left`."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if left or index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # Where the output is no terminal rich guesses 80 columns and would cut figures off.
    console = Console(width=None if sys.stdout.isatty() else 200)
    if title:
        console.print(title, style="bold", highlight=False)
    console.print(table)


def with_error(value: float, error: float) -> str:
    """`value ± error` with as many decimals as the error has, for two of its digits."""
    if not math.isfinite(error) or error <= 0:
        return f"{value:.6f}"
    decimals = min(12, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"
