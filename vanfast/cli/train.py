"""`vanfast train`: variational training into a run directory."""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

from vanfast.cli.nets import add_network_options, names_a_network, network_of
from vanfast.cli.optimizing import add_clipping_option, add_optimizer_options, add_run_options, add_seed_option
from vanfast.cli.output import print_json, print_table
from vanfast.cli.parser import integer, positive, real
from vanfast.cli.placing import place
from vanfast.cli.systems import add_system_options, names_a_system, system_of

# option -> (argument of vanfast.train, its default)
_SETTINGS: dict[str, tuple[str, Any]] = {
    "beta": ("beta", None),
    "steps": ("steps", [1000]),
    "batch": ("batch", 1000),
    "seed": ("seed", 0),
    "learning_rate": ("learning_rate", 1e-3),
    "adam": ("betas", [0.9, 0.99]),
    "anneal": ("anneal", None),
    "clip_norm": ("clip_norm", 1.0),
    "micro_batch": ("micro_batch", None),
    "schedule": ("schedule", "constant"),
    "precision": ("precision", "fp32"),
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
    add_seed_option(group, "the samples")
    group.add_argument(
        "--anneal",
        type=real("a number in (0, 1)", lambda x: 0 < x < 1),
        metavar="R",
        help="raise beta step by step as beta (1 - R^t), for example 0.998",
    )
    add_clipping_option(group, "1")
    add_optimizer_options(group, "the sampling")
    add_run_options(parser, checkpoint_every=100)


def run(arguments: argparse.Namespace) -> int:
    from vanfast.training import load_run, train
    from vanfast.training.metrics import StepRecord
    from vanfast.training.run import RunFolder

    settings = {name: default for name, default in _SETTINGS.values()}
    if arguments.resume and RunFolder(arguments.out, StepRecord).holds_a_run():
        stored = load_run(arguments.out)
        kept = stored.settings.to_json()
        settings = {name: kept["adam_betas" if name == "betas" else name] for name, _ in _SETTINGS.values()}
        ham = system_of(arguments) if names_a_system(arguments) else stored.hamiltonian
        first_seed = settings["seed"] if arguments.seed is None else arguments.seed
        first_beta = (arguments.beta or settings["beta"])[0]
        net = network_of(arguments, ham, first_seed, first_beta) if names_a_network(arguments) else stored.net
    else:
        if arguments.beta is None:
            if arguments.resume:
                raise ValueError(f"--resume: no run in {arguments.out}; to start one give --beta and a system")
            raise ValueError("--beta is required, one inverse temperature or several")
        ham = system_of(arguments)
        net = network_of(arguments, ham, arguments.seed or 0, arguments.beta[0])
    for option, (name, _) in _SETTINGS.items():
        if getattr(arguments, option) is not None:
            settings[name] = getattr(arguments, option)
    if len(set(settings["steps"])) == 1:
        settings["steps"] = settings["steps"][0]
    settings["clip_norm"] = settings["clip_norm"] or None
    begin = time.perf_counter()
    result = train(
        place(net, arguments),
        ham,
        **settings,
        backend=arguments.backend,
        threads=arguments.threads,
        out=arguments.out,
        checkpoint_every=arguments.checkpoint_every,
        resume=arguments.resume,
        progress=False if arguments.quiet else None,
    )
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
