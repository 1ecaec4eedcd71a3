"""One table in, arrays out: wide spectra in chunks, and the label table.

Owns parsing and its complaints. Knows nothing of joins or policies; holds one chunk beside the result,
whatever the size of the file.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import BadInput
from engine.spectra.layout import (
    DAMAGED,
    Tables,
    find_obsid,
    find_targets,
    first_lines,
    open_table,
    parse_line,
    spectra_header,
)
from engine.spectra.watch import LineWatch
from engine.words import say

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 1024
# what an empty cell may look like; anything else that is not a number is an error, with its place
MISSING_WORDS = ("", "NaN", "nan", "NAN", "NA", "N/A", "n/a", "<NA>", "null", "NULL", "None", "-nan", "#N/A")
MISSING_LABELS = (9999.0, 99999.0)  # either sign: how catalogues say "not measured"
_INTEGER = re.compile(r"(-?(?:0|[1-9]\d{0,17}))(?:\.0+)?")
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Spectra:
    """One branch as read: obsid [N], flux [N, L] float32, wavelength [L] in Å, ascending.

    `columns` are the header's own names in the same order, `lines` [N] the rows' 1-based line numbers.
    """

    obsid: np.ndarray
    flux: np.ndarray
    wavelength: np.ndarray
    columns: tuple[str, ...]
    lines: np.ndarray


@dataclass(frozen=True)
class Labels:
    """The label table as read: obsid [N], values [N, T] float32 with NaN where a label is missing."""

    obsid: np.ndarray
    values: np.ndarray
    targets: tuple[str, ...]
    lines: np.ndarray


def read_spectra(path: Path, shown: str | None = None, progress: Progress | None = None) -> Spectra:
    """Return a wide spectra table; only columns with a numeric name become flux.

    `progress` is called with the number of rows done after each chunk. Empty cells and the words of
    `MISSING_WORDS` are NaN: what to do with them is for the caller to say.

    Raises:
        BadInput: the header, a text cell, a ragged or torn row, a missing obsid, or a damaged gzip.
    """
    shown = shown or str(path)
    header = spectra_header(first_lines(path, shown)[0], shown)
    order = np.argsort(np.argsort(header.positions))  # pandas gives the columns in the file's order
    in_order = bool((order == np.arange(len(order))).all())
    types: dict[int, Any] = dict.fromkeys(header.positions, np.float32)
    in_file = sorted(header.positions)
    flux = np.empty((0, len(order)), np.float32)
    obsids: list[np.ndarray] = []
    rows = 0

    def take(chunk: pd.DataFrame) -> None:
        nonlocal rows
        obsids.append(chunk[header.obsid].to_numpy(object))
        values = chunk[in_file].to_numpy(np.float32)
        if rows + len(values) > len(flux):
            # grown in place by the allocator: never a second copy of the table
            flux.resize((max(rows + len(values), int(len(flux) * 1.25)), flux.shape[1]), refcheck=False)
        flux[rows : rows + len(values)] = values if in_order else values[:, order]
        rows += len(values)
        if progress:
            progress(rows)

    lines = _parse(path, shown, header.cells, [header.obsid, *header.positions], header.obsid, types, take)
    flux.resize((rows, flux.shape[1]), refcheck=False)
    obsid = _obsid(np.concatenate(obsids), lines, shown)
    return Spectra(obsid, flux, np.array(header.wavelength), header.columns, lines)


def read_labels(path: Path, targets: Sequence[str], shown: str | None = None) -> Labels:
    """Return the wanted columns of the label table; ±9999, ±99999, infinities and empty cells are NaN.

    Raises:
        BadInput: the header, a text cell, a ragged or torn row, a missing obsid, or a damaged gzip.
    """
    shown = shown or str(path)
    cells, _ = first_lines(path, shown)
    at_obsid = find_obsid(cells, shown)
    positions = find_targets(cells, targets, shown)
    obsids: list[np.ndarray] = []
    blocks: list[np.ndarray] = []

    def take(chunk: pd.DataFrame) -> None:
        obsids.append(chunk[at_obsid].to_numpy(object))
        blocks.append(chunk[positions].to_numpy(np.float64))

    types: dict[int, Any] = dict.fromkeys(positions, np.float64)
    wanted = [at_obsid, *(p for p in positions if p != at_obsid)]
    lines = _parse(path, shown, cells, wanted, at_obsid, types, take, chunk=65_536)
    values = np.concatenate(blocks)
    values[~np.isfinite(values) | np.isin(np.abs(values), MISSING_LABELS)] = np.nan
    obsid = _obsid(np.concatenate(obsids), lines, shown)
    return Labels(obsid, values.astype(np.float32), tuple(targets), lines)


def fingerprint(tables: Tables) -> str:
    """Return a sha256 over name, size, first and last MB of each table: cheap, and moves when data moves."""
    digest = hashlib.sha256()
    for path in (tables.continuum, tables.normalized, tables.labels):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read(1 << 20))
    return digest.hexdigest()


def _parse(
    path: Path,
    shown: str,
    cells: Sequence[str],
    wanted: list[int],
    at_obsid: int,
    types: dict[int, Any],
    take: Callable[[pd.DataFrame], None],
    chunk: int | None = None,
) -> np.ndarray:
    """Feed the table to `take` chunk by chunk and return the rows' line numbers; every complaint is ours."""
    import pandas as pd

    done = 0
    with io.BufferedReader(LineWatch(open_table(path)), 1 << 20) as stream:
        watch = stream.raw
        assert isinstance(watch, LineWatch)
        try:
            while not stream.readline().strip():
                pass  # blank lines before the header
            reader = pd.read_csv(
                stream,
                header=None,
                names=list(range(len(cells))),
                usecols=wanted,
                dtype={**types, at_obsid: str},
                index_col=False,
                chunksize=chunk or CHUNK,
                keep_default_na=False,
                na_values=list(MISSING_WORDS),
                encoding_errors="replace",
                low_memory=False,
            )
            for piece in reader:
                take(piece)
                done += len(piece)
        except (ValueError, *DAMAGED, OSError) as error:  # pandas' ParserError is a ValueError
            _explain(path, shown, cells, watch, sorted(types), done, error)
            raise
        _check_ragged(watch, cells, shown)
        lines = watch.row_lines()
    # quotes may hold line ends; then lines and rows do not pair and a row's own number has to do
    return lines if len(lines) == done else np.arange(2, done + 2)


