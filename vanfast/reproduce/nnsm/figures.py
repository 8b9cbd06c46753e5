"""Figures 3 and 4 of arXiv:2007.01037 from the results of the experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vanfast.plots import EXACT, FAINT, INK, NETWORK, figure_at
from vanfast.reproduce.nnsm.curves import CURVES

# of each curve: colour, line, marker
_LINES = {
    "spins": (NETWORK, "-", "s"),
    "stride-1": ("#5a8f29", ":", "^"),
    "stride-2": ("#8c4a9e", "-.", "D"),
    "spins-direct": ("#e09f3e", "-", "o"),
    "stride-1-direct": ("#1b998b", ":", "v"),
    "stride-2-direct": ("#d81e5b", "-.", "P"),
}


def figure_3(path: Path, results: dict[str, Any], T0: float) -> None:
    """Magnetisation and energy against temperature from networks that learnt spins, beside the true Hamiltonian, and
    the distribution of energies at T0; the latter two are empty where no network learnt spins."""
    names = [name for name in results["curves"] if CURVES[name].stride is None]
    with figure_at(path, 13.0, 4.0) as figure:
        size, energy, distribution = figure.subplots(1, 3)
        for axes, key, label in ((size, "abs_magnetization", "|m|"), (energy, "energy_per_site", "E / N")):
            _truth(axes, results, key)
            for name in names:
                _curve(axes, results, name, key)
            axes.axvline(T0, color=FAINT, linewidth=2, zorder=0)
            axes.set_xlabel("temperature T")
            axes.set_ylabel(label)
        size.set_title(f"Learnt at T = {T0:g}: magnetisation")
        energy.set_title("True energy of what is drawn")
        size.legend(loc="best")
        distribution.set_title(f"True energy at T = {T0:g}")
        _distributions(distribution, results, names, "true")


def figure_4(path: Path, results: dict[str, Any], T0: float) -> None:
    """Magnetisation against temperature from spins and from sums of blocks, its distance from the true one of the same
    sums, and the distributions of the learnt energy at T0."""
    names = list(results["curves"])
    with figure_at(path, 13.0, 4.0) as figure:
        size, distance, distribution = figure.subplots(1, 3)
        _truth(size, results, "abs_magnetization")
        for name in names:
            _curve(size, results, name, "abs_magnetization")
            _distance(distance, results, name)
        size.set_title("Magnetisation, spins and coarse-grained spins")
        size.set_ylabel("|m|")
        distance.set_title("Distance from the true one")
        distance.set_ylabel("|m| learnt − |m| true")
        distance.axhline(0, color=INK, linewidth=0.8)
        for axes in (size, distance):
            axes.axvline(T0, color=FAINT, linewidth=2, zorder=0)
            axes.set_xlabel("temperature T")
        size.legend(loc="best", fontsize=8)
        distribution.set_title(f"Learnt energy at T = {T0:g}")
        _distributions(distribution, results, names, "learnt")


def _series(points: dict[str, Any], key: str) -> np.ndarray:
    """Temperatures, values and errors, [3, number], of the points that have them."""
    rows = [(float(T), point[key], point.get(f"{key}_error", 0.0)) for T, point in points.items() if key in point]
    return np.array(sorted(rows)).reshape(-1, 3).T


def _truth(axes: Any, results: dict[str, Any], key: str) -> None:
    T, value, error = _series(results["truth"], key)
    axes.errorbar(T, value, error, color=EXACT, linestyle="--", marker="o", markersize=4, label="true Hamiltonian")


def _curve(axes: Any, results: dict[str, Any], name: str, key: str) -> None:
    colour, line, marker = _LINES[name]
    T, value, error = _series(results["curves"][name]["points"], key)
    axes.errorbar(T, value, error, color=colour, linestyle=line, marker=marker, markersize=4, label=CURVES[name].label)


def _distance(axes: Any, results: dict[str, Any], name: str) -> None:
    colour, line, marker = _LINES[name]
    key = CURVES[name].true_key("abs_magnetization")
    points = results["curves"][name]["points"]
    T, value, error = _series(points, "abs_magnetization")
    true = _series({T: point for T, point in results["truth"].items() if T in points}, key)
    both = np.hypot(error, true[2])
    axes.errorbar(T, value - true[1], both, color=colour, linestyle=line, marker=marker, markersize=4)


def _distributions(axes: Any, results: dict[str, Any], names: list[str], kind: str) -> None:
    """Filled: what was measured; lines: what each network draws."""
    for name in names:
        colour, line, _ = _LINES[name]
        found = results["curves"][name]["energies"].get(kind)
        if found is None:
            continue
        # energies of different networks have different zeros: each about the mean of its measured configurations
        shift = found["measured_mean"] if kind == "learnt" else 0.0
        edges = np.array(found["edges"]) - shift
        width = np.diff(edges)
        if kind == "learnt" or name == names[0]:
            axes.stairs(found["measured"] / width, edges, fill=True, color=colour, alpha=0.2)
        label = f"{CURVES[name].label}: {found['kolmogorov']:.3f}"
        axes.stairs(found["drawn"] / width, edges, color=colour, linestyle=line, linewidth=1.3, label=label)
    axes.set_xlabel("E" if kind == "true" else "H, from the mean of the measured configurations")
    axes.set_ylabel("density; filled: measured, lines: drawn")
    if axes.get_legend_handles_labels()[0]:
        axes.set_ylim(top=(1.25 + 0.1 * len(names)) * axes.get_ylim()[1])  # room for the legend
        axes.legend(loc="upper left", fontsize=8, title="largest difference of cumulatives", title_fontsize=8)
