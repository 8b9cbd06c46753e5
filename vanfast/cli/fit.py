"""`vanfast fit`: maximum likelihood, from configurations into a run directory."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
from vanfast.cli.parser import integer, levels, positive
from vanfast.cli.placing import place
from vanfast.cli.systems import add_system_options, lattice_of, names_a_system, system_of

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.networks import Network
    from vanfast.training import FitRun, Samples

_SETTINGS: Settings = OPTIMIZER | {
    "epochs": ("epochs", 100),
    "batch": ("batch", 500),
    "validation": ("validation", 0.1),
    "patience": ("patience", 10),
    "clip_norm": ("clip_norm", None),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        help="samples: .npz, .h5, .npy, text lines of +-1 or 0/1, or `+-+ COUNT`; with --q states",
    )
    add_network_options(parser, "made, with --q categorical-made, or where a system is named as in vanfast train")
    add_system_options(parser)
    group = parser.add_argument_group("fit")
    group.add_argument("--beta", type=positive, metavar="B", help="inverse temperature that --net sk starts from")
    group.add_argument(
        "--levels",
        type=levels,
        metavar="S,S",
        help="numbers in DATA that are the states 0 .. Q-1: --levels=-4,-2,0,2,4",
    )
    group.add_argument("--epochs", type=integer(1), metavar="E", help="passes through the data (default 100)")
    group.add_argument("--batch", type=integer(1), metavar="B", help="most samples a step (default 500)")
    group.add_argument(
        "--validation",
        type=_share_or_file,
        metavar="F",
        help="share of the data to hold out, or a file of validation data (default 0.1)",
    )
    group.add_argument(
        "--patience",
        type=integer(0),
        metavar="E",
        help="epochs without a lower validation loss after which it stops, 0 for never (default 10)",
    )
    add_optimizer_options(group, seed_of="the order of the data", precision_of="the network's products", default_norm=0)
    add_run_options(parser, checkpoint_every=1000)


def run(arguments: argparse.Namespace) -> int:
    from vanfast.training import Moments, fit, load_data, load_fit

    stored = run_to_resume(arguments, load_fit)
    settings = settings_of(arguments, _SETTINGS, None if stored is None else stored.settings.to_json())
    if settings["validation"] is None:
        raise ValueError("the stored run had a file of validation data: give it again, --validation FILE")
    net: Network | None = None
    if stored is not None and not names_a_network(arguments) and not names_a_system(arguments, stored.net.q):
        net = stored.net
    q = arguments.q if net is None else net.q
    if net is None and arguments.model == "potts":
        q = system_of(arguments).q
    if q is None and arguments.levels is not None:
        raise ValueError("--levels needs --q, the number of states")
    data = load_data(arguments.data, q, arguments.levels)
    if isinstance(data, Moments):
        raise ValueError(f"{arguments.data} holds moments; a network is fitted to samples")
    if isinstance(settings["validation"], str):
        settings["validation"] = load_data(settings["validation"], q, arguments.levels)
    settings["patience"] = settings["patience"] or None
    if net is None:
        net = _network(arguments, data, settings["seed"])
    begin = time.perf_counter()
    result = fit(place(net, arguments), data, **settings, **run_settings(arguments))
    _report(result, time.perf_counter() - begin, arguments)
    return 0


def _network(arguments: argparse.Namespace, data: Samples, default_seed: int) -> Network:
    """A fresh network; where no system is named, for spins that the Hamiltonian does not couple."""
    named = arguments.model is not None or arguments.couplings is not None
    if named:
        ham = system_of(arguments)
        if ham.num_sites != data.num_sites:
            raise ValueError(f"{arguments.data} has {data.num_sites} spins and the system has {ham.num_sites} sites")
    else:
        ham = _free(data, lattice_of(arguments))
        arguments.net = arguments.net or ("made" if data.q is None else "categorical-made")
    if arguments.net == "sk" and not named:
        if arguments.start == "physics":
            raise ValueError("--start physics needs a system, --model or --couplings, and --beta")
        arguments.start = "small"
    elif arguments.net == "sk" and arguments.start != "small" and arguments.beta is None:
        raise ValueError("--net sk starts from the system at --beta, which is not given; --start small needs none")
    if arguments.beta is not None and (arguments.net != "sk" or arguments.start == "small"):
        raise ValueError("--beta belongs to the physics start of --net sk")
    return network_of(arguments, ham, default_seed, arguments.beta or 1.0)


def _free(data: Samples, lattice: tuple[int, ...] | None) -> Hamiltonian:
    from vanfast.hamiltonians import Pairwise, Potts

    shape = lattice or data.shape or (data.num_sites,)
    if int(np.prod(shape)) != data.num_sites:
        raise ValueError(f"a lattice {'x'.join(map(str, shape))} does not have the {data.num_sites} spins of a sample")
    free = Pairwise.from_edges(data.num_sites, np.empty((0, 2), dtype=np.int64), np.empty(0), shape=shape)
    return free if data.q is None else Potts.on(free, data.q)


def _share_or_file(text: str) -> float | str:
    try:
        value = float(text)
    except ValueError:
        if not Path(text).is_file():
            raise argparse.ArgumentTypeError(f"must be a number in [0, 1) or a file, got {text!r}") from None
        return text
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a number in [0, 1) or a file, got {text!r}")
    return value


def _report(run: FitRun, seconds: float, arguments: argparse.Namespace) -> None:
    last, sites = run.history[-1] if run.history else None, run.net.num_sites
    values = {
        "run": str(run.out),
        "network": type(run.net).__name__,
        "num_parameters": run.net.num_parameters(),
        "num_samples": run.settings.num_samples,
        "epochs": run.epoch,
        "steps": run.step,
        "stopped_early": run.stopped_early,
        "loss": None if last is None else last.loss,
        "validation_loss": run.best_loss,
        "best_epoch": run.best_epoch,
        "seconds": seconds,
    }
    if arguments.json:
        print_json(values)
    elif not arguments.quiet:
        early = " (stopped early)" if run.stopped_early else ""
        rows = [
            ["training data, last epoch", "–" if last is None else f"{last.loss:.6f}"],
            [f"validation data, best epoch ({run.best_epoch})", f"{run.best_loss:.6f}"],
        ]
        rows = [[name, value, f"{float(value) / sites:.6f}" if value != "–" else value] for name, value in rows]
        title = (
            f"{values['network']} of {values['num_parameters']:,} parameters, {run.epoch} epochs{early}, in {run.out}"
        )
        print_table(title, ["-<ln q>, nats", "", "per site"], rows if run.best is not None else rows[:1])
