"""`vanfast mcmc`: Markov chains of a spin system, their observables, and their configurations into a file."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vanfast import store
from vanfast.cli.neural import add_neural_options, neural_of, sites_of
from vanfast.cli.output import print_json, print_table, with_error
from vanfast.cli.parser import integer, levels, positive, seed
from vanfast.cli.signals import sigterm_like_ctrl_c
from vanfast.cli.systems import add_system_options, names_a_model, system_of
from vanfast.mcmc.kernels import ALGORITHMS, BACKENDS, KERNELS, choose

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.mcmc import ChainObservables, Chains

_PIECE_BYTES = 2**27  # spins in memory
_TILE = 512  # chains that multi-spin coding treats together


def configure(parser: argparse.ArgumentParser) -> None:
    add_system_options(parser)
    add_neural_options(parser)
    group = parser.add_argument_group("Markov chains")
    group.add_argument("--beta", type=positive, required=True, metavar="B", help="inverse temperature")
    group.add_argument("--algorithm", choices=ALGORITHMS, default="metropolis", help="default metropolis")
    group.add_argument("--chains", type=integer(1, 2**40), default=64, metavar="C", help="independent chains (64)")
    group.add_argument("--sweeps", type=integer(1, 2**48), default=1000, metavar="S", help="after burn-in (1000)")
    group.add_argument("--burn-in", type=integer(0, 2**48), default=1000, metavar="S", help="sweeps before (1000)")
    group.add_argument("--thin", type=integer(1, 2**48), default=1, metavar="S", help="sweeps from draw to draw (1)")
    group.add_argument("--betas", type=positive, nargs="+", metavar="B", help="of tempering (default: a ladder)")
    group.add_argument("--update", choices=("heat_bath", "metropolis"), help="of tempering (default heat_bath)")
    group.add_argument(
        "--clusters", type=integer(1, 2**31), metavar="K", help="of Wolff, in a sweep (default: as turn N)"
    )
    group.add_argument(
        "--levels", type=levels, metavar="S,S", help="numbers that the states stand for, of m: --levels=-1,-0.5,0,0.5,1"
    )
    group.add_argument("--kernel", choices=KERNELS, default="auto", help="default: the fastest that fits")
    group.add_argument("--backend", choices=BACKENDS, default="cpu", help="default cpu; cuda: an NVIDIA GPU")
    group.add_argument("--seed", type=seed, default=1, metavar="S", help="seed of the chains (default 1)")
    group.add_argument("--first", type=seed, default=0, metavar="I", help="index of the first chain (default 0)")
    group.add_argument("--threads", type=integer(1, 4096), metavar="T", help="default: all cores")
    parser.add_argument("-o", "--out", metavar="FILE", help="write all draws, .npz or .h5")
    parser.add_argument("--format", choices=store.FORMATS, help="default: by the ending of FILE")
    parser.add_argument("--json", action="store_true", help="print results as JSON")


class Pieces:
    """Runs the chains in pieces that fit into memory, with a progress bar; keeps energies and magnetisations.

    After the last piece `energy` and `magnetization` [chains, draws] are whole, and with a `true` system its energies
    `true_energy` of the same draws; `seconds` is the time of the runs.
    """

    def __init__(self, ham: Hamiltonian, arguments: argparse.Namespace, true: Hamiltonian | None = None) -> None:
        self.ham, self.arguments, self.true, self.seconds = ham, arguments, true, 0.0
        shape = arguments.chains, arguments.sweeps // arguments.thin
        self.energy, self.magnetization = np.empty(shape), np.empty(shape)
        self.true_energy = None if true is None else np.empty(shape)
        self.acceptance, self.swaps = 0.0, np.zeros(0)
        self.betas: tuple[float, ...] = ()

    def __iter__(self) -> Iterator[Chains]:
        from rich.console import Console
        from rich.progress import Progress

        from vanfast.mcmc import magnetizations, run

        a = self.arguments
        size = max(1, _PIECE_BYTES // max(1, self.ham.num_sites * self.energy.shape[1]))
        size = size // _TILE * _TILE or size
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task(a.algorithm, total=a.chains)
            for begin in range(0, a.chains, size):
                chains = min(size, a.chains - begin)

                def show(share: float, begin: int = begin, chains: int = chains) -> None:
                    bar.update(task, completed=begin + share * chains)

                clock = time.perf_counter()
                piece = run(
                    self.ham,
                    a.beta,
                    chains=chains,
                    sweeps=a.sweeps,
                    burn_in=a.burn_in,
                    thin=a.thin,
                    algorithm=a.algorithm,
                    seed=a.seed,
                    first=a.first + begin,
                    threads=a.threads,
                    kernel=a.kernel,
                    backend=a.backend,
                    betas=a.betas,
                    update=a.update,
                    clusters=a.clusters,
                    progress=show if sys.stderr.isatty() else None,
                )
                self.seconds += time.perf_counter() - clock
                rows = slice(begin, begin + chains)
                self.energy[rows] = piece.energy
                if self.true is not None and self.true_energy is not None:
                    spins = piece.spins.reshape(-1, self.ham.num_sites)
                    self.true_energy[rows] = self.true.energy(spins, threads=a.threads).reshape(piece.energy.shape)
                self.magnetization[rows] = magnetizations(piece.spins, piece.q, a.levels)
                self.acceptance += piece.acceptance * chains / a.chains
                self.swaps = piece.swap_acceptance * (chains / a.chains) + (self.swaps if begin else 0.0)
                self.betas = piece.betas
                yield piece
                bar.update(task, completed=begin + chains)


def run(arguments: argparse.Namespace) -> int:
    from vanfast.mcmc import measure_series

    if arguments.sweeps % arguments.thin:
        raise ValueError(f"--thin {arguments.thin} must divide --sweeps {arguments.sweeps}")
    if arguments.format and not arguments.out:
        raise ValueError("--format belongs to -o FILE")
    if arguments.out:
        store.format_of(arguments.out, arguments.format)
        if not Path(arguments.out).absolute().parent.is_dir():
            raise FileNotFoundError(f"no directory {Path(arguments.out).parent} to write {arguments.out} in")
    ham, true = _systems(arguments)
    if arguments.levels is not None and len(arguments.levels) != ham.q:
        given = len(arguments.levels)
        raise ValueError(f"--levels takes a number for each state, got {given} for sites that hold {sites_of(ham.q)}")
    kernel = choose(ham, arguments.algorithm, arguments.kernel, arguments.backend)
    pieces = Pieces(ham, arguments, true)
    writer = _writer(ham, kernel, arguments) if arguments.out else nullcontext()
    with sigterm_like_ctrl_c(), writer:
        for piece in pieces:
            if isinstance(writer, store.SampleWriter):
                writer.write(piece.spins.reshape(-1, ham.num_sites), None, piece.energy.reshape(-1))
    found = measure_series(pieces.energy, pieces.magnetization, arguments.beta, ham.num_sites)
    other = None
    if pieces.true_energy is not None:
        other = measure_series(pieces.true_energy, pieces.magnetization, arguments.beta, ham.num_sites)
    _report(ham, kernel, found, other, pieces, arguments)
    return 0


def _systems(arguments: argparse.Namespace) -> tuple[Hamiltonian, Hamiltonian | None]:
    """The system that the chains run on, and the one named beside a network, whose energies of the draws are told."""
    true = system_of(arguments) if arguments.neural is None or names_a_model(arguments) else None
    neural = neural_of(arguments, true)
    if neural is None:
        assert true is not None
        return true, None
    return neural, true


def _writer(ham: Hamiltonian, kernel: str, arguments: argparse.Namespace) -> store.SampleWriter:
    draws = arguments.sweeps // arguments.thin
    names = ("beta", "algorithm", "chains", "sweeps", "burn_in", "thin", "betas", "update", "clusters")
    return store.SampleWriter(
        arguments.out,
        format=arguments.format,
        count=arguments.chains * draws,
        num_sites=ham.num_sites,
        seed=arguments.seed,
        first=arguments.first,
        hamiltonian=ham,
        has_log_q=False,
        q=ham.q,
        extra={"kernel": kernel, "backend": arguments.backend, "draws": draws}
        | {name: getattr(arguments, name) for name in names},
    )


def _report(
    ham: Hamiltonian,
    kernel: str,
    found: ChainObservables,
    other: ChainObservables | None,
    pieces: Pieces,
    arguments: argparse.Namespace,
) -> None:
    size = Path(arguments.out).stat().st_size if arguments.out else None
    if arguments.json:
        values: dict[str, Any] = found.to_json() | {
            "algorithm": arguments.algorithm,
            "kernel": kernel,
            "backend": arguments.backend,
            "acceptance": pieces.acceptance,
            "seed": arguments.seed,
            "first": arguments.first,
            "seconds": pieces.seconds,
        }
        if other is not None:
            values["true_energy_per_site"], values["true_energy_per_site_error"] = other.energy.per_site(ham.num_sites)
        if arguments.algorithm == "tempering":
            values |= {"betas": list(pieces.betas), "swap_acceptance": pieces.swaps.tolist()}
        print_json(values | ({"file": arguments.out, "bytes": size} if arguments.out else {}))
        return
    n, m = ham.num_sites, "magnetisation" if ham.q is None or arguments.levels else "order parameter"
    rows = [
        ["energy per site", with_error(*found.energy.per_site(n))],
        ["heat capacity per site", with_error(*found.heat_capacity.per_site(n))],
        [f"|{m}|", with_error(*found.abs_magnetization)],
        [f"{m}²", with_error(*found.magnetization_squared)],
        ["autocorrelation time of E, draws", with_error(*found.tau_energy)],
        ["autocorrelation time of |m|, draws", with_error(*found.tau_magnetization)],
        ["effective draws", f"{found.effective:,.0f} of {found.chains * found.draws:,}"],
        ["first tenth of E against last half", "–" if math.isnan(found.geweke) else f"{found.geweke:+.1f} errors"],
        ["acceptance", f"{100 * pieces.acceptance:.1f} %"],
    ]
    if other is not None and pieces.true is not None:
        rows.insert(1, [f"energy per site of {pieces.true.describe()}", with_error(*other.energy.per_site(n))])
    if np.isfinite(pieces.swaps).any():
        rows.append(
            ["swaps of neighbours", f"{100 * np.nanmin(pieces.swaps):.0f} to {100 * np.nanmax(pieces.swaps):.0f} %"]
        )
        rows.append(["ladder", f"{len(pieces.betas)} betas from {pieces.betas[0]:.4g} to {pieces.betas[-1]:.4g}"])
    where = kernel if arguments.backend == "cpu" else f"{kernel}, {arguments.backend}"
    title = f"{ham.describe()}, β = {arguments.beta:g}: {arguments.algorithm} ({where}), {pieces.seconds:.1f} s"
    print_table(title, ["", ""], rows)
    if size is not None:
        print(f"{found.chains * found.draws:,} configurations in {arguments.out} ({size / 1e6:.1f} MB)")
    if abs(found.geweke) > 3:
        print(f"vanfast mcmc: warning: the energy still moves ({found.geweke:+.1f} errors)", file=sys.stderr)
