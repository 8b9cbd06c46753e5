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


def load_data(path: str | os.PathLike[str], q: int | None = None, levels: Any = None) -> Samples | Moments:
    """Samples or moments that a file holds: of spins, or with q of sites with q states, written as the numbers
    `levels`, by default 0 .. q - 1 (see `as_samples`).

    .npz, .h5  a sample set written by `vanfast sample` or `vanfast mcmc`; or an archive of `spins` [M, N] with
               optional `counts` [M], or of `magnetization` [N] and `correlation` [N, N]
    .npy       an array [M, N]
    text       a line for each sample: numbers +-1 or 0/1 apart by blanks or commas, or one word of + and -, or of 0
               and 1, with an optional count behind it (`+-+ 94788`); # starts a comment. With q the numbers of the
               states apart by blanks or commas, or one word of their digits (`20110 94788`), q <= 10, without levels

    Raises FileNotFoundError, or FileFormatError that names file, line and expectation.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with open(path, "rb") as file:
        head = file.read(8)
    try:
        if head == b"\x89HDF\r\n\x1a\n":
            return _of_h5(path, q, levels)
        if head[:2] == b"PK":
            return _of_archive(path, q, levels)
        if head[:6] == b"\x93NUMPY":
            return as_samples(np.load(path, allow_pickle=False), q=q, levels=levels)
        return _of_text(path, q, levels)
    except FileFormatError:
        raise
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(f"{path}: {error}") from None


def _of_archive(path: Path, q: int | None, levels: Any) -> Samples | Moments:
    with np.load(path, allow_pickle=False) as archive:
        if "meta" not in archive:
            return _of_arrays(archive, q, levels)
    return _of_sample_set(path, q, levels)


def _of_sample_set(path: Path, q: int | None, levels: Any) -> Samples:
    found = load_samples(path)
    if found.q != q:
        held = [f"sites of {number} states" if number else "spins +-1" for number in (found.q, q)]
        raise ValueError(f"the sample set holds {held[0]}, expected {held[1]}")
    if levels is not None:
        raise ValueError("levels belong to files of numbers; a sample set holds states")
    return replace(as_samples(found.spins, q=q), shape=found.shape)


def _of_h5(path: Path, q: int | None, levels: Any) -> Samples | Moments:
    h5py = h5py_module()
    try:
        with h5py.File(path, "r") as file:
            if "meta" not in file.attrs:
                arrays = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
                return _of_arrays(arrays, q, levels)
    except OSError as error:
        raise ValueError(f"damaged: {error}") from None
    return _of_sample_set(path, q, levels)


def _of_arrays(arrays: Mapping[str, Any], q: int | None, levels: Any) -> Samples | Moments:
    if "magnetization" in arrays and "correlation" in arrays:
        return Moments(arrays["magnetization"], arrays["correlation"])
    if "spins" in arrays:
        counts = arrays["counts"] if "counts" in arrays else None
        return as_samples(arrays["spins"], counts, q=q, levels=levels)
    found = ", ".join(sorted(arrays)) or "nothing"
    raise ValueError(f"expected spins (and counts), or magnetization and correlation, found {found}")


def _of_text(path: Path, q: int | None, levels: Any) -> Samples:
    symbols = _SYMBOLS if q is None else {str(k): k for k in range(min(q, 10))}
    alphabets = [set("+-"), set("01")] if q is None else [set(symbols)] if levels is None else []
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
        is_word = len(words[0]) > 1 and any(set(words[0]) <= alphabet for alphabet in alphabets)
        try:
            if is_word and len(words) > 2:
                raise ValueError
            rows.append([symbols[symbol] for symbol in words[0]] if is_word else [float(word) for word in words])
            counts.append(float(words[1]) if is_word and len(words) == 2 else 1.0)
        except ValueError:
            expected = "spins +-1 or 0/1 apart by blanks, or a word such as +-+ and a count"
            if q is not None:
                expected = f"numbers of {q} states apart by blanks"
            raise FileFormatError(f"{path}, line {number}: expected {expected}, found {line.strip()[:60]!r}") from None
        if len(rows[-1]) != len(rows[0]):
            raise FileFormatError(
                f"{path}, line {number}: expected {len(rows[0])} spins as in the lines before, found {len(rows[-1])}"
            )
    if not rows:
        raise ValueError("the file holds no samples")
    return as_samples(np.array(rows), np.array(counts), q=q, levels=levels)
