"""Reads the text formats of files.py line by line, so that every complaint can name its line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from vanfast.errors import FileFormatError

MAX_SITES = 2**31 - 1


@dataclass
class TextSystem:
    """What a text file holds: edges int64 [M, 2] from 0, couplings [M], fields [N], and a lattice shape if told."""

    num_sites: int
    edges: np.ndarray
    couplings: np.ndarray
    fields: np.ndarray
    shape: tuple[int, ...] | None


@dataclass
class _Lines:
    """The numbers of a text file with the lines they stand on; sites are still counted as the file does."""

    path: str
    sites: list[tuple[int, int]] = field(default_factory=list)
    couplings: list[float] = field(default_factory=list)
    bond_lines: list[int] = field(default_factory=list)
    fields: dict[int, tuple[float, int]] = field(default_factory=dict)
    comments: dict[str, tuple[list[int], int]] = field(default_factory=dict)
    header: tuple[int, int] | None = None

    def refuse(self, line: int, message: str) -> NoReturn:
        raise FileFormatError(f"{self.path}, line {line}: {message}")

    def site(self, token: str, line: int) -> int:
        try:
            return int(token)
        except ValueError:
            self.refuse(line, f"expected an integer site number, found {token!r}")

    def number(self, token: str, line: int, what: str) -> float:
        try:
            value = float(token)
        except ValueError:
            self.refuse(line, f"expected a number as {what}, found {token!r}")
        if not math.isfinite(value):
            self.refuse(line, f"expected a finite {what}, found {token!r}")
        return value


def read_text(path: str, format: str, index_base: int | None, num_sites: int | None) -> TextSystem:
    """Reads `path` as "edges", "rudy" or "auto"; arguments as for files.load."""
    lines = _scan(path, format)
    rudy = lines.header is not None
    if rudy:
        _check_header(lines)
    base, base_reason = _index_base(lines, index_base)
    count = _num_sites(lines, base, num_sites)
    for (i, j), line in zip(lines.sites, lines.bond_lines, strict=True):
        if not (base <= i < count + base and base <= j < count + base):
            lines.refuse(line, f"bond {i} {j}: expected sites {base} to {count + base - 1} ({base_reason})")
        if i == j:
            lines.refuse(line, f"bond {i} {j} joins a site with itself, expected two different sites")
    fields = np.zeros(count)
    for i, (value, line) in lines.fields.items():
        if not base <= i < count + base:
            lines.refuse(line, f"field of site {i}: expected a site from {base} to {count + base - 1} ({base_reason})")
        fields[i - base] = value
    _refuse_repeats(lines)
    edges = np.array(lines.sites, dtype=np.int64).reshape(-1, 2) - base
    return TextSystem(count, edges, np.array(lines.couplings), fields, _shape(lines, count))


def _scan(path: str, format: str) -> _Lines:
    lines = _Lines(path)
    number = 0
    try:
        with open(path, encoding="utf-8-sig") as file:  # some editors begin a file with a byte order mark
            for number, text in enumerate(file, 1):
                if text.lstrip().startswith("#"):
                    _read_comment(lines, text, number)
                tokens = text.partition("#")[0].partition("%")[0].split()
                if tokens:
                    _read_line(lines, tokens, number, format)
    except UnicodeDecodeError:
        raise FileFormatError(f"{path}, line {number + 1}: expected text in UTF-8, found other bytes") from None
    if format == "rudy" and lines.header is None:
        lines.refuse(number or 1, "expected a first line 'n m', found no data")
    return lines


def _read_line(lines: _Lines, tokens: list[str], number: int, format: str) -> None:
    first = lines.header is None and not lines.sites and not lines.fields
    if first and (format == "rudy" or (format == "auto" and _is_header(tokens))):
        if not _is_header(tokens):
            lines.refuse(number, f"expected 'n m', the numbers of sites and of edges, found {' '.join(tokens)!r}")
        lines.header = int(tokens[0]), int(tokens[1])
        lines.comments["header"] = [], number
        return
    if len(tokens) == 2 and lines.header is None:
        site = lines.site(tokens[0], number)
        if site in lines.fields:
            lines.refuse(number, f"the field of site {site} was given on line {lines.fields[site][1]} already")
        lines.fields[site] = lines.number(tokens[1], number, "field"), number
        return
    if len(tokens) != 3 and not (len(tokens) == 2 and lines.header is not None):
        expected = "'i j w' or 'i j'" if lines.header is not None else "'i j J' or 'i h'"
        lines.refuse(number, f"expected {expected}, found {' '.join(tokens)!r}")
    lines.sites.append((lines.site(tokens[0], number), lines.site(tokens[1], number)))
    lines.couplings.append(lines.number(tokens[2], number, "coupling") if len(tokens) == 3 else 1.0)
    lines.bond_lines.append(number)


def _is_header(tokens: list[str]) -> bool:
    return len(tokens) == 2 and all(token.isascii() and token.isdigit() for token in tokens)


def _read_comment(lines: _Lines, text: str, number: int) -> None:
    tokens = text.lstrip().lstrip("#").split()
    lengths = {"num_sites": (1,), "index_base": (1,), "shape": range(1, 64)}
    if (
        tokens
        and tokens[0] in lengths
        and len(tokens) - 1 in lengths[tokens[0]]
        and all(token.isascii() and token.isdigit() for token in tokens[1:])
    ):
        lines.comments[tokens[0]] = [int(token) for token in tokens[1:]], number


def _check_header(lines: _Lines) -> None:
    assert lines.header is not None
    sites, edges = lines.header
    line = lines.comments["header"][1]
    if sites < 1:
        lines.refuse(line, f"expected at least one site in 'n m', found n = {sites}")
    if edges != len(lines.sites):
        lines.refuse(
            line,
            f"'{sites} {edges}' announces {edges} edges, but {len(lines.sites)} follow "
            "(where this line is the field of a site, say format='edges')",
        )


def _index_base(lines: _Lines, index_base: int | None) -> tuple[int, str]:
    if index_base is not None:
        return index_base, f"index_base={index_base} was given"
    if lines.header is not None:
        return 1, "rudy files count from 1; index_base=0 for others"
    if "index_base" in lines.comments:
        (base,), line = lines.comments["index_base"]
        if base not in (0, 1):
            lines.refuse(line, f"expected index_base 0 or 1, found {base}")
        return base, f"line {line} says index_base {base}"
    if any(0 in pair for pair in lines.sites) or 0 in lines.fields:
        return 0, "site 0 occurs, so sites count from 0"
    return 1, "site 0 does not occur, so sites count from 1; index_base=0 for others"


def _num_sites(lines: _Lines, base: int, num_sites: int | None) -> int:
    if lines.header is not None:
        count, source = lines.header[0], "the first line"
    elif "num_sites" in lines.comments:
        count, source = lines.comments["num_sites"][0][0], "the comment num_sites"
    else:
        highest = max((max(pair) for pair in lines.sites), default=base - 1)
        count = max([highest, *lines.fields]) - base + 1
        if num_sites is None and count < 1:
            raise FileFormatError(f"{lines.path}: expected lines 'i j J', found none; num_sites is not given either")
        return num_sites if num_sites is not None else _bounded(lines, count)
    if num_sites not in (None, count):
        raise FileFormatError(f"{lines.path}: {source} says {count} sites, but num_sites={num_sites} was given")
    return _bounded(lines, count)


def _bounded(lines: _Lines, count: int) -> int:
    if not 1 <= count <= MAX_SITES:
        raise FileFormatError(f"{lines.path}: expected from 1 to {MAX_SITES} sites, found {count}")
    return count


def _refuse_repeats(lines: _Lines) -> None:
    seen: dict[tuple[int, int], int] = {}
    for (i, j), line in zip(lines.sites, lines.bond_lines, strict=True):
        pair = (i, j) if i < j else (j, i)
        if pair in seen:
            lines.refuse(line, f"bond {i} {j} was given on line {seen[pair]} already, expected every pair once")
        seen[pair] = line


def _shape(lines: _Lines, count: int) -> tuple[int, ...] | None:
    if "shape" not in lines.comments:
        return None
    lengths, line = lines.comments["shape"]
    if math.prod(lengths) != count:
        lines.refuse(line, f"shape {lengths} has {math.prod(lengths)} sites, expected {count}")
    return tuple(lengths)
