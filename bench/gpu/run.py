"""Measures the table of targets on one GPU: `python bench/gpu/run.py --out FILE`. See --help.

The file is written anew after every case, so that what was measured is kept when the time is up. Every case stands
beside the limits of the same run: torch's matrix products in three precisions and the bandwidth of a copy.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from clock import Clock
from crossover import measure_crossover
from limits import best_of, measure_limits
from targets import Target, naive_seconds, refuses, run_of, targets

from vanfast._files import write_json
from vanfast.backends.cuda import no_gpu
from vanfast.benchmarks import digest
from vanfast.cli.bench import describe_machine
from vanfast.cli.output import print_table


def main() -> int:
    options = _options()
    begin = time.monotonic()
    device, tiny = torch.device(options.device), options.size == "tiny"
    clock = Clock(device, quick=tiny)
    kept = {"machine": describe_machine(), "device": options.device, "size": options.size}
    result: dict[str, Any] = {**kept, digest.KEY: digest.sources(_engines(options.backend))}
    result |= {"limits": measure_limits(clock, tiny), "cases": []}

    def left() -> float:
        return float(options.seconds - (time.monotonic() - begin))

    chosen = [t for t in targets(tiny) if not options.only or any(name in t.name for name in options.only)]
    for backend in options.backend:
        for target in chosen:
            row = _measure(target, device, backend, clock) if left() > 10 else _row(target, backend, "no time was left")
            result["cases"].append(row)
            judge(row, target, result)
            write_json(options.out, result)
    if options.crossover:
        rivals = list(dict.fromkeys(["cpu", *options.backend]))
        sizes = measure_crossover(device, rivals, tiny, left)
        sources = digest.sources(_engines(rivals))
        write_json(options.crossover, {**kept, digest.KEY: sources, "crossover": sizes})
        for entry in sizes:
            print(f"{entry['network']}: faster than the CPU from batch {entry['faster_from']}")
    result["limits"] = best_of(result["limits"], measure_limits(clock, tiny))
    by_name = {target.name: target for target in chosen}
    for row in result["cases"]:  # again, with the limits as they are now
        judge(row, by_name[row["case"]], result)
    result["seconds"] = time.monotonic() - begin
    write_json(options.out, result)
    _print(result)
    return 0 if all(row["status"] in ("measured", "refused") for row in result["cases"]) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON with everything measured")
    parser.add_argument("--device", default="cuda", help="torch device; default: cuda")
    parser.add_argument(
        "--backend",
        action="append",
        choices=["cuda", "triton", "cpu", "reference"],
        metavar="NAME",
        help="default: cuda, then triton",
    )
    parser.add_argument("--size", choices=["full", "tiny"], default="full", help="tiny: to test this program")
    parser.add_argument("--only", action="append", metavar="TEXT", help="cases whose name holds TEXT; default: all")
    parser.add_argument("--seconds", type=float, default=180.0, help="no case begins after so many seconds")
    parser.add_argument("--crossover", type=Path, metavar="FILE", help="backends against each other by size, to FILE")
    options = parser.parse_args()
    if options.device.startswith("cuda") and (reason := no_gpu()):
        parser.error(f"--device {options.device}: {reason}")
    options.backend = options.backend or ["cuda", "triton"]
    return options


def _engines(names: list[str]) -> list[str]:
    """Whose sources decide the figures: training on a GPU has Triton's backward pass whatever draws."""
    engines = {"cuda": ["cuda", "triton"], "triton": ["triton"], "cpu": ["cpu"], "reference": []}
    return sorted({engine for name in names for engine in engines[name]})


def _row(target: Target, backend: str, status: str) -> dict[str, Any]:
    return {
        "case": target.name,
        "kind": target.kind,
        "backend": backend,
        "precision": target.precision,
        "batch": target.batch,
        "status": status,
    }


