"""The table of resources of all cases, made by two processes, and the committed one that it is held against.

`python -m tests.ahead.table` writes bench/results/resources_triton.json anew.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BUDGETS = ROOT / "bench" / "results" / "resources_triton.json"
TARGETS = (80, 90, 100)

Table = dict[str, dict[str, Any]]


def version() -> str:
    import triton

    return str(triton.__version__)


def _start() -> None:
    os.environ.setdefault("TRITON_CACHE_DIR", str(ROOT / "build" / "triton"))


def _measured(names: list[str]) -> Table:
    import torch

    from tests.ahead.cases import all_cases
    from tests.ahead.compile import resources

    torch.set_num_threads(1)
    cases, found = all_cases(), {}
    for name in names:
        launch = cases[name].launch()
        for sm in TARGETS:
            found[f"{name} sm_{sm}"] = {"kernel": cases[name].kernel, **resources(launch, sm)}
    return found


def measured(names: list[str]) -> Table:
    """Resources by "case sm_NN". Compiled binaries are kept in build/triton."""
    runs = [names[i : i + 3] for i in range(0, len(names), 3)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), _start) as pool:
        found = {key: value for part in pool.map(_measured, runs) for key, value in part.items()}
    return {f"{name} sm_{sm}": found[f"{name} sm_{sm}"] for name in names for sm in TARGETS}


def main() -> None:
    from tests.ahead.cases import all_cases

    rows = measured(list(all_cases()))
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    head = f'"triton": "{version()}", "refresh": "python -m tests.ahead.table"'
    BUDGETS.write_text(f'{{{head}, "rows": {{\n{lines}\n}}}}\n')
    spilling = [name for name, row in rows.items() if row["spills"]]
    sys.stdout.write(f"{len(rows)} rows in {BUDGETS}; spills: {', '.join(spilling) or 'none'}\n")


if __name__ == "__main__":
    main()
