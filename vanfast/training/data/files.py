"""Configurations and moments in files: sample sets of vanfast, numpy archives, text."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vanfast.errors import FileFormatError
from vanfast.store import h5py_module, load_samples
from vanfast.training.data.moments import Moments
from vanfast.training.data.samples import Samples, as_samples

_SYMBOLS = {"+": 1, "-": -1, "1": 1, "0": 0}


def load_data(path: str | os.PathLike[str]) -> Samples | Moments:
    """Samples or moments that a file holds.

    .npz, .h5  a sample set written by `vanfast sample` or `vanfast mcmc`; or an archive of `spins` [M, N] with
               optional `counts` [M], or of `magnetization` [N] and `correlation` [N, N]
    .npy       an array [M, N]
    text       a line for each sample: numbers +-1 or 0/1 apart by blanks or commas, or one word of + and -, or of 0
               and 1, with an optional count behind it (`+-+ 94788`); # starts a comment

    Raises FileNotFoundError, or FileFormatError that names file, line and expectation.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with open(path, "rb") as file:
        head = file.read(8)
    try:
        if head == b"\x89HDF\r\n\x1a\n":
            return _of_h5(path)
        if head[:2] == b"PK":
            return _of_archive(path)
        if head[:6] == b"\x93NUMPY":
            return as_samples(np.load(path, allow_pickle=False))
        return _of_text(path)
    except FileFormatError:
        raise
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(f"{path}: {error}") from None


def _of_archive(path: Path) -> Samples | Moments:
    with np.load(path, allow_pickle=False) as archive:
        if "meta" not in archive:
            return _of_arrays(archive)
    return _of_sample_set(path)


def _of_sample_set(path: Path) -> Samples:
    found = load_samples(path)
    return replace(as_samples(found.spins), shape=found.shape)


def _of_h5(path: Path) -> Samples | Moments:
    h5py = h5py_module()
    try:
        with h5py.File(path, "r") as file:
            if "meta" not in file.attrs:
                return _of_arrays({name: item for name, item in file.items() if isinstance(item, h5py.Dataset)})
    except OSError as error:
        raise ValueError(f"damaged: {error}") from None
    return _of_sample_set(path)


def _of_arrays(arrays: Mapping[str, Any]) -> Samples | Moments:
    if "magnetization" in arrays and "correlation" in arrays:
        return Moments(arrays["magnetization"], arrays["correlation"])
    if "spins" in arrays:
        return as_samples(arrays["spins"], arrays["counts"] if "counts" in arrays else None)
    found = ", ".join(sorted(arrays)) or "nothing"
    raise ValueError(f"expected spins (and counts), or magnetization and correlation, found {found}")


def _of_text(path: Path) -> Samples:
    rows: list[list[float]] = []
    counts: list[float] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError("expected a sample set (.npz, .h5, .npy) or text, found other binary data") from None
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if not words:
            continue
        is_word = len(words[0]) > 1 and (set(words[0]) <= {"+", "-"} or set(words[0]) <= {"0", "1"})
        try:
            if is_word and len(words) > 2:
                raise ValueError
            rows.append([_SYMBOLS[symbol] for symbol in words[0]] if is_word else [float(word) for word in words])
            counts.append(float(words[1]) if is_word and len(words) == 2 else 1.0)
        except ValueError:
            expected = "spins +-1 or 0/1 apart by blanks, or a word such as +-+ and a count"
            raise FileFormatError(f"{path}, line {number}: expected {expected}, found {line.strip()[:60]!r}") from None
        if len(rows[-1]) != len(rows[0]):
            raise FileFormatError(
                f"{path}, line {number}: expected {len(rows[0])} spins as in the lines before, found {len(rows[-1])}"
            )
    if not rows:
        raise ValueError("the file holds no samples")
    return as_samples(np.array(rows), np.array(counts))
