"""`vanfast couplings`: the couplings that an SK network has learnt in its first layer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vanfast import hamiltonians
from vanfast.cli.output import print_json, print_table
from vanfast.cli.parser import positive
from vanfast.training.inverse import compare_couplings, learned_couplings, reconstruction_error

if TYPE_CHECKING:
    from vanfast.training.inverse import LearnedCouplings


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="directory that vanfast fit or train wrote with --net sk --learn-couplings"
    )
    parser.add_argument("--truth", metavar="FILE", help="true couplings, to compare with")
    parser.add_argument(
        "--signs",
        choices=("direct", "truth"),
        default="direct",
        help="what decides the sign of each row: the network's own direct term (default), or --truth",
    )
    parser.add_argument(
        "--beta",
        type=positive,
        metavar="B",
        help="inverse temperature of the data: each row is also scaled by its direct term over 2 beta",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the couplings, scaled where --beta is given")
    parser.add_argument("--plot", metavar="FILE", help="scatter plot against --truth, .png, .pdf or .svg")
    parser.add_argument("--json", action="store_true", help="print couplings and comparison as JSON")


def run(arguments: argparse.Namespace) -> int:
    from vanfast.cli.sampling import load_trained

    if (arguments.plot or arguments.signs == "truth") and not arguments.truth:
        wanting = "--plot" if arguments.plot else "--signs truth"
        raise ValueError(f"{wanting} needs --truth, the couplings to compare with")
    for path in (arguments.output, arguments.plot):
        if path and not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(f"no directory {Path(path).parent} to write {path} in")
    if arguments.plot and Path(arguments.plot).suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"--plot must end in .png, .pdf or .svg, got {arguments.plot!r}")
    net = load_trained(arguments.run).net
    truth = hamiltonians.load(arguments.truth, num_sites=net.num_sites).to_dense() if arguments.truth else None
    learned = learned_couplings(net, truth if arguments.signs == "truth" else None)
    found = {"first layer": learned.J}
    if arguments.beta is not None:
        found["scaled"] = learned.scaled(arguments.beta)
    if arguments.output:
        hamiltonians.save(hamiltonians.Pairwise([*found.values()][-1]), arguments.output)
    if arguments.plot and truth is not None:
        from vanfast.plots import learned_couplings_figure

        learned_couplings_figure(arguments.plot, found, truth)
    if arguments.json:
        print_json(_values(arguments, learned, found, truth))
    else:
        _print(arguments, learned, found, truth)
    return 0


def _values(
    arguments: argparse.Namespace, learned: LearnedCouplings, found: dict[str, np.ndarray], truth: np.ndarray | None
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run": arguments.run,
        "num_sites": learned.num_sites,
        "signs": learned.signs.tolist(),
        "flipped": learned.flipped,
        "direct": learned.direct.tolist(),
        "J": learned.J.tolist(),
    }
    if arguments.beta is not None:
        values |= {"beta": arguments.beta, "scaled": found["scaled"].tolist()}
    if truth is not None:
        values["comparison"] = {name: compare_couplings(J, truth).to_json() for name, J in found.items()}
        if arguments.beta is not None:
            values["reconstruction_error"] = reconstruction_error(found["scaled"], truth)
    return values


def _print(
    arguments: argparse.Namespace, learned: LearnedCouplings, found: dict[str, np.ndarray], truth: np.ndarray | None
) -> None:
    n = learned.num_sites
    columns = ["couplings", "rms J", "largest |J|"]
    rows = []
    for name, J in found.items():
        rows.append([name, f"{np.sqrt((J**2).sum() / (n * (n - 1))):.4g}", f"{np.abs(J).max():.4g}"])
    if truth is not None:
        columns += ["slope", "intercept", "r of |J|", "r of J", "Δ_J"]
        for row, (name, J) in zip(rows, found.items(), strict=True):
            row += [f"{value:.4f}" for value in compare_couplings(J, truth).to_json().values()]
            row.append(f"{reconstruction_error(J, truth):.4g}" if name == "scaled" else "–")
    print_table(f"{n} spins, {learned.flipped} of {n - 1} rows flipped by {arguments.signs}", columns, rows)
