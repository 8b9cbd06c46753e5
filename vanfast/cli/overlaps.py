"""`vanfast overlaps`: P(q) of pairs of samples, and for Hopfield models overlaps with the patterns and their modes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vanfast.backends import PRECISIONS
from vanfast.cli.output import print_json, print_table, with_error
from vanfast.cli.parser import integer, positive, seed
from vanfast.cli.placing import add_placing_options
from vanfast.cli.sampling import sampler_of

if TYPE_CHECKING:
    from vanfast.observables import OverlapDistribution

_FIGURES = (".png", ".pdf", ".svg")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="+", metavar="RUN", help="directories that vanfast train wrote, of one system")
    parser.add_argument("--num", type=integer(40), default=20_000, metavar="N", help="samples of each run (20000)")
    parser.add_argument("--seed", type=seed, default=1, metavar="S", help="seed of the samples (default 1)")
    parser.add_argument("--first", type=seed, default=0, metavar="I", help="index of the first sample (default 0)")
    parser.add_argument("--beta", type=positive, metavar="B", help="of the Boltzmann weights (default: each run's own)")
    parser.add_argument("--bins", type=integer(1), default=50, metavar="K", help="of P(q) on [-1, 1] in figures (50)")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: that of the training")
    add_placing_options(parser)
    parser.add_argument("--threads", type=integer(1), metavar="N", help="default: all cores")
    parser.add_argument("-o", "--out", metavar="FILE", help="write P(q), overlaps, ln q and energies, .npz")
    parser.add_argument("--plot", metavar="FILE", help="figure, .png, .pdf or .svg")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(arguments: argparse.Namespace) -> int:
    from vanfast.observables import effective_sample_size, log_weights, overlap_distribution, overlaps
    from vanfast.training import load_run

    _check_paths(arguments)
    runs = [load_run(path) for path in arguments.run]
    ham = runs[0].hamiltonian
    for path, other in zip(arguments.run, runs, strict=True):
        if other.hamiltonian.num_sites != ham.num_sites:
            raise ValueError(f"{path} has {other.hamiltonian.num_sites} spins, {arguments.run[0]} {ham.num_sites}")
    patterns = getattr(ham, "patterns", None)
    rows: list[dict[str, Any]] = []
    plain: list[OverlapDistribution] = []
    weighted: list[OverlapDistribution] = []
    columns: dict[str, list[np.ndarray]] = {"log_q": [], "energy": []}
    if patterns is not None:
        columns["overlaps"] = []
    for path, trained in zip(arguments.run, runs, strict=True):
        beta = arguments.beta or trained.beta
        batch = sampler_of(trained, arguments).sample(arguments.num, seed=arguments.seed, first=arguments.first).cpu()
        mirror = trained.hamiltonian.is_z2_symmetric
        weight = log_weights(batch.log_q, batch.energy, beta)
        plain.append(overlap_distribution(batch.spins, ham.num_sites, mirror=mirror))
        weighted.append(overlap_distribution(batch.spins, ham.num_sites, weight, mirror))
        columns["log_q"].append(batch.log_q.numpy())
        columns["energy"].append(np.asarray(batch.energy))
        row: dict[str, Any] = {"run": path, "beta": beta, "count": arguments.num, "ess": effective_sample_size(weight)}
        for prefix, found in (("", plain[-1]), ("unbiased_", weighted[-1])):
            for name, f in (("abs_q", np.abs(found.q)), ("q_squared", found.q**2)):
                row[prefix + name], row[f"{prefix}{name}_error"] = found.mean(f)
        if patterns is not None:
            overlap = overlaps(batch.spins, patterns, ham.num_sites)
            columns["overlaps"].append(overlap)
            row["modes"] = mode_shares(overlap)
        rows.append(row)
    names = [f"{Path(path).name}, β = {row['beta']:g}" for path, row in zip(arguments.run, rows, strict=True)]
    if arguments.out:
        _write(arguments.out, rows, plain, weighted, columns)
    if arguments.plot:
        from vanfast.plots import overlaps_figure

        landscapes = {}
        if patterns is not None and len(patterns) > 1:
            pairs = zip(names, columns["overlaps"], columns["log_q"], strict=True)
            landscapes = {name: (overlap[:, :2], log_q) for name, overlap, log_q in pairs}
        curves = dict(zip(names, plain, strict=True))
        overlaps_figure(arguments.plot, curves, landscapes, arguments.bins)
    if arguments.json:
        print_json({"results": rows})
        return 0
    _table(ham.describe(), rows, patterns is not None)
    return 0


def mode_shares(overlap: np.ndarray) -> list[float]:
    """Share of samples that lie nearest to each pattern and to its mirror image, +1, -1, +2, -2 ..; overlap: [B, P].

    Who lies between several counts for each of them in part."""
    sides = np.stack([overlap, -overlap], axis=2).reshape(len(overlap), -1)
    nearest = sides >= sides.max(1, keepdims=True) - 1e-9
    return [float(share) for share in (nearest / nearest.sum(1, keepdims=True)).mean(0)]


def _check_paths(arguments: argparse.Namespace) -> None:
    for path in (arguments.out, arguments.plot):
        if path and not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(f"no directory {Path(path).parent} to write {path} in")
    if arguments.out and Path(arguments.out).suffix != ".npz":
        raise ValueError(f"-o must end in .npz, got {arguments.out!r}")
    if arguments.plot and Path(arguments.plot).suffix not in _FIGURES:
        raise ValueError(f"--plot must end in .png, .pdf or .svg, got {arguments.plot!r}")


def _write(
    path: str,
    rows: list[dict[str, Any]],
    plain: list[OverlapDistribution],
    weighted: list[OverlapDistribution],
    columns: dict[str, list[np.ndarray]],
) -> None:
    """One .npz, a row for each run: beta [R], q [N + 1], probability and its error [R, N + 1], the same reweighted to
    the Boltzmann distribution as unbiased_.., log_q and energy [R, B], overlaps with patterns [R, B, P]."""
    from vanfast._files import replacing

    arrays = {"beta": np.array([row["beta"] for row in rows]), "q": plain[0].q}
    for prefix, found in (("", plain), ("unbiased_", weighted)):
        arrays[f"{prefix}probability"] = np.stack([one.probability for one in found])
        arrays[f"{prefix}error"] = np.stack([one.error for one in found])
    arrays |= {name: np.stack(values) for name, values in columns.items()}
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _table(title: str, rows: list[dict[str, Any]], has_patterns: bool) -> None:
    headings = ["run", "β", "⟨|q|⟩", "⟨q²⟩", "⟨|q|⟩ reweighted", "⟨q²⟩ reweighted", "effective samples"]
    table = [
        [
            row["run"],
            f"{row['beta']:g}",
            *(
                with_error(row[key], row[f"{key}_error"])
                for key in ("abs_q", "q_squared", "unbiased_abs_q", "unbiased_q_squared")
            ),
            f"{row['ess']:,.0f}",
            *([" ".join(f"{100 * share:.1f}" for share in row["modes"])] if has_patterns else []),
        ]
        for row in rows
    ]
    headings += ["% nearest to +1 -1 +2 -2 .."] if has_patterns else []
    print_table(title, headings, table)
