"""Figures: the course of a training, configurations, the histogram of energies, inferred couplings, overlaps.

Needs matplotlib (Agg, no display).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vanfast._files import replacing
from vanfast.errors import MissingDependency

if TYPE_CHECKING:
    import torch

    from vanfast.observables import OverlapDistribution
    from vanfast.training.metrics import StepRecord

NETWORK, EXACT, INK, FAINT = "#2a6f97", "#c1440e", "#333333", "#d9d9d9"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 150,
}


def need_matplotlib() -> None:
    """MissingDependency where no figure could be drawn: to be found out before the work for it."""
    try:
        import matplotlib.backends.backend_agg  # noqa: F401  imported to see whether it is there
    except ImportError:
        raise MissingDependency("matplotlib", "plots", "a figure") from None


@contextmanager
def figure_at(path: str | os.PathLike[str], width: float, height: float) -> Iterator[Any]:
    """A figure of width x height inches in this package's style, written in one step when the block ends well: png, pdf
    or svg by the ending, png where there is none."""
    need_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        # A canvas of its own for each figure: pyplot and the embedding program's backend stay untouched.
        FigureCanvasAgg(figure)
        yield figure
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:] or "png")


def training_curve(
    axes: Any, history: Sequence[StepRecord], exact: Callable[[float], float | None] | None = None
) -> None:
    """Free energy per site against the step, with a band of one standard deviation over the batch.

    `exact(beta)` gives the exact free energy per site (or None); while beta is annealed it is drawn at each step's
    own beta, so that both curves are comparable all along.
    """
    kept = [record for record in history if np.isfinite(record.free_energy_per_site)]
    if not kept:
        raise ValueError("history must hold at least one step with beta > 0, got none")
    step = np.array([record.step + 1 for record in kept])
    energy = np.array([record.free_energy_per_site for record in kept])
    spread = np.array([record.free_energy_std_per_site for record in kept])
    axes.fill_between(
        step,
        energy - spread,
        energy + spread,
        color=NETWORK,
        alpha=0.2,
        linewidth=0,
        label="± one standard deviation of a sample",
    )
    axes.plot(step, energy, color=NETWORK, linewidth=1.4, label="network")
    if exact is not None:
        chosen = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), 300)).astype(int))
        values = [exact(kept[k].beta) for k in chosen]
        if all(value is not None for value in values):
            axes.plot(step[chosen], values, color=EXACT, linewidth=1.2, linestyle=(0, (4, 2)), label="exact")
    # At infinite temperature F goes to -infinity: the axis follows the later part.
    tail = slice(len(kept) // 5, None)
    low, high = float((energy - spread)[tail].min()), float((energy + spread)[tail].max())
    axes.set_ylim(low - 0.05 * (high - low) - 1e-4, high + 0.25 * (high - low) + 1e-4)
    axes.set_xlim(0, step[-1])
    axes.set_xlabel("training step")
    axes.set_ylabel("free energy per site  F / N")
    axes.legend(loc="best")


def convergence(axes: Any, history: Sequence[StepRecord], exact: Callable[[float], float | None] | None = None) -> None:
    """Logarithmic: standard deviation of a sample's free energy, and the distance of the mean from the exact value.

    Both go to zero as the network becomes the Boltzmann distribution (VAN, supplement, eqs. 17 to 20).
    """
    kept = [record for record in history if np.isfinite(record.free_energy_per_site)]
    step = np.array([record.step + 1 for record in kept])
    axes.semilogy(
        step,
        [record.free_energy_std_per_site for record in kept],
        color=NETWORK,
        linewidth=1.2,
        label="standard deviation of a sample",
    )
    values = [] if exact is None else [exact(record.beta) for record in kept]
    if values and all(value is not None for value in values):
        excess = np.array([record.free_energy_per_site for record in kept]) - np.array(values, dtype=np.float64)
        width = max(1, min(20, len(excess) // 10))
        smooth = np.convolve(excess, np.full(width, 1.0 / width), mode="valid")
        axes.semilogy(
            step[width - 1 :],
            np.abs(smooth),
            color=EXACT,
            linewidth=1.2,
            label=f"excess of F over the exact value (mean of {width} steps)",
        )
    axes.set_xlim(0, step[-1])
    axes.set_xlabel("training step")
    axes.set_ylabel("per site")
    axes.legend(loc="best")


def configurations(axes: Sequence[Any], spins: torch.Tensor | np.ndarray, shape: tuple[int, int]) -> None:
    """One configuration on each of `axes`, dark where the spin is +1; spins are +-1 [at least len(axes), N]."""
    for panel, configuration in zip(axes, np.asarray(spins), strict=False):
        panel.imshow(configuration.reshape(shape), cmap="Greys", vmin=-1.6, vmax=1.3, interpolation="nearest")
        panel.set_xticks([])
        panel.set_yticks([])
        panel.grid(False)
        for spine in panel.spines.values():
            spine.set_visible(True)
            spine.set_linewidth(0.6)


def energy_histogram(
    axes: Any,
    energy_per_site: torch.Tensor | np.ndarray,
    weights: np.ndarray | None = None,
    exact: float | None = None,
) -> None:
    """Histogram of the energy per site of samples; `weights` draws the reweighted one as a line, `exact` the mean."""
    values = np.asarray(energy_per_site, dtype=np.float64)
    levels = np.unique(np.round(values, 9))
    if len(levels) <= 80:  # the few values of a lattice with integer couplings: one bar each
        gap = float(np.min(np.diff(levels))) if len(levels) > 1 else 1.0
        edges = np.append(levels - gap / 2, levels[-1] + gap / 2)
        edges = np.arange(edges[0], edges[-1] + gap / 2, gap)
    else:
        edges = np.histogram_bin_edges(values, bins=60)
    share = np.full(len(values), 1.0 / len(values))
    axes.hist(values, bins=edges, weights=share, color=NETWORK, alpha=0.75, label="network")
    if weights is not None:
        counts, _ = np.histogram(values, bins=edges, weights=weights / weights.sum())
        axes.stairs(counts, edges, color=INK, linewidth=1.1, label="reweighted")
    if exact is not None:
        axes.axvline(exact, color=EXACT, linewidth=1.4, linestyle=(0, (4, 2)), label="exact mean")
    axes.set_xlabel("energy per site  E / N")
    axes.set_ylabel("share of samples")
    axes.legend(loc="best")


def summary_figure(
    path: str | os.PathLike[str],
    history: Sequence[StepRecord],
    spins: torch.Tensor | np.ndarray,
    energy_per_site: torch.Tensor | np.ndarray,
    shape: tuple[int, int],
    *,
    title: str = "",
    exact_free_energy: Callable[[float], float | None] | None = None,
    exact_energy: float | None = None,
    weights: np.ndarray | None = None,
) -> Path:
    """Writes one figure (png, pdf or svg by its ending): training, eight configurations, energy histogram."""
    with figure_at(path, 10.5, 7.2) as figure:
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 1))
        left, right = bottom.subfigures(1, 2, width_ratios=(1.1, 1))
        curve, distance = top.subplots(1, 2)
        curve.set_title(title or "Training")
        training_curve(curve, history, exact_free_energy)
        distance.set_title("Convergence")
        convergence(distance, history, exact_free_energy)
        left.suptitle("Configurations drawn", x=0.02, ha="left", fontsize=11, fontweight="bold")
        configurations(left.subplots(2, 4).flat, spins, shape)
        histogram = right.subplots()
        histogram.set_title("Energies drawn")
        energy_histogram(histogram, energy_per_site, weights, exact_energy)
    return Path(path)


def coupling_scatter(axes: Any, inferred: np.ndarray, truth: np.ndarray) -> None:
    """Inferred against true couplings [N, N], a point for each pair, with the line on which both are equal."""
    i, j = np.triu_indices(len(truth), 1)
    x, y = truth[i, j], inferred[i, j]
    reach = 1.08 * max(float(np.abs(x).max(initial=0)), 1e-12)
    axes.plot([-reach, reach], [-reach, reach], color=EXACT, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.scatter(x, y, s=9, color=NETWORK, alpha=0.7, linewidth=0)
    axes.set_xlabel("true J")
    axes.set_ylabel("inferred J")


def couplings_figure(path: str | os.PathLike[str], inferred: Mapping[str, np.ndarray], truth: np.ndarray) -> Path:
    """Writes one figure with a scatter plot for each method; the title tells Delta_J."""
    columns = min(4, len(inferred))
    rows = -(-len(inferred) // columns)
    with figure_at(path, 3.4 * columns, 3.3 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for axes in panels[len(inferred) :]:
            axes.set_axis_off()
        for axes, (method, J) in zip(panels, inferred.items(), strict=False):
            coupling_scatter(axes, J, truth)
            axes.set_title(f"{method}: Δ_J = {np.linalg.norm(J - truth) / len(truth):.3g}")
    return Path(path)


def learned_couplings_figure(path: str | os.PathLike[str], found: Mapping[str, np.ndarray], truth: np.ndarray) -> Path:
    """Writes one figure: for each of `found` [N, N] a row of |found| against |truth| with the least-squares line, and
    of both with their signs."""
    from vanfast.training.inverse import compare_couplings

    i, j = np.triu_indices(len(truth), 1)
    x = truth[i, j]
    with figure_at(path, 7.4, 3.4 * len(found)) as figure:
        panels = figure.subplots(len(found), 2, squeeze=False)
        for (absolute, signed), (name, J) in zip(panels, found.items(), strict=True):
            compared = compare_couplings(J, truth)
            y = J[i, j]
            ends = np.array([0.0, np.abs(x).max()])
            absolute.scatter(np.abs(x), np.abs(y), s=5, color=NETWORK, alpha=0.5, linewidth=0)
            absolute.plot(ends, compared.intercept + compared.slope * ends, color=EXACT, linewidth=1.2)
            absolute.set_title(f"{name}: r = {compared.pearson:.3f}")
            absolute.set_xlabel("true |J|")
            absolute.set_ylabel("learnt |J|")
            signed.scatter(x, y, s=5, color=NETWORK, alpha=0.5, linewidth=0)
            signed.set_title(f"with signs: r = {compared.signed_pearson:.3f}")
            signed.set_xlabel("true J")
            signed.set_ylabel("learnt J")
    return Path(path)


def overlap_landscape(axes: Any, overlap: np.ndarray, log_q: np.ndarray) -> Any:
    """ln q of samples over their overlaps with two patterns, [B, 2] (VAN, Fig. 3); returns what a colour bar needs."""
    order = np.argsort(log_q)  # the likely ones on top
    points = axes.scatter(*overlap[order].T, c=log_q[order], s=5, cmap="viridis", linewidth=0, rasterized=True)
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-1.05, 1.05)
    axes.set_aspect("equal")
    axes.set_xlabel("overlap with pattern 1")
    axes.set_ylabel("overlap with pattern 2")
    return points


def overlap_density(axes: Any, curves: Mapping[str, OverlapDistribution], bins: int = 50) -> None:
    """P(q) of pairs of samples, a curve for each name, with a band of one standard error."""
    if not curves:
        raise ValueError("curves must hold at least one distribution, got none")
    for number, (name, distribution) in enumerate(curves.items()):
        edges, density = distribution.density(bins)
        centres = (edges[1:] + edges[:-1]) / 2
        (line,) = axes.plot(centres, density.value, color=f"C{number}", linewidth=1.3, label=name)
        low, high = density.value - density.error, density.value + density.error
        axes.fill_between(centres, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
    axes.set_xlim(-1, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("overlap q of two configurations")
    axes.set_ylabel("P(q)")
    axes.legend(loc="best")


def overlaps_figure(
    path: str | os.PathLike[str],
    curves: Mapping[str, OverlapDistribution],
    landscapes: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    bins: int = 50,
) -> Path:
    """Writes one figure (png, pdf or svg by its ending): P(q), below it a landscape (overlaps, ln q) for each name."""
    landscapes = landscapes or {}
    columns = min(4, max(1, len(landscapes)))
    rows = -(-len(landscapes) // columns)
    with figure_at(path, max(6.0, 4.2 * columns), 3.8 + 3.8 * rows) as figure:
        grid = figure.add_gridspec(1 + rows, columns)
        top = figure.add_subplot(grid[0, :])
        top.set_title("Overlaps of pairs of samples")
        overlap_density(top, curves, bins)
        for place, (name, (overlap, log_q)) in enumerate(landscapes.items()):
            axes = figure.add_subplot(grid[1 + place // columns, place % columns])
            axes.set_title(name)
            figure.colorbar(overlap_landscape(axes, overlap, log_q), ax=axes, label="ln q", shrink=0.75)
    return Path(path)
