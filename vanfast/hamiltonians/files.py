"""Couplings from files and into files: text edge lists, rudy/Gset, numpy .npz and .npy, scipy sparse .npz.

Text formats, blank lines and everything after '#' or '%' left out:

edges   One bond `i j J` a line, and `i h` for the field of a site. Comments `# num_sites 16`, `# index_base 0` and
        `# shape 4 4` on lines of their own are obeyed where the arguments of load leave them open; save writes them.
rudy    As in the Gset collection: a first line `n m`, then m lines `i j w` (or `i j`, weight 1), sites from 1.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from vanfast._files import replacing
from vanfast.errors import FileFormatError, MissingDependency
from vanfast.hamiltonians._checks import as_count
from vanfast.hamiltonians._text import read_text
from vanfast.hamiltonians.base import Hamiltonian
from vanfast.hamiltonians.pairwise import Pairwise

FORMATS = ("auto", "edges", "rudy", "npz", "npy")


def load(
    path: str | PathLike[str],
    *,
    format: str = "auto",
    index_base: int | None = None,
    num_sites: int | None = None,
    sign: int = 1,
    shape: Any = None,
) -> Pairwise:
    """The system of couplings that a file holds.

    Args:
        path: the file. `.npz` holds `J` (symmetric, zero diagonal), or `edges` [M, 2] and `couplings` [M], each with
            an optional `h`; or is what scipy.sparse.save_npz wrote. `.npy` holds a dense J. Anything else is text.
        format: "auto", "edges", "rudy", "npz" or "npy". "auto" goes by the ending; text whose first line is two
            integers is rudy, else edges (so a file that starts with fields of integer value needs "edges").
        index_base: number of the first site in text and in `edges` of an .npz, 0 or 1. None: 1 for rudy, 0 for
            .npz, and for edges what the file's comment says, else 0 where site 0 occurs and 1 where it does not.
        num_sites: N, None for what the file says, else the highest site that occurs.
        sign: J = sign * weight. +1 reads weights as couplings (ferromagnetic when positive); -1 makes the ground
            states of rudy/Gset weights the maximum cuts.
        shape: lattice that the sites form in raster order, such as (16, 16); None for what the file says, else (N,).

    Raises:
        FileFormatError: the file does not hold what was expected; the message names file, line and expectation.
        ValueError, TypeError: wrong arguments.  OSError: the file cannot be read.
        MissingDependency: a scipy sparse file, and scipy is not installed.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if index_base not in (None, 0, 1):
        raise ValueError(f"index_base must be 0, 1 or None, not {index_base!r}")
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1, not {sign!r}")
    if num_sites is not None:
        num_sites = as_count(num_sites, "num_sites")
    name = fspath(path)
    if format == "auto" and Path(name).suffix in (".npz", ".npy"):
        format = Path(name).suffix[1:]
    if format in ("npz", "npy"):
        return _load_arrays(name, format, index_base or 0, num_sites, sign, shape)
    text = read_text(name, format, index_base, num_sites)
    fields = text.fields if text.fields.any() else None
    return Pairwise.from_edges(
        text.num_sites, text.edges, sign * text.couplings, fields, text.shape if shape is None else shape
    )


def save(ham: Hamiltonian, path: str | PathLike[str]) -> None:
    """Writes the couplings and fields of any Hamiltonian so that load(path) gives the same energies.

    `.npz` holds edges, couplings, h, num_sites and shape; any other ending gives text `i j J`, sites from 0, with
    numbers that read back to the same bits.

    Raises TypeError for a Hamiltonian that is not made of pairs, ValueError for `.npy`, which has no place for fields.
    """
    if not ham.is_pairwise:
        kind = type(ham).__name__
        raise TypeError(f"ham must be made of pairs to be written, got {kind}; ham.net.save(path) writes its network")
    name = fspath(path)
    check_ending(name)
    if Path(name).suffix == ".npz":
        with replacing(Path(name)) as temporary, open(temporary, "wb") as archive:
            np.savez(
                archive,
                edges=ham.edges,
                couplings=ham.couplings,
                h=ham.fields,
                num_sites=np.int64(ham.num_sites),
                shape=np.array(ham.shape),
            )
        return
    with replacing(Path(name)) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"# {ham.describe()}\n# num_sites {ham.num_sites}\n# index_base 0\n")
        file.write(f"# shape {' '.join(str(length) for length in ham.shape)}\n")
        file.writelines(
            f"{i} {j} {J!r}\n" for (i, j), J in zip(ham.edges.tolist(), ham.couplings.tolist(), strict=True)
        )
        file.writelines(f"{i} {h!r}\n" for i, h in enumerate(ham.fields.tolist()) if h)


def check_ending(path: str | PathLike[str]) -> None:
    """ValueError for a name that `load` would not read back what `save` wrote from."""
    if Path(path).suffix == ".npy":
        raise ValueError(f"couplings and fields are written as .npz or as text, not as .npy: {fspath(path)}")


def _load_arrays(name: str, format: str, index_base: int, num_sites: int | None, sign: int, shape: Any) -> Pairwise:
    try:
        with np.errstate(all="ignore"):
            content = np.load(name, allow_pickle=False)
        arrays = {"J": content} if isinstance(content, np.ndarray) else {key: content[key] for key in content.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(f"{name}: expected a numpy .{format} file of plain arrays: {error}") from None
    if {"format", "data", "shape"} <= arrays.keys():
        arrays = {"J": _load_sparse(name)}
    try:
        system = _of_arrays(arrays, index_base, num_sites, sign, shape)
    except (ValueError, TypeError) as error:
        raise FileFormatError(f"{name}: {error}") from None
    return system


def _of_arrays(arrays: Mapping[str, Any], index_base: int, num_sites: int | None, sign: int, shape: Any) -> Pairwise:
    h = arrays.get("h", arrays.get("fields"))
    if shape is None and "shape" in arrays:
        shape = tuple(arrays["shape"].tolist())
    if "J" in arrays:
        system = Pairwise(sign * arrays["J"], h, shape)
        if num_sites not in (None, system.num_sites):
            raise ValueError(f"J has {system.num_sites} sites, expected num_sites = {num_sites}")
        return system
    if not {"edges", "couplings"} <= arrays.keys():
        raise ValueError(f"expected arrays 'J', or 'edges' and 'couplings', found {sorted(arrays) or 'none'}")
    edges = arrays["edges"]
    if edges.dtype.kind not in "iu":
        raise TypeError(f"edges must hold integer site numbers, not {edges.dtype}")
    edges = edges.astype(np.int64) - index_base
    if num_sites is None:
        num_sites = int(arrays.get("num_sites", 0 if h is None else h.size) or edges.max(initial=0) + 1)
    return Pairwise.from_edges(num_sites, edges, sign * arrays["couplings"], h, shape)


def _load_sparse(name: str) -> Any:
    try:
        import scipy.sparse
    except ImportError:
        raise MissingDependency("scipy", "sparse", f"reading the sparse matrix in {name}") from None
    try:
        return scipy.sparse.load_npz(name)
    except ValueError as error:
        raise FileFormatError(f"{name}: expected a matrix written by scipy.sparse.save_npz: {error}") from None
