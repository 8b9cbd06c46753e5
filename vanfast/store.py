"""Sample sets on disk: .npz (bit-packed, read with allow_pickle=False) and .h5, written in chunks, renamed when whole.

Both hold: spins, uint8 [count, ceil(N / 8)], bit k of a row (little endian) set where spin k is +1, or for sites of q
states, which meta then has under "q", the states, uint8 [count, N];
log_q and energy, float64 [count] (Markov chains have no log_q); meta, JSON with seed, first, network digest and the
Hamiltonian's configuration;
hamiltonian/<name>, the arrays that belong to that configuration.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vanfast._files import temporary_beside
from vanfast.errors import FileFormatError, MissingDependency

if TYPE_CHECKING:
    from vanfast.hamiltonians import Hamiltonian

FORMAT = "vanfast-samples"
VERSION = 1
FORMATS = ("npz", "h5")
_META_KEYS = ("format", "version", "count", "num_sites", "shape", "seed", "first", "network_digest", "hamiltonian")


def pack_spins(spins: torch.Tensor | np.ndarray) -> np.ndarray:
    """Bit-packed rows, uint8 [B, ceil(N / 8)], of spins +-1 [B, N]."""
    return np.packbits(np.asarray(spins) > 0, axis=1, bitorder="little")


def unpack_spins(packed: np.ndarray, num_sites: int) -> torch.Tensor:
    """Inverse of `pack_spins`: int8 [B, N]."""
    bits = np.unpackbits(packed, axis=1, count=num_sites, bitorder="little")
    return torch.from_numpy(bits.view(np.int8) * np.int8(2) - np.int8(1))


@dataclass(frozen=True)
class SampleSet:
    """Samples read back: spins stay packed (uint8 [count, ceil(N / 8)]) until asked for; states are not packed.

    log_q and energy are float64 tensors [count]; energy is None where the set was drawn without a Hamiltonian, log_q
    where it was drawn by Markov chains.
    meta holds what was written, the keys seed, first, network_digest, hamiltonian, shape among others.
    """

    packed: np.ndarray
    log_q: torch.Tensor | None
    energy: torch.Tensor | None
    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def num_sites(self) -> int:
        return int(self.meta["num_sites"])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.meta["shape"])

    @property
    def seed(self) -> int:
        return int(self.meta["seed"])

    @property
    def first(self) -> int:
        return int(self.meta["first"])

    @property
    def network_digest(self) -> str:
        return str(self.meta["network_digest"])

    @property
    def q(self) -> int | None:
        """Number of states of a site, None for spins."""
        return None if self.meta.get("q") is None else int(self.meta["q"])

    @property
    def spins(self) -> torch.Tensor:
        """All spins, or states, int8 [count, N]; for large sets `chunks` needs less memory."""
        return self._unpacked(self.packed)

    def chunks(self, size: int = 65536) -> Iterator[torch.Tensor]:
        """Spins, or states, int8 [at most size, N], one piece after the other."""
        for start in range(0, len(self), size):
            yield self._unpacked(self.packed[start : start + size])

    def _unpacked(self, rows: np.ndarray) -> torch.Tensor:
        return unpack_spins(rows, self.num_sites) if self.q is None else torch.from_numpy(rows.astype(np.int8))

    @property
    def hamiltonian(self) -> Hamiltonian | None:
        """The Hamiltonian that the energies belong to, or None."""
        from vanfast import hamiltonians

        config = self.meta["hamiltonian"]
        return None if config is None else hamiltonians.from_config(config, self.arrays)


class SampleWriter:
    """Context manager that writes `count` samples to `path` piece by piece; memory is that of one piece.

    The file appears under its name only when all samples are there; otherwise nothing is left behind.
    `format` is "npz" or "h5", taken from the name's ending when not given. Samples of Markov chains have no ln q:
    has_log_q is False for them. q: number of states of a site, None for spins.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        count: int,
        num_sites: int,
        seed: int,
        first: int = 0,
        network_digest: str = "",
        hamiltonian: Hamiltonian | None = None,
        shape: tuple[int, ...] | None = None,
        extra: dict[str, Any] | None = None,
        format: str | None = None,
        has_log_q: bool = True,
        q: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.format = format_of(self.path, format)
        self.count, self.num_sites, self.written = count, num_sites, 0
        if count < 0 or num_sites < 1:
            raise ValueError(f"count must be >= 0 and num_sites >= 1, got {count} and {num_sites}")
        self.meta = {
            **(extra or {}),
            "format": FORMAT,
            "version": VERSION,
            "count": count,
            "num_sites": num_sites,
            "shape": list(shape or (hamiltonian.shape if hamiltonian is not None else (num_sites,))),
            "seed": seed,
            "first": first,
            "network_digest": network_digest,
            "hamiltonian": None if hamiltonian is None else hamiltonian.config(),
        }
        arrays = {} if hamiltonian is None else hamiltonian.arrays()
        self.arrays = {f"hamiltonian/{name}": np.asarray(value) for name, value in arrays.items()}
        self.has_log_q, self.has_energy = has_log_q, hamiltonian is not None
        if not has_log_q:
            self.meta["has_log_q"] = False
        self.q = q
        if q is not None:
            self.meta["q"] = q

    def __enter__(self) -> SampleWriter:
        self._temporary = temporary_beside(self.path)
        sink = _NpzSink if self.format == "npz" else _H5Sink
        names = [name for name, has in (("log_q", self.has_log_q), ("energy", self.has_energy)) if has]
        self._sink = sink(self._temporary, self.count, _width(self.num_sites, self.q), names)
        return self

    def write(
        self,
        spins: torch.Tensor | np.ndarray,
        log_q: torch.Tensor | np.ndarray | None,
        energy: torch.Tensor | np.ndarray | None = None,
    ) -> None:
        """Appends a piece: spins +-1, or states, [b, N], log_q [b] and energy [b] where the set has a Hamiltonian.

        Sets without ln q take None for it.
        """
        size = len(spins)
        fits = log_q is None or len(log_q) == size
        if spins.shape != (size, self.num_sites) or not fits or self.written + size > self.count:
            raise ValueError(
                f"a piece must hold spins [b, {self.num_sites}], log_q [b] with b <= {self.count - self.written}, "
                f"got {tuple(spins.shape)} and {'None' if log_q is None else tuple(log_q.shape)}"
            )
        values = []
        for name, has, value in (("log_q", self.has_log_q, log_q), ("energy", self.has_energy, energy)):
            if has != (value is not None):
                raise ValueError(f"{name} must {'be given' if has else 'be None'} for this sample set")
            if value is not None:
                values.append(np.asarray(value, dtype=np.float64))
        rows = pack_spins(spins) if self.q is None else np.asarray(spins).astype(np.uint8)
        self._sink.append(self.written, rows, values)
        self.written += size

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        try:
            if kind is None:
                if self.written != self.count:
                    raise ValueError(f"{self.count} samples were announced, {self.written} were written")
                self._sink.finish(json.dumps(self.meta), self.arrays)
                os.replace(self._temporary, self.path)
        finally:
            with suppress(OSError, RuntimeError):  # closing fails where writing did, which is the error to tell
                self._sink.discard()
            self._temporary.unlink(missing_ok=True)


