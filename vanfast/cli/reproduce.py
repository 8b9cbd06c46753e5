"""`vanfast reproduce`: experiments of the papers, their data and figures into a directory."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from vanfast.cli.output import print_json, print_table, with_error
from vanfast.cli.parser import integer, positive, sides
from vanfast.cli.signals import sigterm_like_ctrl_c
from vanfast.reproduce.nnsm.curves import CURVES

EXPERIMENTS = ("nnsm",)
_SETTINGS: dict[str, tuple[Any, str, str]] = {  # option -> type, metavar, what it is
    "L": (integer(2), "L", "side of the lattice (16)"),
    "T0": (positive, "T", "temperature of the measured configurations (2.5)"),
    "samples": (integer(20), "M", "measured configurations (60,000)"),
    "hidden": (sides, "WIDTHS", "hidden layers of the networks (180,120)"),
    "epochs": (integer(1), "E", "of the fits, at most (60)"),
    "batch": (integer(1), "B", "configurations of a step (500)"),
    "lr": (positive, "R", "at the start, falling as a cosine (0.002)"),
    "patience": (integer(1), "E", "epochs without a lower loss of the part held out (20)"),
    "chains": (integer(2), "C", "Markov chains at every temperature (256)"),
    "sweeps": (integer(1), "S", "after burn-in (400)"),
    "burn-in": (integer(0), "S", "sweeps before (200)"),
    "thin": (integer(1), "S", "sweeps between proposals of the network (10)"),
    "seed": (integer(0, 2**62 - 1), "S", "of all random numbers (1)"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experiment",
        choices=EXPERIMENTS,
        help="nnsm: a network learns the ferromagnet at one temperature and predicts others (arXiv:2007.01037)",
    )
    parser.add_argument("-o", "--out", default="nnsm", metavar="DIR", help="where files go, and go on (default: nnsm)")
    parser.add_argument(
        "--curves", nargs="+", metavar="NAME", help=f"what is measured: {', '.join(CURVES)} (default: all)"
    )
    parser.add_argument("--temperatures", type=positive, nargs="+", metavar="T", help="where chains run (1.5 to 3.5)")
    for name, (kind, metavar, text) in _SETTINGS.items():
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)
    parser.add_argument("--threads", type=integer(1, 4096), metavar="N", help="default: all cores")
    parser.add_argument("--quiet", action="store_true", help="no news on the way")
    parser.add_argument("--json", action="store_true", help="print results as JSON")


def run(arguments: argparse.Namespace) -> int:
    from vanfast.reproduce.nnsm import Settings, reproduce

    names = [name.replace("-", "_") for name in (*_SETTINGS, "curves", "temperatures")]
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if "lr" in given:
        given["learning_rate"] = given.pop("lr")
    begin = time.perf_counter()
    with sigterm_like_ctrl_c():
        experiment = reproduce(
            arguments.out,
            Settings(**given),
            threads=arguments.threads,
            progress=False if arguments.quiet else None,
            say=lambda line: None if arguments.quiet else print(line, file=sys.stderr, flush=True),
        )
    if arguments.json:
        print_json(experiment.results)
        return 0
    _report(experiment.results, experiment.settings.T0)
    print(f"{time.perf_counter() - begin:.0f} s; written:", ", ".join(str(path) for path in experiment.files))
    return 0


def _report(results: dict[str, Any], T0: float) -> None:
    curves = results["curves"]
    for key, title in (("abs_magnetization", "|m|"), ("energy_per_site", "true energy per site")):
        shown = [name for name in curves if any(key in point for point in curves[name]["points"].values())]
        if not shown:
            continue
        rows = []
        for T in sorted(results["truth"], key=float):
            points = [results["truth"][T], *(curves[name]["points"].get(T, {}) for name in shown)]
            rows.append([T, *(with_error(p[key], p.get(f"{key}_error", 0.0)) if key in p else "–" for p in points)])
        print_table(f"{title}, learnt at T = {T0:g}", ["T", "true", *(CURVES[name].label for name in shown)], rows)
    rows = []
    for name, curve in curves.items():
        fit, distance, energies = curve["fit"], results["distances"][name], curve["energies"]
        excess = f"{fit['validation_loss'] - fit['entropy']:.2f}" if "entropy" in fit else "–"
        pairs = [
            f"{distance[f'{key}_largest']:.4f}, {distance[f'{key}_mean']:.4f}" if f"{key}_largest" in distance else "–"
            for key in ("abs_magnetization", "energy_per_site")
        ]
        kolmogorov = [f"{energies[kind]['kolmogorov']:.3f}" if kind in energies else "–" for kind in ("true", "learnt")]
        rows.append([CURVES[name].label, f"{fit['num_parameters']:,}", excess, *pairs, *kolmogorov])
    columns = ["", "parameters", "-<ln q> - S, nats", "|m|: largest, mean", "E/N: largest, mean", "P(E)", "P(H)"]
    print_table(f"Distances from the true curves; P: largest difference of cumulatives at T = {T0:g}", columns, rows)