def _explain(
    path: Path,
    shown: str,
    cells: Sequence[str],
    watch: LineWatch,
    numeric: list[int],
    done: int,
    error: Exception,
) -> None:
    """Raise the BadInput that says why pandas gave up, if it can be found."""
    if isinstance(watch.failure, DAMAGED):
        raise BadInput(say("data.damaged_gz", file=shown, why=watch.failure)) from error
    if watch.failure is not None:
        raise BadInput(say("data.unreadable", file=shown, why=watch.failure)) from error
    _check_ragged(watch, cells, shown)
    found = _find_text(path, numeric, done)
    if found:
        line, column, cell = found
        raise BadInput(
            say("data.text_cell", file=shown, line=line, column=cells[column], cell=cell[:40])
        ) from error
    raise BadInput(say("data.unparsable", file=shown, line=done + 2, why=str(error)[:200])) from error


def _check_ragged(watch: LineWatch, cells: Sequence[str], shown: str) -> None:
    ragged = watch.ragged(len(cells))
    if ragged:
        line, seen, torn = ragged
        key = "data.torn" if torn else "data.ragged"
        raise BadInput(say(key, file=shown, line=line, seen=seen, expected=len(cells)))


def _find_text(path: Path, numeric: list[int], done: int) -> tuple[int, int, str] | None:
    """Return (line, column, cell) of the first cell that is not a number, after the rows already `done`."""
    row = -1  # the header
    with open_table(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row += 1
            if row <= done:
                continue
            parts = parse_line(line)
            for column in numeric:
                cell = parts[column] if column < len(parts) else ""
                if cell not in MISSING_WORDS and not _is_number(cell):
                    return number, column, cell
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, a CSV reader does not


def _obsid(cells: np.ndarray, lines: np.ndarray, shown: str) -> np.ndarray:
    """Return obsids as int64 when all are whole numbers, else as the strings that they are."""
    words = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
    for word, line in zip(words, lines, strict=True):
        if not word:
            raise BadInput(say("data.obsid_empty", file=shown, line=int(line)))
    whole = [_INTEGER.fullmatch(word) for word in words]
    if all(whole):
        return np.array([int(match.group(1)) for match in whole if match], np.int64)
    # beside names, 123.0 is still the star that another table calls 123
    return np.array([match.group(1) if match else word for word, match in zip(words, whole, strict=True)])
