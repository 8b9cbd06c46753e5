"""`vanfast exact`: exact values of a system, or a mean-field approximation to them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from vanfast import exact
from vanfast.cli.neural import add_neural_options, neural_of
from vanfast.cli.output import print_json, print_table
from vanfast.cli.parser import positive
from vanfast.cli.systems import add_system_options, names_a_model, system_of
from vanfast.exact.enumeration import MAX_SITES
from vanfast.hamiltonians import Hamiltonian

_EXACT = ("kaufman", "curie-weiss", "hopfield", "enumeration", "transfer-matrix")
_APPROXIMATE: dict[str, Callable[[Hamiltonian, float], exact.MeanField]] = {
    "nmf": exact.naive_mean_field,
    "tap": exact.tap,
    "bethe": exact.bethe,
}
_COLUMNS = {
    "free_energy_per_site": "F/N",
    "energy_per_site": "E/N",
    "entropy_per_site": "S/N",
    "heat_capacity_per_site": "C/N",
    "log_z": "ln Z",
}


def configure(parser: argparse.ArgumentParser) -> None:
    add_system_options(parser)
    add_neural_options(parser)
    parser.add_argument(
        "--beta",
        type=positive,
        action="extend",
        nargs="+",
        required=True,
        metavar="B",
        help="inverse temperature, one or several",
    )
    methods = ("auto", *_EXACT, *_APPROXIMATE)
    parser.add_argument(
        "--method",
        choices=methods,
        action="extend",
        nargs="+",
        metavar="NAME",
        help=f"one or several of {', '.join(methods)} (default: auto, an exact one)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: one object, or a list `results` where there are several"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.neural is not None and names_a_model(arguments):
        raise ValueError("--neural is a system itself: give it without --model and --couplings")
    ham = neural_of(arguments) or system_of(arguments)
    results = [values_of(ham, beta, method) for beta in arguments.beta for method in arguments.method or ["auto"]]
    for result in results:
        if result.get("converged") is False:
            print(
                f"vanfast exact: warning: {result['method']} did not converge at beta = {result['beta']:g}, "
                f"residual {result['residual']:.1e}",
                file=sys.stderr,
            )
    if arguments.json:
        print_json(results[0] if len(results) == 1 else {"results": results})
        return 0
    rows = [
        [
            f"{result['beta']:g}",
            result["method"] + (" (not converged)" if result.get("converged") is False else ""),
            *(f"{round(result[key], 14) + 0.0:.10g}" if key in result else "–" for key in _COLUMNS),
        ]
        for result in results
    ]
    print_table(ham.describe(), ["β", "method", *_COLUMNS.values()], rows)
    return 0


def values_of(ham: Hamiltonian, beta: float, method: str) -> dict[str, Any]:
    """JSON values by a method; "auto" takes the quickest exact one. ValueError when the method does not fit."""
    if not ham.is_pairwise and method not in ("auto", "enumeration"):
        raise ValueError(f"--method {method} is for systems of pairs; {ham.describe()} takes enumeration")
    if method in _APPROXIMATE:
        return {"method": method, **_APPROXIMATE[method](ham, beta).to_json()}
    from vanfast.training.known import known_values, quick_method

    if method == "auto":
        listed = ham.num_sites <= MAX_SITES or not ham.is_pairwise or ham.q is not None  # no transfer matrix for these
        method = quick_method(ham) or ("enumeration" if listed else "transfer-matrix")
        try:
            values = known_values(ham, beta, method)
        except ValueError as error:
            hint = "; --method nmf, tap or bethe approximate" if ham.is_pairwise else ""
            raise ValueError(f"no exact method for this system ({error}){hint}") from None
    else:
        values = known_values(ham, beta, method)
    assert values is not None
    return {"method": method, **values.to_json()}
