"""Options that name a network, and the network they describe."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vanfast import networks
from vanfast.cli.parser import integer, seed, sides
from vanfast.hamiltonians import CurieWeiss, Hamiltonian, IsingSquare, IsingTriangular, Potts
from vanfast.networks import Network
from vanfast.networks.sherrington_kirkpatrick import STARTS
from vanfast.networks.symmetry import SYMMETRIES

# network -> its options
_TAKES: dict[str, tuple[str, ...]] = {
    "pixelcnn": ("depth", "width", "half_kernel", "residual", "no_bias", "z2", "prior"),
    "dense": ("depth", "width", "residual", "no_bias", "z2", "prior"),
    "made": ("hidden", "no_bias", "z2", "prior"),
    "categorical-made": ("hidden", "no_bias", "symmetry"),
    "factorised": ("z2",),
    "mixture": ("components", "z2"),
    "sk": ("k", "start", "sparse", "learn_couplings", "z2"),
    "curie-weiss-inf": (),
    "one-parameter": (),
}
_OPTIONS = (
    *("depth", "width", "half_kernel", "hidden", "components", "residual", "no_bias", "z2", "prior"),
    *("k", "start", "sparse", "learn_couplings", "symmetry"),
)


def add_network_options(
    parser: argparse.ArgumentParser, default: str = "pixelcnn on a uniform two-dimensional lattice, else dense"
) -> None:
    """default: what --net is when it is not given, for the help."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--net",
        choices=tuple(_TAKES),
        metavar="NAME",
        help=f"{', '.join(_TAKES)} (default: {default})",
    )
    group.add_argument("--depth", type=integer(1), metavar="D", help="masked layers (pixelcnn 3, dense 1)")
    group.add_argument("--width", type=integer(1), metavar="W", help="channels (pixelcnn 32, dense 1)")
    group.add_argument(
        "--half-kernel",
        type=integer(1),
        metavar="K",
        help="reach of a kernel (default: the least for depth x K + 1 >= L)",
    )
    group.add_argument(
        "--hidden", type=sides, metavar="W,W", help="hidden widths of made and categorical-made (default: N)"
    )
    group.add_argument("--components", type=integer(1), metavar="K", help="components of mixture (default 8)")
    group.add_argument("--residual", action="store_true", default=None, help="residual blocks")
    group.add_argument("--no-bias", action="store_true", default=None, help="no biases")
    group.add_argument("--z2", action="store_true", default=None, help="symmetrise under the flip of all spins")
    group.add_argument(
        "--symmetry",
        choices=SYMMETRIES,
        help="of categorical-made: average over shifts, permutations (q <= 5) or the reflection of the states",
    )
    group.add_argument(
        "--prior",
        choices=("star",),
        help="of pixelcnn, dense, made: add to the logits what the couplings alone say of each spin",
    )
    group.add_argument("--k", type=integer(0), metavar="K", help="nestings of sk: 0 RS, 1 1RSB (default), 2 2RSB ...")
    group.add_argument(
        "--start", choices=STARTS, help="of sk: from the couplings (default), or near zero as in the paper"
    )
    group.add_argument("--sparse", action="store_true", default=None, help="sk: only the frontier of a sparse graph")
    group.add_argument("--learn-couplings", action="store_true", default=None, help="sk: train the first layer too")
    group.add_argument("--net-seed", type=seed, metavar="S", help="seed of the initial parameters (default: --seed)")


def names_a_network(arguments: argparse.Namespace) -> bool:
    """Whether any of the options above was given."""
    return any(getattr(arguments, option) is not None for option in (*_OPTIONS, "net", "net_seed"))


def network_of(arguments: argparse.Namespace, ham: Hamiltonian, default_seed: int, beta: float) -> Network:
    """A fresh network for `ham`, one that starts from physics at `beta`; ValueError says which option does not fit and
    which ones do."""
    of_states = "categorical-made" if ham.q is not None else None
    name = arguments.net or of_states or ("pixelcnn" if _is_uniform(ham) else "dense")
    if of_states and name != of_states:
        raise ValueError(f"--net {name} is for spins +-1; sites of {ham.q} states take --net {of_states}")
    for option in _OPTIONS:
        if getattr(arguments, option) is not None and option not in _TAKES[name]:
            fitting = ", ".join("--" + other.replace("_", "-") for other in _TAKES[name])
            raise ValueError(
                f"--net {name} does not take --{option.replace('_', '-')}; it takes {fitting or 'no options'}"
            )
    if arguments.z2 and not ham.is_z2_symmetric:
        raise ValueError("--z2 does not fit a system with a field, whose energy changes when all spins flip")
    common: dict[str, Any] = {
        "z2": bool(arguments.z2),
        "seed": default_seed if arguments.net_seed is None else arguments.net_seed,
    }
    if arguments.prior is not None:
        common |= {"prior": arguments.prior, "ham": ham, "beta": beta}
    if name == "sk":
        return _sk(arguments, ham, beta, common)
    return _MAKERS[name](arguments, ham, common)


