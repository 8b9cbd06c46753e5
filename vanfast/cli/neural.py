"""Options that make a fitted network the system, and its Hamiltonian."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vanfast.cli.parser import positive
from vanfast.cli.systems import lattice_of

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian


def add_neural_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a network as the system")
    group.add_argument(
        "--neural", metavar="RUN", help="directory of vanfast fit: the system is -T0 ln p of its network"
    )
    group.add_argument("--T0", type=positive, metavar="T", help="temperature of the configurations that it learnt")


def neural_of(arguments: argparse.Namespace, true: Hamiltonian | None = None) -> Hamiltonian | None:
    """-T0 ln p of the network in --neural, on the lattice of the `true` system or that of --L or --shape; None without
    --neural. ValueError says which option does not fit."""
    if arguments.neural is None:
        if arguments.T0 is not None:
            raise ValueError("--T0 belongs to --neural RUN")
        return None
    from vanfast.hamiltonians import Neural
    from vanfast.training import load_fit

    if arguments.T0 is None:
        raise ValueError("--neural needs --T0, the temperature of the configurations that its network learnt")
    net = load_fit(arguments.neural).net
    named = arguments.q if true is None else true.q
    if named != net.q and not (true is None and named is None):
        raise ValueError(f"sites hold {sites_of(named)} in the system named, {sites_of(net.q)} in the network")
    return Neural(net, arguments.T0, lattice_of(arguments) if true is None else true.shape)


def sites_of(q: int | None) -> str:
    """What sites hold, in words."""
    return "spins" if q is None else f"{q} states"
