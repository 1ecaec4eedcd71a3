"""What a table's header means: which cell is the obsid, which are wavelengths, which are labels.

Owns the first lines of a table and the rules for its columns; knows no folders. Never imports numpy or
pandas; pyarrow only for a feather or parquet file.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import itertools
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from engine.errors import BadInput
from engine.words import say

OBSID = "obsid"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SAME_WAVELENGTH = 1e-4  # Å: headers written as 3600 and 3600.00 are one grid, 3600.01 is another
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)
ARROW = (".feather", ".parquet")


@dataclass(frozen=True)
class Header:
    """One table's header: every cell, and where the obsid and the wavelengths stand.

    `wavelength` is ascending, in Å; `positions` are the matching columns of the file, counted from 0.
    """

    cells: tuple[str, ...]
    obsid: int
    wavelength: tuple[float, ...]
    positions: tuple[int, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the flux columns, in ascending wavelength."""
        return tuple(self.cells[i] for i in self.positions)


def open_table(path: Path) -> BinaryIO:
    """Open a table for reading bytes, unpacking gzip by what the file is and not by what it is called."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def parse_line(line: bytes) -> list[str]:
    """Return the cells of one CSV line; bytes that are not UTF-8 become marks, for other columns' sake."""
    text = line.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    return [cell.strip() for cell in next(csv.reader([text]), [])]


def first_lines(path: Path, shown: str) -> tuple[list[str], bytes]:
    """Return the header's cells and the first row that follows it.

    Raises:
        BadInput: the file is empty, holds a header alone, cannot be read, or is a damaged gzip.
    """
    kept: list[bytes] = []
    try:
        with open_table(path) as file:
            for line in file:
                if line.strip():
                    kept.append(line)
                if len(kept) == 2:
                    return parse_line(kept[0]), kept[1]
    except DAMAGED as error:
        raise BadInput(say("data.damaged_gz", file=shown, why=error)) from error
    except OSError as error:
        raise BadInput(say("data.unreadable", file=shown, why=error.strerror or error)) from error
    raise BadInput(say("data.no_rows" if kept else "data.empty", file=shown))


def header_cells(path: Path, shown: str) -> list[str]:
    """Return the names of a table's columns, whatever its format; the table must have a row.

    Raises:
        BadInput: the file is empty, holds a header alone, cannot be read or is damaged.
    """
    if path.suffix in ARROW:
        from engine.spectra.arrow import open_arrow

        source = open_arrow(path, shown)
        if not source.rows:
            raise BadInput(say("data.no_rows", file=shown))
        return source.names
    return first_lines(path, shown)[0]


def find_obsid(cells: Sequence[str], shown: str) -> int:
    """Return the position of the obsid column, whatever its case.

    Raises:
        BadInput: there is none, or more than one.
    """
    at = [i for i, cell in enumerate(cells) if cell.lower() == OBSID]
    if not at:
        raise BadInput(say("data.no_obsid", file=shown, columns=some(cells)))
    if len(at) > 1:
        raise BadInput(say("data.column_twice", file=shown, column=cells[at[1]]))
    return at[0]


def spectra_header(cells: Sequence[str], shown: str) -> Header:
    """Return what a spectra table's header means: columns with a numeric name are fluxes, others are not.

    Raises:
        BadInput: no obsid, fewer than two wavelengths, a wavelength twice, or one that is not positive.
    """
    obsid = find_obsid(cells, shown)
    found = sorted((float(cell), i) for i, cell in enumerate(cells) if _NUMBER.fullmatch(cell))
    if len(found) < 2:
        raise BadInput(say("data.no_wavelengths", file=shown, columns=some(cells)))
    if found[0][0] <= 0:
        raise BadInput(say("data.not_a_wavelength", file=shown, column=cells[found[0][1]]))
    for (low, i), (high, j) in itertools.pairwise(found):
        if high - low < SAME_WAVELENGTH:
            raise BadInput(say("data.wavelength_twice", file=shown, first=cells[i], second=cells[j]))
    return Header(tuple(cells), obsid, tuple(w for w, _ in found), tuple(i for _, i in found))


def same_grid(continuum: Header, normalized: Header, first: str, second: str) -> None:
    """Check that both spectra tables have one wavelength grid; the file's column order does not matter.

    Raises:
        BadInput: the grids differ; the first wavelength that only one of them has is named.
    """
    a, b = continuum.wavelength, normalized.wavelength
    if len(a) == len(b) and all(abs(x - y) < SAME_WAVELENGTH for x, y in zip(a, b, strict=True)):
        return
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if abs(x - y) >= SAME_WAVELENGTH), -1)
    at = min(len(a), len(b)) if at < 0 else at
    longer = continuum if at < len(a) and (at >= len(b) or a[at] < b[at]) else normalized
    only = first if longer is continuum else second
    raise BadInput(
        say("data.grids_differ", first=first, points=len(a), second=second, others=len(b),
            column=longer.columns[at], only=only)
    )  # fmt: skip


def find_targets(cells: Sequence[str], targets: Sequence[str], shown: str) -> list[int]:
    """Return the positions of the label columns, by exact name.

    Raises:
        BadInput: one asked for twice, or one that is not there or is there twice.
    """
    by_lower = {cell.lower(): cell for cell in cells}
    positions = []
    for target in targets:
        if list(targets).count(target) > 1:
            raise BadInput(say("data.target_twice", target=target))
        at = [i for i, cell in enumerate(cells) if cell == target]
        if len(at) > 1:
            raise BadInput(say("data.column_twice", file=shown, column=target))
        if not at:
            close = difflib.get_close_matches(target.lower(), by_lower, n=3, cutoff=0.6)
            hint = say("data.did_you_mean", names=", ".join(by_lower[c] for c in close)) if close else ""
            raise BadInput(say("data.no_label", file=shown, column=target, hint=hint, columns=some(cells)))
        positions += at
    return positions


def some(cells: Sequence[str], limit: int = 12) -> str:
    """Return the first column names as a list short enough for one line."""
    return ", ".join(cells[:limit]) + (f", ... ({len(cells)})" if len(cells) > limit else "")