class _NpzSink:
    """Spins go straight into the archive; a zip takes one member at a time, so log_q and energy wait in files."""

    def __init__(self, path: Path, count: int, width: int, names: list[str]) -> None:
        self._count, self._names = count, names
        self._waiting = [path.with_name(f"{path.name}.{name}") for name in self._names]
        self._files = [open(waiting, "w+b") for waiting in self._waiting]
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._spins = self._zip.open("spins.npy", "w", force_zip64=True)
        self._header(self._spins, np.dtype(np.uint8), (count, width))

    @staticmethod
    def _header(file: Any, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)

    def append(self, start: int, packed: np.ndarray, values: list[np.ndarray]) -> None:
        self._spins.write(packed.tobytes())
        for file, value in zip(self._files, values, strict=True):
            file.write(value.tobytes())

    def finish(self, meta: str, arrays: dict[str, np.ndarray]) -> None:
        self._spins.close()
        for name, file in zip(self._names, self._files, strict=True):
            file.seek(0)
            with self._zip.open(f"{name}.npy", "w", force_zip64=True) as member:
                self._header(member, np.dtype(np.float64), (self._count,))
                while piece := file.read(1 << 20):
                    member.write(piece)
        for name, value in {**arrays, "meta": np.array(meta)}.items():
            with self._zip.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value, allow_pickle=False)
        self._zip.close()

    def discard(self) -> None:
        self._spins.close()
        self._zip.close()
        for file, path in zip(self._files, self._waiting, strict=True):
            file.close()
            path.unlink(missing_ok=True)


