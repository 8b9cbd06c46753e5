"""`vanfast demo`: the whole way on one small system."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vanfast.backends import NAMES
from vanfast.cli.output import print_json, print_table, with_error
from vanfast.cli.parser import integer, seed


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", default="demo", metavar="DIR", help="where files go (default: demo)")
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help="of network and samples (default 0)")
    parser.add_argument("--backend", choices=("auto", *NAMES), default="auto")
    parser.add_argument("--threads", type=integer(1), metavar="N", help="of the sampling (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from vanfast.demo import QUANTITIES, run_demo

    result = run_demo(
        arguments.out,
        seed=arguments.seed,
        backend=arguments.backend,
        threads=arguments.threads,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    values = result.to_json()
    report = Path(arguments.out) / "results.json"
    report.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if arguments.json:
        print_json(values)
        return 0 if result.passed else 1
    rows = []
    for name in QUANTITIES:
        key = f"{name}_per_site"
        rows.append(
            [
                f"{name.replace('_', ' ')} per site",
                with_error(values[key], values[f"{key}_error"]),
                with_error(values[f"unbiased_{key}"], values[f"unbiased_{key}_error"]),
                f"{values[f'exact_{key}']:.6f}",
                f"{result.deviation(name):+.1f} errors",
            ]
        )
    title = f"8x8 ferromagnet at beta = {result.exact.beta}, {values['count']:,} samples"
    print_table(title, ["", "VAN", "unbiased estimate", "exact (Kaufman)", "unbiased - exact"], rows)
    ratio = result.samples_per_second / result.naive_samples_per_second
    print(f"free energy of the network: {result.relative_error:.1e} from the exact one (relative)")
    print(f"effective samples: {values['ess']:,.0f} of {values['count']:,} ({100 * values['ess_fraction']:.1f} %)")
    print(
        f"speed: {result.samples_per_second:,.0f} samples/s, {ratio:,.0f} times naive sampling at "
        f"{result.naive_samples_per_second:,.0f} samples/s (one evaluation of the network in PyTorch, once per site)"
    )
    print(f"training: {result.training_seconds:.0f} s")
    print("written:", ", ".join(str(path) for path in [*result.files, report]))
    return 0 if result.passed else 1
