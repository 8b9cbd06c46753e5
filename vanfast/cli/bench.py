"""`vanfast bench`: sampling speed of the VAN paper's cases against their rivals and the machine's limit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanfast._files import write_json
from vanfast.cli.output import print_table

if TYPE_CHECKING:
    from vanfast.benchmarks import Measurement


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", action="append", metavar="NAME", help="one case, or several; default: all")
    parser.add_argument("--list", action="store_true", help="print the cases' names and leave")
    parser.add_argument("--growth", action="store_true", help="cost per site from L = 16 to 128 as well")
    parser.add_argument("--training", action="store_true", help="seconds of a training step as well")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of engine and rivals; default: all cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to FILE")
    parser.add_argument("--check-digest", action="store_true", help="tell which results are older than their kernels")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="results to check; default: bench/results")


def run(arguments: argparse.Namespace) -> int:
    from vanfast.benchmarks import CASES, digest, measure_case, measure_growth, measure_training

    if arguments.list:
        print("\n".join(CASES))
        return 0
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise ValueError(f"--json {arguments.json}: the folder {arguments.json.parent} does not exist")
    if arguments.check_digest:
        return _check_digest(arguments)
    if arguments.results is not None:
        raise ValueError("--results belongs to --check-digest")
    names = arguments.case or list(CASES)
    for name in names:
        if name not in CASES:
            raise ValueError(f"--case {name} is not a case; allowed: {', '.join(CASES)}")
    if arguments.threads is not None and arguments.threads < 1:
        raise ValueError(f"--threads {arguments.threads} must be at least 1")
    results: dict[str, Any] = {"machine": describe_machine(), digest.KEY: digest.sources(["cpu"]), "sampling": []}
    measured = []
    for name in names:
        measured.append(measure_case(CASES[name], arguments.threads))
        results["sampling"].append(measured[-1].to_json())
    _print_sampling(measured)
    if arguments.growth:
        results["growth"] = measure_growth(arguments.threads)
        _print_growth(results["growth"])
    if arguments.training:
        results["training"] = [measure_training(CASES[name], arguments.threads) for name in names]
        rows = [[row["case"], str(row["batch"]), _seconds(row["seconds_per_step"])] for row in results["training"]]
        print_table("training step", ["case", "batch", "time"], rows)
    if arguments.json is not None:
        write_json(arguments.json, results)
    return 0


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on."""
    from vanfast import __version__
    from vanfast.benchmarks import describe_hardware

    return {**describe_hardware(), "vanfast": __version__}


def _check_digest(arguments: argparse.Namespace) -> int:
    """Prints which results of bench/results are stale; 1 if any is."""
    from vanfast.benchmarks import digest

    root = digest.source_root()
    if root is None:
        raise ValueError("--check-digest needs the source tree: csrc and kernels are not part of an installation")
    folder = arguments.results or root / "bench" / "results"
    if not folder.is_dir():
        raise ValueError(f"--results {folder} is not a folder")
    found = digest.check(folder, root)
    rows = [[status.file, status.state, ", ".join(status.changed)] for status in found]
    print_table("results and the kernels they were measured with", ["file", "state", "changed"], rows, left=True)
    if arguments.json is not None:
        write_json(arguments.json, {"results": [status.to_json() for status in found]})
    return int(any(status.state == "stale" for status in found))


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def _print_sampling(measured: list[Measurement]) -> None:
    rows = [
        [
            m.case,
            str(m.batch),
            m.isa,
            _seconds(m.seconds),
            f"{m.samples_per_second:,.0f}",
            f"{m.naive_ratio:,.0f}",
            f"{m.cached_ratio:,.1f}",
            "–" if m.limit_share is None else f"{100 * m.limit_share:.0f} %",
            f"{m.bytes_per_thread / 2**20:.1f} MiB",
        ]
        for m in measured
    ]
    columns = ["case", "batch", "isa", "time", "samples/s", "× naive", "× cached", "of limit", "per thread"]
    print_table(f"sampling on {measured[0].threads} threads", columns, rows)
    rates = {m.precision: (m.torch_product_rate, m.engine_product_rate) for m in measured}
    print(
        "naive: the whole network once per site in PyTorch; timed on "
        + ", ".join(f"{m.naive_sites} sites ({m.case})" for m in measured)
        + " and scaled to all sites.\n"
        + "limit: the faster of two matrix products in this run, torch's on 2048 x 2048 and the engine's in cache: "
        + ", ".join(
            f"{name} {torch_rate / 1e9:.0f} and {engine / 1e9:.0f} GFLOP/s"
            for name, (torch_rate, engine) in rates.items()
        )
        + "."
    )


def _print_growth(rows: list[dict[str, Any]]) -> None:
    print_table(
        "cost per site and sample of fixed networks",
        ["network", "L", "time", "relative", "arithmetic per site", "relative", "per thread"],
        [
            [
                row["network"],
                str(row["L"]),
                f"{1e9 * row['seconds_per_site']:.0f} ns",
                f"{row['cost_per_site_ratio']:.2f}",
                f"{row['operations_per_site'] / 1e6:.3f} MFLOP",
                f"{row['operations_per_site_ratio']:.2f}",
                f"{row['bytes_per_thread'] / 2**20:.1f} MiB",
            ]
            for row in rows
        ],
    )
