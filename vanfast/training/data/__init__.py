"""What networks and couplings are learnt from: configurations with weights, or their moments; arrays or files."""

from __future__ import annotations

import os
from typing import Any

from vanfast.training.data.files import load_data
from vanfast.training.data.moments import Moments
from vanfast.training.data.samples import Samples, as_samples

__all__ = ["Moments", "Samples", "as_data", "as_samples", "load_data"]


def as_data(
    data: Any, counts: Any = None, num_sites: int | None = None, q: int | None = None, levels: Any = None
) -> Samples | Moments:
    """`data` as it is if it is Samples or Moments, else what the file or array of that name holds (see `load_data` and
    `as_samples`). Raises what these do, and ValueError for counts that no array goes with."""
    if isinstance(data, str | os.PathLike):
        data = load_data(data, q, levels)
    elif isinstance(data, Moments | Samples) and levels is not None:
        raise ValueError("levels belong to an array or a file; samples have states already")
    if not isinstance(data, Moments | Samples):
        return as_samples(data, counts, num_sites, q, levels)
    if counts is not None:
        raise ValueError("counts belong to samples given as an array, got them with a file or moments")
    return data
