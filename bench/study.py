"""What the studies share: a table on the screen, and JSON with the machine it was made on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from vanfast.benchmarks import digest
from vanfast.cli.bench import describe_machine
from vanfast.cli.output import print_table

RESULTS = Path(__file__).parent / "results"


def arguments(description: str, **options: Any) -> argparse.Namespace:
    """Options as --name with the given defaults; those that are False are switches."""
    parser = argparse.ArgumentParser(description=description)
    for name, default in options.items():
        kind: dict[str, Any] = (
            {"action": "store_true"} if default is False else {"type": type(default), "default": default}
        )
        parser.add_argument(f"--{name.replace('_', '-')}", **kind)
    return parser.parse_args()


def report(name: str, settings: dict[str, Any], columns: list[str], rows: list[list[Any]]) -> None:
    """Prints the rows and writes them to bench/results/NAME.json."""
    print_table(name, columns, [[f"{v:.6g}" if isinstance(v, float) else str(v) for v in row] for row in rows])
    result = {
        "machine": describe_machine(),
        digest.KEY: digest.sources(["cpu"]),
        "settings": settings,
        "rows": [dict(zip(columns, row, strict=True)) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
