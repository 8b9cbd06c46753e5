"""Options that name a spin system, and the Hamiltonian they describe."""

from __future__ import annotations

import argparse
from typing import Any

from vanfast import hamiltonians
from vanfast.cli.parser import integer, real, sides
from vanfast.hamiltonians import Hamiltonian

# option -> the names it has among the arguments of hamiltonians.from_name
_MEANINGS: dict[str, tuple[str, ...]] = {
    "L": ("L",),
    "shape": ("shape",),
    "N": ("N",),
    "P": ("P",),
    "q": ("q",),
    "coupling": ("coupling", "J"),
    "boundary": ("boundary",),
    "field": ("field", "h"),
    "disorder": ("disorder",),
    "orthogonal": ("orthogonal",),
    "model_seed": ("seed",),
}
_OF_FILE = ("shape", "N", "couplings_format", "index_base", "maxcut")


def add_system_options(parser: argparse.ArgumentParser, title: str = "spin system") -> None:
    group = parser.add_argument_group(title)
    group.add_argument("--model", choices=hamiltonians.names(), metavar="NAME", help=", ".join(hamiltonians.names()))
    group.add_argument(
        "--couplings", metavar="FILE", help="edge list, rudy/Gset text, .npz or .npy, instead of a model"
    )
    group.add_argument("--L", type=integer(1), metavar="N", help="side of a lattice")
    group.add_argument("--shape", type=sides, metavar="LYxLX", help="sides of a lattice, such as 8x16")
    group.add_argument("--N", type=integer(1), metavar="N", help="number of spins where there is no lattice")
    group.add_argument("--P", type=integer(1), metavar="P", help="patterns of a Hopfield model (default 2)")
    group.add_argument("--q", type=integer(2, 127), metavar="Q", help="states of a site, of a Potts model or of data")
    group.add_argument("--orthogonal", action="store_true", default=None, help="orthogonal patterns")
    group.add_argument("--coupling", type=_numbers, metavar="J", help="one number, or one for each direction (1,0.5)")
    group.add_argument("--boundary", type=_boundary, metavar="B", help="periodic (default), open, or one for each side")
    group.add_argument("--field", type=real(), metavar="H", help="uniform field")
    group.add_argument("--disorder", choices=("pm", "gaussian"), help="couplings of a spin glass")
    group.add_argument(
        "--model-seed", type=integer(0, 2**32 - 1), metavar="S", help="seed of random couplings or patterns"
    )
    group.add_argument("--couplings-format", choices=("auto", "edges", "rudy", "npz", "npy"), help="of --couplings")
    group.add_argument("--index-base", type=int, choices=(0, 1), help="number of the first site in --couplings")
    group.add_argument(
        "--maxcut",
        action="store_true",
        default=None,
        help="take J = -weight from --couplings, so that low energies are large cuts",
    )


def names_a_system(arguments: argparse.Namespace, q: int | None = None) -> bool:
    """Whether any of the options above was given, but --q with the value `q`, which says nothing new."""
    options = (*_MEANINGS, *_OF_FILE, "model", "couplings")
    given = [option for option in options if getattr(arguments, option) is not None]
    return any(option != "q" or arguments.q != q for option in given)


def names_a_model(arguments: argparse.Namespace) -> bool:
    """Whether --model or --couplings was given."""
    return arguments.model is not None or arguments.couplings is not None


def lattice_of(arguments: argparse.Namespace) -> tuple[int, ...] | None:
    """The lattice that --L or --shape names where no system is named, or None; ValueError for other options than these
    and --q."""
    for option in (*_MEANINGS, *_OF_FILE):
        if getattr(arguments, option) is not None and option not in ("L", "shape", "q"):
            allowed = "--L, --shape and --q"
            raise ValueError(f"{_flag(option)} needs --model or --couplings; without them there are {allowed}")
    if arguments.L is not None and arguments.shape is not None:
        raise ValueError("give either --L or --shape")
    return (arguments.L, arguments.L) if arguments.L is not None else arguments.shape


def system_of(arguments: argparse.Namespace) -> Hamiltonian:
    """The Hamiltonian that the options describe; ValueError says which option does not fit and which ones do."""
    if (arguments.model is None) == (arguments.couplings is None):
        raise ValueError("give either --model NAME or --couplings FILE")
    return _of_file(arguments) if arguments.model is None else _of_name(arguments)


def _of_name(arguments: argparse.Namespace) -> Hamiltonian:
    allowed = hamiltonians.parameters(arguments.model)
    given: dict[str, Any] = {}
    for option in (*_MEANINGS, *_OF_FILE):
        value = getattr(arguments, option)
        if value is None:
            continue
        name = next((name for name in _MEANINGS.get(option, ()) if name in allowed), None)
        if name is None:
            fitting = [_flag(other) for other, names in _MEANINGS.items() if set(names) & set(allowed)]
            raise ValueError(f"--model {arguments.model} does not take {_flag(option)}; it takes {', '.join(fitting)}")
        given[name] = value
    if "L" in allowed and ("L" in given) == ("shape" in given):
        raise ValueError(f"--model {arguments.model} needs either --L or --shape")
    if "N" in allowed and "N" not in given:
        raise ValueError(f"--model {arguments.model} needs --N")
    if not isinstance(given.get("J", 0.0), float | int):
        raise ValueError(f"--coupling of {arguments.model} must be one number")
    return hamiltonians.from_name(arguments.model, **given)


def _of_file(arguments: argparse.Namespace) -> Hamiltonian:
    for option in _MEANINGS:
        if getattr(arguments, option) is not None and option not in _OF_FILE:
            fitting = ", ".join(_flag(other) for other in _OF_FILE)
            raise ValueError(f"--couplings does not take {_flag(option)}; it takes {fitting}")
    return hamiltonians.load(
        arguments.couplings,
        format=arguments.couplings_format or "auto",
        index_base=arguments.index_base,
        num_sites=arguments.N,
        sign=-1 if arguments.maxcut else 1,
        shape=arguments.shape,
    )


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def _numbers(text: str) -> float | list[float]:
    values = [real("a finite number, or one for each direction such as 1,0.5")(word) for word in text.split(",")]
    return values[0] if len(values) == 1 else values


def _boundary(text: str) -> str | list[str]:
    words = text.split(",")
    if not set(words) <= {"periodic", "open"}:
        allowed = "periodic, open, or one of them for each side (open,periodic)"
        raise argparse.ArgumentTypeError(f"must be {allowed}, got {text!r}")
    return words[0] if len(words) == 1 else words