class _H5Sink:
    """One dataset for each member, written slice by slice."""

    def __init__(self, path: Path, count: int, width: int, names: list[str]) -> None:
        self._file = h5py_module().File(path, "w")
        self._spins = self._file.create_dataset("spins", (count, width), np.uint8)
        self._values = [self._file.create_dataset(name, (count,), np.float64) for name in names]

    def append(self, start: int, packed: np.ndarray, values: list[np.ndarray]) -> None:
        self._spins[start : start + len(packed)] = packed
        for dataset, value in zip(self._values, values, strict=True):
            dataset[start : start + len(value)] = value

    def finish(self, meta: str, arrays: dict[str, np.ndarray]) -> None:
        self._file.attrs["meta"] = meta
        for name, value in arrays.items():
            self._file.create_dataset(name, data=value)
        self._file.close()

    def discard(self) -> None:
        self._file.close()


def _width(num_sites: int, q: int | None) -> int:
    """Bytes of a configuration."""
    return (num_sites + 7) // 8 if q is None else num_sites


def format_of(path: str | os.PathLike[str], format: str | None = None) -> str:
    """Format asked for, or that of the name's ending; ValueError when neither is known."""
    found = format or Path(path).suffix.lower().lstrip(".")
    found = "h5" if found == "hdf5" else found
    if found not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise ValueError(f"format must be one of {allowed}, given or as the file's ending, got {str(format or path)!r}")
    return found


def load_samples(path: str | os.PathLike[str]) -> SampleSet:
    """Reads a sample set written by `SampleWriter`, `vanfast sample` or `vanfast mcmc`; nothing is ever unpickled.

    Raises FileNotFoundError, or FileFormatError naming the file and what was expected.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with open(path, "rb") as file:
        is_h5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
    try:
        content = _read_h5(path) if is_h5 else _read_npz(path)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(f"{path}: expected a sample set (.npz or .h5) written by vanfast: {error}") from None
    return _checked(path, content)


def _read_npz(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is neither")
    with np.load(path, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        content: dict[str, Any] = {name: archive[name] for name in archive.files}
    content["meta"] = str(content["meta"])
    return content


def _read_h5(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    with h5py_module().File(path, "r") as file:
        for name in file:
            if name == "hamiltonian":
                content |= {f"hamiltonian/{inner}": file[name][inner][()] for inner in file[name]}
            else:
                content[name] = file[name][()]
        content["meta"] = file.attrs["meta"]
    return content


def _checked(path: Path, content: dict[str, Any]) -> SampleSet:
    def expect(condition: bool, what: str) -> None:
        if not condition:
            raise FileFormatError(f"{path}: expected {what}")

    try:
        meta = json.loads(content["meta"])
    except (TypeError, json.JSONDecodeError):
        meta = None
    expect(isinstance(meta, dict) and meta.get("format") == FORMAT, f"JSON in meta with format {FORMAT!r}")
    expect(meta.get("version") == VERSION, f"version {VERSION}, got {meta.get('version')!r}")
    for key in _META_KEYS:
        expect(key in meta, f"the key {key!r} in meta")
    count, q = meta["count"], meta.get("q")
    expect(q is None or (isinstance(q, int) and 2 <= q <= 127), f"q in meta to be from 2 to 127, got {q!r}")
    width = _width(meta["num_sites"], q)
    columns: list[tuple[str, Any, tuple[int, ...]]] = [("spins", np.uint8, (count, width))]
    if has_log_q := meta.get("has_log_q", True):
        columns.append(("log_q", np.float64, (count,)))
    for name, dtype, shape in columns:
        array = content.get(name)
        right = isinstance(array, np.ndarray) and array.dtype == dtype and array.shape == shape
        expect(right, f"{name} of type {np.dtype(dtype).name} and shape {shape}")
    expect(q is None or not count or int(content["spins"].max()) < q, f"spins to hold states below q = {q}")
    energy = content.get("energy")
    expect(energy is None or (energy.dtype == np.float64 and energy.shape == (count,)), f"energy float64 [{count}]")
    return SampleSet(
        packed=content["spins"],
        log_q=torch.from_numpy(content["log_q"]) if has_log_q else None,
        energy=None if energy is None else torch.from_numpy(energy),
        meta=meta,
        arrays={name.split("/", 1)[1]: value for name, value in content.items() if name.startswith("hamiltonian/")},
    )


def h5py_module() -> Any:
    """h5py; MissingDependency where it is not installed."""
    try:
        import h5py
    except ImportError:
        raise MissingDependency("h5py", "h5", "an .h5 sample set") from None
    return h5py
