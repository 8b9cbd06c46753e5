"""`vanfast overlaps`: P(q) of pairs of samples, and for Hopfield models overlaps with the patterns and their modes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vanfast.backends import PRECISIONS
from vanfast.cli.output import print_json, print_table, with_error
from vanfast.cli.parser import integer, seed
from vanfast.cli.placing import add_placing_options
from vanfast.cli.sampling import add_fit_system_options, check_systems, load_trained, sampler_of, system_beside

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian
    from vanfast.observables import OverlapDistribution
    from vanfast.training import FitRun, Run

_FIGURES = (".png", ".pdf", ".svg")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="+", metavar="RUN", help="directories that vanfast train or fit wrote")
    parser.add_argument("--num", type=integer(40), default=20_000, metavar="N", help="samples of each run (20000)")
    parser.add_argument("--seed", type=seed, default=1, metavar="S", help="seed of the samples (default 1)")
    parser.add_argument("--first", type=seed, default=0, metavar="I", help="index of the first sample (default 0)")
    add_fit_system_options(parser)
    parser.add_argument("--bins", type=integer(1), default=50, metavar="K", help="of P(q) on [-1, 1] in figures (50)")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: that of the training")
    add_placing_options(parser)
    parser.add_argument("--threads", type=integer(1), metavar="N", help="default: all cores")
    parser.add_argument("-o", "--out", metavar="FILE", help="write P(q), overlaps, ln q and energies, .npz")
    parser.add_argument("--plot", metavar="FILE", help="figure, .png, .pdf or .svg")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(arguments: argparse.Namespace) -> int:
    _check_paths(arguments)
    runs = [load_trained(path) for path in arguments.run]
    check_systems(runs, arguments)
    sites = runs[0].net.num_sites
    for path, trained in zip(arguments.run, runs, strict=True):
        if trained.net.q is not None:
            raise ValueError(f"{path} has sites of {trained.net.q} states; overlaps are those of spins +-1")
        if trained.net.num_sites != sites:
            raise ValueError(f"{path} has {trained.net.num_sites} spins, {arguments.run[0]} {sites}")
    systems = [system_beside(trained, arguments) for trained in runs]
    known = [ham for ham, _ in systems if ham is not None]
    patterns = getattr(known[0], "patterns", None) if known else None
    found = [
        Overlaps(path, trained, ham, beta, patterns, arguments)
        for path, trained, (ham, beta) in zip(arguments.run, runs, systems, strict=True)
    ]
    names = [Path(one.path).name + ("" if one.beta is None else f", β = {one.beta:g}") for one in found]
    if arguments.out:
        _write(arguments.out, found)
    if arguments.plot:
        from vanfast.plots import overlaps_figure

        landscapes = {}
        if patterns is not None and len(patterns) > 1:
            pairs = zip(names, found, strict=True)
            landscapes = {name: (one.overlaps[:, :2], one.log_q) for name, one in pairs if one.overlaps is not None}
        curves = {name: one.plain for name, one in zip(names, found, strict=True)}
        overlaps_figure(arguments.plot, curves, landscapes, arguments.bins)
    rows = [one.row() for one in found]
    if arguments.json:
        print_json({"results": rows})
        return 0
    title = known[0].describe() if known else f"{sites} spins"
    _table(title, rows, patterns is not None)
    return 0


class Overlaps:
    """Samples of a run: P(q) as drawn, reweighted where there is a system, and overlaps [B, P] with its patterns."""

    def __init__(
        self,
        path: str,
        trained: Run | FitRun,
        ham: Hamiltonian | None,
        beta: float | None,
        patterns: np.ndarray | None,
        arguments: argparse.Namespace,
    ) -> None:
        from vanfast.observables import effective_sample_size, log_weights, overlap_distribution, overlaps

        self.path, self.beta = path, beta
        sampler = sampler_of(trained, arguments, ham)
        batch = sampler.sample(arguments.num, seed=arguments.seed, first=arguments.first).cpu()
        mirror = bool(trained.net.z2) if ham is None else ham.is_z2_symmetric
        sites = trained.net.num_sites
        self.plain = overlap_distribution(batch.spins, sites, mirror=mirror)
        self.weighted: OverlapDistribution | None = None
        self.log_q, self.energy = batch.log_q.numpy(), np.full(arguments.num, np.nan)
        self.ess: float | None = None
        if beta is not None:
            assert batch.energy is not None
            self.energy = np.asarray(batch.energy)
            weight = log_weights(self.log_q, self.energy, beta)
            self.weighted = overlap_distribution(batch.spins, sites, weight, mirror)
            self.ess = effective_sample_size(weight)
        self.overlaps = None if patterns is None else overlaps(batch.spins, patterns, sites)

    def row(self) -> dict[str, Any]:
        """JSON values: moments of P(q) with errors, without those that are not known."""
        values = {"run": self.path, "beta": self.beta, "count": len(self.log_q), "ess": self.ess}
        row: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
        for prefix, found in (("", self.plain), ("unbiased_", self.weighted)):
            if found is not None:
                for name, f in (("abs_q", np.abs(found.q)), ("q_squared", found.q**2)):
                    row[prefix + name], row[f"{prefix}{name}_error"] = found.mean(f)
        if self.overlaps is not None:
            row["modes"] = mode_shares(self.overlaps)
        return row


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


def _write(path: str, runs: list[Overlaps]) -> None:
    """One .npz, a row for each run: beta [R], q [N + 1], probability and its error [R, N + 1], the same reweighted to
    the Boltzmann distribution as unbiased_.., log_q and energy [R, B], overlaps with patterns [R, B, P]; NaN where a
    fit has no system."""
    from vanfast._files import replacing

    q = runs[0].plain.q
    nothing = np.full(len(q), np.nan)
    arrays = {
        "beta": np.array([np.nan if one.beta is None else one.beta for one in runs]),
        "q": q,
        "probability": np.stack([one.plain.probability for one in runs]),
        "error": np.stack([one.plain.error for one in runs]),
        "unbiased_probability": np.stack([one.weighted.probability if one.weighted else nothing for one in runs]),
        "unbiased_error": np.stack([one.weighted.error if one.weighted else nothing for one in runs]),
        "log_q": np.stack([one.log_q for one in runs]),
        "energy": np.stack([one.energy for one in runs]),
    }
    overlaps = [one.overlaps for one in runs if one.overlaps is not None]
    if overlaps:
        arrays["overlaps"] = np.stack(overlaps)
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _table(title: str, rows: list[dict[str, Any]], has_patterns: bool) -> None:
    headings = ["run", "β", "⟨|q|⟩", "⟨q²⟩", "⟨|q|⟩ reweighted", "⟨q²⟩ reweighted", "effective samples"]
    table = [
        [
            row["run"],
            f"{row['beta']:g}" if "beta" in row else "–",
            *(
                with_error(row[key], row[f"{key}_error"]) if key in row else "–"
                for key in ("abs_q", "q_squared", "unbiased_abs_q", "unbiased_q_squared")
            ),
            f"{row['ess']:,.0f}" if "ess" in row else "–",
            *([" ".join(f"{100 * share:.1f}" for share in row["modes"])] if has_patterns else []),
        ]
        for row in rows
    ]
    headings += ["% nearest to +1 -1 +2 -2 .."] if has_patterns else []
    print_table(title, headings, table)
