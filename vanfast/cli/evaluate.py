"""`vanfast evaluate`: observables of a trained network with standard errors, beside exact values where known.

Of a fit they are those of the network alone, unless a system is named to weigh its samples with.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from vanfast.cli.output import print_json, print_table, with_error
from vanfast.cli.sampling import (
    Pieces,
    add_fit_system_options,
    add_sampling_options,
    check_systems,
    load_trained,
    sampler_of,
    system_beside,
)

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.training import FitRun

_EXTENSIVE = ("free_energy", "energy", "entropy", "heat_capacity")
_NAMES = {
    "free_energy": "free energy F/N",
    "energy": "energy E/N",
    "entropy": "entropy S/N",
    "heat_capacity": "heat capacity C/N",
}


_MAGNETIZATIONS = {"magnetization": "m", "abs_magnetization": "|m|", "magnetization_squared": "m²"}


def configure(parser: argparse.ArgumentParser) -> None:
    add_sampling_options(parser, default_num=100_000, writers="vanfast train or fit")
    add_fit_system_options(parser)
    parser.add_argument("--json", action="store_true", help="print all values as JSON")


def run(arguments: argparse.Namespace) -> int:
    from vanfast.training import Run

    trained = load_trained(arguments.run)
    check_systems([trained], arguments)
    ham, beta = system_beside(trained, arguments)
    pieces = Pieces(sampler_of(trained, arguments, ham), arguments)
    losses = {} if isinstance(trained, Run) else _losses(trained)
    if ham is None or beta is None:
        values = network_values(pieces)
    else:
        values = weighed_values(pieces, ham, beta)
    values |= losses | {"samples_per_second": pieces.rate}
    if arguments.json:
        print_json(values)
        return 0
    if ham is None:
        title = f"{type(trained.net).__name__} of {arguments.run}, {arguments.num:,} samples"
        print_table(title, ["", "network"], network_rows(values))
        print(f"{pieces.rate:,.0f} samples/s")
    else:
        title = f"{ham.describe()}, β = {beta:g}, {arguments.num:,} samples"
        print_table(title, ["", "network", "reweighted (unbiased)", "exact"], observable_rows(values))
        print(footer(values))
    return 0


def weighed_values(pieces: Pieces, ham: Hamiltonian, beta: float) -> dict[str, Any]:
    """Observables of the samples and of the Boltzmann distribution, and exact values where they are known at once."""
    from vanfast.observables import Accumulator
    from vanfast.training.known import known_json, known_values

    accumulator = Accumulator(ham.num_sites, beta, q=ham.q)
    for piece in pieces:
        accumulator.update(piece)
    return accumulator.result().to_json() | known_json(known_values(ham, beta))


def network_values(pieces: Pieces) -> dict[str, Any]:
    """Averages over the network's samples that need no energies, with errors: -<ln q> and magnetisations."""
    from vanfast._moments import mean_and_variance, power_matrix
    from vanfast.observables import magnetization, potts_spins

    N, q = pieces.sampler.net.num_sites, pieces.sampler.net.q
    names, shift = ("entropy_per_site", *_MAGNETIZATIONS), None
    sums = np.zeros((len(names), 3))
    for piece in pieces:
        m = magnetization(piece.spins, N) if q is None else potts_spins(piece.spins, N, q).mean(1)
        columns = np.stack([-piece.log_q.numpy() / N, m, np.abs(m), m**2])
        shift = columns.mean(1, keepdims=True) if shift is None else shift  # powers about it keep their digits
        sums += power_matrix((columns - shift).ravel(), 3).reshape(len(names), -1, 3).sum(1)
    assert shift is not None
    values: dict[str, Any] = {"num_sites": N, "count": pieces.arguments.num}
    for name, row, origin in zip(names, sums, shift[:, 0], strict=True):
        mean, _ = mean_and_variance(row, row, pieces.arguments.num)
        values[name], values[f"{name}_error"] = mean.value + float(origin), mean.error
    return values


def _losses(fit: FitRun) -> dict[str, float]:
    """-<ln q> a site over the data of a fit, as its directory tells; NaN where it does not."""
    N = fit.net.num_sites
    training = fit.history[-1].loss if fit.history else math.nan
    return {"loss_per_site": training / N, "validation_loss_per_site": fit.best_loss / N}


def network_rows(values: dict[str, Any]) -> list[list[str]]:
    """Rows of name and average over the network, the losses of the fit between."""
    rows = [["-<ln q>/N of its samples", with_error(values["entropy_per_site"], values["entropy_per_site_error"])]]
    for key, label in (("loss", "training data, last epoch"), ("validation_loss", "validation data")):
        if math.isfinite(values[f"{key}_per_site"]):
            rows.append([f"-<ln q>/N of the {label}", f"{values[f'{key}_per_site']:.6f}"])
    rows += [[label, with_error(values[name], values[f"{name}_error"])] for name, label in _MAGNETIZATIONS.items()]
    return rows


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
    for name, label in _MAGNETIZATIONS.items():
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
