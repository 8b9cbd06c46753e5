"""`vanfast inverse`: couplings and fields from samples or moments, by one or several methods."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vanfast import hamiltonians
from vanfast.cli.output import print_json, print_table
from vanfast.cli.parser import integer, positive, real, seed
from vanfast.hamiltonians.files import check_ending
from vanfast.training.inverse import METHODS, InverseResult, OuterStep, inverse_ising, load_data
from vanfast.training.inverse.variational import VanSettings

# option of van -> argument of inverse_ising
_VAN = ("tolerance", "max_steps", "learning_rate", "inner_steps", "batch", "moment_batch", "seed")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", metavar="DATA", help="samples (.npz, .h5, .npy, text lines of +-1 or 0/1, or `+-+ COUNT`), or moments"
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        action="extend",
        nargs="+",
        metavar="NAME",
        help="one or several of van (a network in the loop), mle (exact maximum likelihood, N <= 20), plm "
        "(pseudo-likelihood), and the formulas nmf, tap, ip (independent pairs), sm (Sessak-Monasson), bethe "
        "(default: van)",
    )
    parser.add_argument("--beta", type=positive, default=1.0, metavar="B", help="inverse temperature of the data (1)")
    parser.add_argument("--truth", metavar="FILE", help="true couplings, to compare with")
    parser.add_argument(
        "--regularizer",
        type=real("a number in [0, 1)", lambda x: 0 <= x < 1),
        default=0.0,
        metavar="R",
        help="share of independent fair spins mixed into the moments (0); not for plm",
    )
    parser.add_argument(
        "--l1", type=real("a number >= 0", lambda x: x >= 0), default=0.0, metavar="L", help="L1 penalty of plm (0)"
    )
    parser.add_argument("--threads", type=integer(1), metavar="T", help="CPU threads (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON: one object, or a list `results` of several")
    parser.add_argument("-o", "--output", metavar="FILE", help="write couplings and fields of the (one) method")
    parser.add_argument("--plot", metavar="FILE", help="scatter plot against --truth, .png, .pdf or .svg")
    van = parser.add_argument_group("method van")
    van.add_argument("--tolerance", type=positive, metavar="D", help="difference of moments beyond noise (1e-4)")
    van.add_argument("--max-steps", type=integer(1), metavar="S", help="most steps of the couplings (3000)")
    van.add_argument("--learning-rate", type=positive, metavar="R", help="Adam's, in units of beta J (0.01)")
    van.add_argument("--inner-steps", type=integer(1), metavar="S", help="network steps for each of them (2)")
    van.add_argument("--batch", type=integer(2), metavar="B", help="samples of a network step (1000)")
    van.add_argument("--moment-batch", type=integer(16), metavar="B", help="samples behind the moments (10000)")
    van.add_argument("--seed", type=seed, metavar="S", help="of the network and of all samples (0)")


def run(arguments: argparse.Namespace) -> int:
    methods = arguments.method or ["van"]
    van = {name: getattr(arguments, name) for name in _VAN if getattr(arguments, name) is not None}
    if van and "van" not in methods:
        raise ValueError(f"--{next(iter(van)).replace('_', '-')} belongs to --method van")
    if arguments.l1 and "plm" not in methods:
        raise ValueError("--l1 belongs to --method plm")
    if arguments.regularizer and methods == ["plm"]:
        raise ValueError("--regularizer fits no method but those that take moments; plm has --l1")
    if arguments.output and len(methods) > 1:
        raise ValueError(f"-o takes the couplings of one method, got {len(methods)}: {', '.join(methods)}")
    if arguments.plot and not arguments.truth:
        raise ValueError("--plot needs --truth, the couplings to compare with")
    for path in (arguments.output, arguments.plot):
        if path and not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(f"no directory {Path(path).parent} to write {path} in")
        if path and Path(path).is_dir():
            raise ValueError(f"{path} is a directory, expected the name of a file to write")
    if arguments.output:
        check_ending(arguments.output)
    if arguments.plot and Path(arguments.plot).suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"--plot must end in .png, .pdf or .svg, got {arguments.plot!r}")
    if arguments.plot:
        from vanfast.plots import couplings_figure, need_matplotlib

        need_matplotlib()
    if van:
        VanSettings(**van)  # complains before any other method has worked
    data = load_data(arguments.data)
    truth = hamiltonians.load(arguments.truth, num_sites=data.num_sites).to_dense() if arguments.truth else None
    results: list[InverseResult] = []
    rows: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []  # of JSON: those without a result, too
    for method in methods:
        begin = time.perf_counter()
        try:
            with _progress() as show:
                result = inverse_ising(
                    data,
                    method,
                    arguments.beta,
                    regularizer=0.0 if method == "plm" else arguments.regularizer,
                    l1=arguments.l1 if method == "plm" else 0.0,
                    threads=arguments.threads,
                    **(van | {"callback": show} if method == "van" else {}),
                )
        except ValueError as error:
            # what one method cannot do, others may: tap without a root, mle of 30 spins
            values.append({"method": method, "error": str(error)})
            if len(values) == len(methods) and not results:
                raise
            print(f"vanfast inverse: warning: {method} gave nothing: {error}", file=sys.stderr)
            continue
        seconds = time.perf_counter() - begin
        if not result.converged:
            print(f"vanfast inverse: warning: {method} stopped before it was converged", file=sys.stderr)
        results.append(result)
        rows.append(_row(result, truth, seconds))
        values.append(rows[-1] | result.to_json())
    if arguments.output:
        hamiltonians.save(results[0].to_hamiltonian(), arguments.output)
    if arguments.plot and truth is not None:
        couplings_figure(arguments.plot, {result.method: result.J for result in results}, truth)
    if arguments.json:
        print_json(values[0] if len(values) == 1 else {"results": values})
        return 0
    title = f"{data.num_sites} spins from {arguments.data}, β = {arguments.beta:g}"
    columns = ["method", "Δ_J", "rms J", "largest |J|", "largest |h|", "steps", "seconds"]
    table = [
        [
            row["method"] + ("" if row["converged"] else " (not converged)"),
            "–" if row["reconstruction_error"] is None else f"{row['reconstruction_error']:.4g}",
            *(f"{row[key]:.4g}" for key in ("rms_coupling", "largest_coupling", "largest_field")),
            str(row["steps"]),
            f"{row['seconds']:.2f}",
        ]
        for row in rows
    ]
    print_table(title, columns, table)
    return 0


def _row(result: InverseResult, truth: np.ndarray | None, seconds: float) -> dict[str, Any]:
    n = result.num_sites
    return {
        "method": result.method,
        "beta": result.beta,
        "num_sites": n,
        "reconstruction_error": None if truth is None else result.error(truth),
        "rms_coupling": float(np.sqrt((result.J**2).sum() / (n * (n - 1)))),
        "largest_coupling": float(np.abs(result.J).max()),
        "largest_field": float(np.abs(result.h).max()),
        "converged": result.converged,
        "steps": len(result.history),
        "seconds": seconds,
    }


@contextmanager
def _progress() -> Iterator[Callable[[OuterStep], None] | None]:
    """A callback that shows a line on a terminal, once in 50 steps; it is wiped out at the end."""
    if not sys.stderr.isatty():
        yield None
        return
    width = 0

    def show(step: OuterStep) -> None:
        nonlocal width
        if step.step % 50 == 0:
            line = (
                f"step {step.step}: moments differ by {step.difference:.2e} ± {step.noise:.1e}, "
                f"{100 * step.ess:.0f} % effective samples"
            )
            print("\r" + line.ljust(width), end="", file=sys.stderr, flush=True)
            width = len(line)

    try:
        yield show
    finally:
        if width:
            print("\r" + " " * width + "\r", end="", file=sys.stderr, flush=True)