def _is_uniform(ham: Hamiltonian) -> bool:
    """Whether all sites of a two-dimensional lattice are alike: a PixelCNN has the same kernels everywhere."""
    if not isinstance(ham, IsingSquare | IsingTriangular) or (ham.fields != ham.fields[0]).any():
        return False
    return np.ndim(ham.coupling) < 2


def _pixelcnn(arguments: argparse.Namespace, ham: Hamiltonian, common: dict[str, Any]) -> Network:
    if len(ham.shape) != 2:
        raise ValueError(f"--net pixelcnn needs a two-dimensional lattice, this system has shape {ham.shape}")
    depth = arguments.depth or 3
    return networks.PixelCNN(
        shape=(ham.shape[0], ham.shape[1]),
        depth=depth,
        width=arguments.width or 32,
        half_kernel=arguments.half_kernel or max(1, math.ceil((max(ham.shape) - 1) / depth)),
        residual=bool(arguments.residual),
        bias=not arguments.no_bias,
        **common,
    )


def _dense(arguments: argparse.Namespace, ham: Hamiltonian, common: dict[str, Any]) -> Network:
    return networks.Dense(
        ham.num_sites,
        depth=arguments.depth or 1,
        width=arguments.width or 1,
        residual=bool(arguments.residual),
        bias=not arguments.no_bias,
        **common,
    )


def _made(arguments: argparse.Namespace, ham: Hamiltonian, common: dict[str, Any]) -> Network:
    return networks.MADE(
        ham.num_sites, hidden=arguments.hidden or (ham.num_sites,), bias=not arguments.no_bias, **common
    )


def _categorical_made(arguments: argparse.Namespace, ham: Hamiltonian, common: dict[str, Any]) -> Network:
    if ham.q is None:
        raise ValueError("--net categorical-made is for sites of q states: give --q, or --model potts")
    if arguments.symmetry is not None and isinstance(ham, Potts) and not ham.is_symmetric:
        raise ValueError("--symmetry does not fit a system with a field, whose states are not alike")
    return networks.CategoricalMADE(
        ham.num_sites,
        ham.q,
        hidden=arguments.hidden or (ham.num_sites,),
        bias=not arguments.no_bias,
        symmetry=arguments.symmetry,
        seed=common["seed"],
    )


def _factorised(arguments: argparse.Namespace, ham: Hamiltonian, common: dict[str, Any]) -> Network:
    return networks.Factorised(ham.num_sites, **common)


def _mixture(arguments: argparse.Namespace, ham: Hamiltonian, common: dict[str, Any]) -> Network:
    return networks.BernoulliMixture(ham.num_sites, arguments.components or 8, **common)


def _sk(arguments: argparse.Namespace, ham: Hamiltonian, beta: float, common: dict[str, Any]) -> Network:
    return networks.SK(
        ham,
        beta,
        k=1 if arguments.k is None else arguments.k,
        start=arguments.start or "physics",
        sparse=bool(arguments.sparse),
        learn_couplings=bool(arguments.learn_couplings),
        **common,
    )


def _of_the_magnetization(name: str, make: Callable[..., Network], ham: Hamiltonian, common: dict[str, Any]) -> Network:
    if not isinstance(ham, CurieWeiss) or ham.h != 0:
        raise ValueError(f"--net {name} is for --model curie-weiss without a field, this system is {ham.describe()}")
    return make(ham.num_sites, seed=common["seed"])


def _curie_weiss_inf(arguments: argparse.Namespace, ham: Hamiltonian, common: dict[str, Any]) -> Network:
    return _of_the_magnetization("curie-weiss-inf", networks.CurieWeissInf, ham, common)


def _one_parameter(arguments: argparse.Namespace, ham: Hamiltonian, common: dict[str, Any]) -> Network:
    return _of_the_magnetization("one-parameter", networks.OneParameter, ham, common)


_MAKERS: dict[str, Callable[[argparse.Namespace, Hamiltonian, dict[str, Any]], Network]] = {
    "pixelcnn": _pixelcnn,
    "dense": _dense,
    "made": _made,
    "categorical-made": _categorical_made,
    "factorised": _factorised,
    "mixture": _mixture,
    "curie-weiss-inf": _curie_weiss_inf,
    "one-parameter": _one_parameter,
}
