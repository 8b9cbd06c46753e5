"""`vanfast evaluate`: observables of a trained network with standard errors, beside exact values where known."""

from __future__ import annotations

import argparse
import math
from typing import Any

from vanfast.cli.output import print_json, print_table, with_error
from vanfast.cli.parser import positive
from vanfast.cli.sampling import Pieces, add_sampling_options, sampler_of

_EXTENSIVE = ("free_energy", "energy", "entropy", "heat_capacity")
_NAMES = {
    "free_energy": "free energy F/N",
    "energy": "energy E/N",
    "entropy": "entropy S/N",
    "heat_capacity": "heat capacity C/N",
}


def configure(parser: argparse.ArgumentParser) -> None:
    add_sampling_options(parser, default_num=100_000, writers="vanfast train")
    parser.add_argument("--beta", type=positive, metavar="B", help="default: the (last) one of the training")
    parser.add_argument("--json", action="store_true", help="print all values as JSON")


def run(arguments: argparse.Namespace) -> int:
    from vanfast.observables import Accumulator
    from vanfast.training import load_run
    from vanfast.training.known import known_json, known_values

    trained = load_run(arguments.run)
    beta = trained.beta if arguments.beta is None else arguments.beta
    pieces = Pieces(sampler_of(trained, arguments), arguments)
    accumulator = Accumulator(trained.net.num_sites, beta, q=trained.net.q)
    for piece in pieces:
        accumulator.update(piece)
    observables = accumulator.result()
    values: dict[str, Any] = observables.to_json()
    values |= known_json(known_values(trained.hamiltonian, beta))
    values["samples_per_second"] = pieces.rate
    if arguments.json:
        print_json(values)
    else:
        title = f"{trained.hamiltonian.describe()}, β = {beta:g}, {arguments.num:,} samples"
        print_table(title, ["", "network", "reweighted (unbiased)", "exact"], observable_rows(values))
        print(footer(values))
    return 0


def observable_rows(values: dict[str, Any]) -> list[list[str]]:
    """Rows of name, average over the network, unbiased average, exact value (– where not known)."""

    def shown(key: str) -> str:
        value = values.get(key)
        if value is None:
            return "–"
        return with_error(value, values.get(f"{key}_error", 0.0))

    rows = []
    for name in _EXTENSIVE:
        key = f"{name}_per_site"
        rows.append([_NAMES[name], shown(key), shown(f"unbiased_{key}"), shown(f"exact_{key}")])
    for name, label in (("magnetization", "m"), ("abs_magnetization", "|m|"), ("magnetization_squared", "m²")):
        rows.append([label, shown(name), shown(f"unbiased_{name}"), "–"])
    rows.append(["ln Z", shown("log_z_lower"), shown("log_z"), shown("exact_log_z")])
    return rows


def footer(values: dict[str, Any]) -> str:
    """One line: effective sample size, variance of beta E + ln q, speed."""
    variance = values.get("loss_variance", math.nan)  # absent for a single sample
    return (
        f"effective samples {values['ess']:,.0f} ({100 * values['ess_fraction']:.1f} %), "
        f"variance of βE + ln q {variance:.4g}, {values['samples_per_second']:,.0f} samples/s"
    )
