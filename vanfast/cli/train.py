"""`vanfast train`: variational training into a run directory."""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

from vanfast.cli.nets import add_network_options, names_a_network, network_of
from vanfast.cli.optimizing import (
    OPTIMIZER,
    Settings,
    add_optimizer_options,
    add_run_options,
    run_settings,
    run_to_resume,
    settings_of,
)
from vanfast.cli.output import print_json, print_table
from vanfast.cli.parser import integer, positive, real
from vanfast.cli.placing import place
from vanfast.cli.systems import add_system_options, names_a_system, system_of

_SETTINGS: Settings = OPTIMIZER | {
    "beta": ("beta", None),
    "steps": ("steps", [1000]),
    "batch": ("batch", 1000),
    "anneal": ("anneal", None),
    "clip_norm": ("clip_norm", 1.0),
}


def configure(parser: argparse.ArgumentParser) -> None:
    add_system_options(parser)
    add_network_options(parser)
    group = parser.add_argument_group("training")
    group.add_argument(
        "--beta",
        type=positive,
        action="extend",
        nargs="+",
        metavar="B",
        help="inverse temperature; several are trained one after the other, each from the one before",
    )
    group.add_argument(
        "--steps",
        type=integer(1),
        action="extend",
        nargs="+",
        metavar="T",
        help="steps, one number or one for each beta (default 1000)",
    )
    group.add_argument("--batch", type=integer(2), metavar="B", help="samples a step (default 1000)")
    group.add_argument(
        "--anneal",
        type=real("a number in (0, 1)", lambda x: 0 < x < 1),
        metavar="R",
        help="raise beta step by step as beta (1 - R^t), for example 0.998",
    )
    add_optimizer_options(group, seed_of="the samples", precision_of="the sampling", default_norm=1)
    add_run_options(parser, checkpoint_every=100)


def run(arguments: argparse.Namespace) -> int:
    from vanfast.training import load_run, train

    stored = run_to_resume(arguments, load_run)
    settings = settings_of(arguments, _SETTINGS, None if stored is None else stored.settings.to_json())
    if settings["beta"] is None:
        if arguments.resume:
            raise ValueError(f"--resume: no run in {arguments.out}; to start one give --beta and a system")
        raise ValueError("--beta is required, one inverse temperature or several")
    ham = system_of(arguments) if stored is None or names_a_system(arguments) else stored.hamiltonian
    if stored is None or names_a_network(arguments):
        net = network_of(arguments, ham, settings["seed"], settings["beta"][0])
    else:
        net = stored.net
    if len(set(settings["steps"])) == 1:
        settings["steps"] = settings["steps"][0]
    begin = time.perf_counter()
    result = train(place(net, arguments), ham, **settings, **run_settings(arguments))
    _report(result, time.perf_counter() - begin, arguments)
    return 0


def _report(run: Any, seconds: float, arguments: argparse.Namespace) -> None:
    from vanfast.training.known import known_values

    sites = run.hamiltonian.num_sites
    rungs = []
    for index, beta in enumerate(run.settings.beta):
        recent = run.recent(index)
        known = known_values(run.hamiltonian, beta)
        rungs.append(
            {
                "beta": beta,
                "free_energy_per_site": run.free_energy_of(index) / sites,
                "exact_free_energy_per_site": None if known is None else known.free_energy / sites,
                "free_energy_std_per_site": recent[-1].free_energy_std_per_site if recent else math.nan,
            }
        )
    if arguments.json:
        print_json({"run": str(run.out), "steps": run.step, "seconds": seconds, **rungs[-1], "rungs": rungs})
    elif not arguments.quiet:
        rows = [
            [
                f"{rung['beta']:g}",
                f"{rung['free_energy_per_site']:.6f}",
                "–" if rung["exact_free_energy_per_site"] is None else f"{rung['exact_free_energy_per_site']:.6f}",
                f"{rung['free_energy_std_per_site']:.6f}",
            ]
            for rung in rungs
        ]
        title = f"{run.hamiltonian.describe()}: {run.step} steps in {run.out}"
        print_table(title, ["β", "F/N, mean of the last steps", "exact F/N", "std of a sample"], rows)