def _measure(target: Target, device: torch.device, backend: str, clock: Clock) -> dict[str, Any]:
    """A row with times; one that fails, or whose network the backend has no kernels for, says why and stops nothing."""
    if reason := refuses(target, backend):
        return _row(target, backend, "refused") | {"error": reason}
    row = _row(target, backend, "measured")
    cuda = device.type == "cuda"
    try:
        torch.manual_seed(0)
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        run, useful = run_of(target, device, backend)
        timing = clock.time(run, flush=target.kind == "energy")
        row |= {**useful, "time": timing.to_json(), "samples_per_second": target.batch / timing.median}
        if "updates" in useful:
            row["updates_per_second"] = useful["updates"] / timing.median
        row["peak_memory_bytes"] = torch.cuda.max_memory_allocated(device) if cuda else None
        naive = naive_seconds(target, device)
        row |= {} if naive is None else {"naive_seconds": naive, "naive_ratio": naive / timing.median}
    except Exception as error:  # an engine that is missing or wrong must not hide the others
        traceback.print_exc()
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"[:500]}
    return row


def judge(row: dict[str, Any], target: Target, result: dict[str, Any]) -> None:
    """Adds the share of the limit, and for everything asked of the case what was found and whether it is reached."""
    row["asked"] = {}
    if row["status"] != "measured":
        return
    seconds = row["time"]["median"]
    limit = target.limit or target.precision
    if "operations" in row:
        row["limit"] = f"torch's matrix product in {limit}" + (f", {target.products} for one" * (target.products > 1))
        rate = result["limits"]["product_rate"][limit]
        row["share_of_limit"] = target.products * row["operations"] / seconds / rate
    elif "bytes" in row:
        row["limit"] = "bandwidth of a copy"
        row["share_of_limit"] = row["bytes"] / seconds / result["limits"]["copy_rate"]
    others = [other for other in result["cases"] if other["case"] == target.against and other.get("time")]
    same = [other for other in others if other["backend"] == row["backend"]]
    if same:
        cost, reference = (r["time"]["median"] / (r["batch"] * r["sites"]) for r in (row, same[0]))
        row["cost_per_site_ratio"] = cost / reference
        work = [r["operations"] / (r["batch"] * r["sites"]) for r in (row, same[0])]
        row["operations_per_site_ratio"] = work[0] / work[1]  # more taps lie inside a larger lattice
    wishes = [
        ("seconds", target.seconds, seconds, False),
        ("samples_per_second", target.rate, row["samples_per_second"], True),
        ("updates_per_second", target.updates, row.get("updates_per_second"), True),
        ("share_of_limit", target.share, row.get("share_of_limit"), True),
        ("cost_per_site_ratio", target.cost_ratio, row.get("cost_per_site_ratio"), False),
    ]
    for name, wish, found, at_least in wishes:
        if wish is not None:
            reached = found is not None and (found >= wish if at_least else found <= wish)
            row["asked"][name] = {"target": wish, "found": found, "reached": reached}


def _print(result: dict[str, Any]) -> None:
    limits = result["limits"]
    rates = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in limits["product_rate"].items())
    print(f"limits: matrix products {rates} TFLOP/s, copy {limits['copy_rate'] / 1e12:.3g} TB/s")
    rows = []
    for row in result["cases"]:
        if row["status"] != "measured":
            rows.append([row["case"], row["backend"], row.get("error", row["status"])[:60], "", "", ""])
            continue
        asked = "; ".join(
            f"{name} {entry['target']:g}: {'reached' if entry['reached'] else 'MISSED'}"
            for name, entry in row["asked"].items()
        )
        figures = [f"{1e3 * row['time']['median']:.4g} ms", f"{100 * row['time']['spread']:.0f} %"]
        share = f"{100 * row['share_of_limit']:.1f} %" if "share_of_limit" in row else ""
        rows.append([row["case"], row["backend"], *figures, share, asked])
    print_table("targets", ["case", "backend", "time", "spread", "of limit", "asked"], rows)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
