"""Two samples of energies beside each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def compare(measured: np.ndarray, drawn: np.ndarray, bins: int = 60) -> dict[str, Any]:
    """Two samples of energies: histograms on common edges, means, standard deviations, and the largest difference of
    their cumulative distributions (Kolmogorov)."""
    both = (measured, drawn)
    levels = np.unique(np.concatenate(both))
    if len(levels) <= 4 * bins:  # levels of a lattice with integer couplings: whole numbers of them in a bin
        step = float(np.diff(levels).min(initial=math.inf)) if len(levels) > 1 else 1.0
        width = step * math.ceil((levels[-1] - levels[0]) / step / bins + 1e-9)
        edges = np.arange(levels[0] - step / 2, levels[-1] + width, width)
    else:
        edges = np.linspace(levels[0], levels[-1], bins + 1)
    shares = [np.histogram(values, edges)[0] / len(values) for values in both]
    below = [np.searchsorted(np.sort(values), levels, side="right") / len(values) for values in both]
    return {
        "edges": edges.tolist(),
        **{name: share.tolist() for name, share in zip(("measured", "drawn"), shares, strict=True)},
        "measured_mean": float(measured.mean()),
        "drawn_mean": float(drawn.mean()),
        "measured_std": float(measured.std()),
        "drawn_std": float(drawn.std()),
        "kolmogorov": float(np.abs(below[0] - below[1]).max()),
    }
