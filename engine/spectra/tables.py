"""One CSV table in, chunk by chunk: parsing and its complaints.

Owns how bytes become numbers and what is said when they do not. Knows nothing of joins, policies or caches;
holds one chunk, whatever the size of the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from engine.errors import BadInput
from engine.spectra.headers import DAMAGED, Header, open_table, parse_line
from engine.spectra.progress import Progress
from engine.spectra.watch import LineWatch
from engine.words import say

if TYPE_CHECKING:
    import pandas as pd

READER = 1  # raised whenever the same bytes would be read as other numbers
CELLS = 7_200_000  # of one chunk: pandas takes some 50 bytes a cell, and fixed time a column and chunk
LEAST_ROWS = 64
_STRIP = 64
# what an empty cell may look like; anything else that is not a number is an error, with its place
MISSING_WORDS = ("", "NaN", "nan", "NAN", "NA", "N/A", "n/a", "<NA>", "null", "NULL", "None", "-nan", "#N/A")
_INTEGER = re.compile(r"(-?(?:0|[1-9]\d{0,17}))(?:\.0+)?")


@dataclass(frozen=True)
class Spectra:
    """One branch as read: obsid [N], flux [N, L] float32, wavelength [L] in Å, ascending.

    `columns` are the header's own names in the same order, `lines` [N] the rows' 1-based line numbers in
    their file, `part` [N] the number of that file where the branch came in several (train, val, test).
    """

    obsid: np.ndarray
    flux: np.ndarray
    wavelength: np.ndarray
    columns: tuple[str, ...]
    lines: np.ndarray
    part: np.ndarray


class Obsids:
    """The obsids of a table, collected chunk by chunk: int64 while all are whole numbers, else words."""

    def __init__(self) -> None:
        self._pieces: list[np.ndarray] = []
        self._rows = 0
        self._empty: int | None = None

    def take(self, cells: Sequence[object]) -> None:
        """Add the cells of some rows; whatever is no word counts as empty."""
        words = ["" if not isinstance(cell, str) or cell in MISSING_WORDS else cell.strip() for cell in cells]
        if self._empty is None and "" in words:
            self._empty = self._rows + words.index("")
        self._rows += len(words)
        whole = [_INTEGER.fullmatch(word) for word in words]
        if all(whole):
            self._pieces.append(np.array([int(match[1]) for match in whole if match], np.int64))
            return
        # beside names, 123.0 is still the star that another table calls 123
        pairs = zip(words, whole, strict=True)
        self._pieces.append(np.array([match[1] if match else word for word, match in pairs]))

    def all(self, lines: np.ndarray, shown: str) -> np.ndarray:
        """Return the obsids [N] of the whole table.

        Raises:
            BadInput: a row has none; the first such line is named.
        """
        if self._empty is not None:
            raise BadInput(say("data.obsid_empty", file=shown, line=int(lines[self._empty])))
        return together(self._pieces)


def together(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Return obsids of several pieces in one type: integers when all are, else words."""
    if len({piece.dtype.kind for piece in pieces}) > 1:
        pieces = [piece.astype(str) for piece in pieces]
    return np.concatenate(pieces)


def parse_spectra(
    path: Path, shown: str, header: Header, put: Callable[[np.ndarray], None], progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Give the fluxes [n, L] of each chunk to `put`; return obsids and line numbers.

    They come in ascending wavelength, and are overwritten by the next chunk: `put` must not keep them.

    Empty cells and the words of `MISSING_WORDS` are NaN: what to do with them is for the caller to say.

    Raises:
        BadInput: a text cell, a ragged or torn row, a missing obsid, or a damaged gzip.
    """
    order = np.argsort(np.argsort(header.positions))  # pandas gives the columns in the file's order
    in_order = bool((order == np.arange(len(order))).all())
    # one type for all and a converter for the obsid: a type per column costs pandas half the time again
    kinds = {"dtype": np.float32, "converters": {header.obsid: str}}
    what = say("spectra.converting", file=shown)
    obsids = Obsids()
    turner = _RowsFirst()

    def take(chunk: pd.DataFrame, rows: int, total: int) -> None:
        obsids.take(chunk[header.obsid].tolist())
        values = turner.turn(chunk, header.obsid)
        put(values if in_order else values[:, order])
        progress.rows(what, rows, total)

    progress.rows(what, 0)
    chunk = max(LEAST_ROWS, CELLS // len(order))
    wanted = [header.obsid, *header.positions]
    numeric = sorted(header.positions)
    lines = parse(path, shown, header.cells, wanted, numeric, kinds, take, chunk)
    return obsids.all(lines, shown), lines


class _RowsFirst:
    """Turns chunks of columns into float32 rows [n, columns], always in the same memory.

    In strips of some columns, which stay in the processor's cache while they are turned: `to_numpy` makes
    the same rows in twice the time, and in fresh memory.
    """

    def __init__(self) -> None:
        self._room = np.empty((0, 0), np.float32)

    def turn(self, chunk: pd.DataFrame, obsid: int) -> np.ndarray:
        """Return all columns but the obsid; what was returned before is overwritten."""
        rows, columns = len(chunk), chunk.shape[1] - 1
        if self._room.shape[0] < rows:
            self._room = np.empty((rows, columns), np.float32)
        values = self._room[:rows]
        strip = np.empty((_STRIP, rows), np.float32)
        fluxes = (column.to_numpy() for name, column in chunk.items() if name != obsid)
        for at in range(0, columns, _STRIP):
            width = min(_STRIP, columns - at)
            for place in range(width):
                strip[place] = next(fluxes)
            values[:, at : at + width] = strip[:width].T
        return values


def parse(
    path: Path,
    shown: str,
    cells: Sequence[str],
    wanted: list[int],
    numeric: list[int],
    kinds: dict[str, Any],
    take: Callable[[pd.DataFrame, int, int], None],
    chunk: int,
) -> np.ndarray:
    """Feed (chunk, rows done, rows expected) to `take` and return the rows' line numbers.

    `kinds` are pandas' own options for the types of the columns, of which those in `numeric` must be numbers.
    How many rows there will be is guessed from the bytes read.

    Raises:
        BadInput: whatever is wrong with the file; no complaint of pandas comes through.
    """
    import pandas as pd

    done = 0
    size = path.stat().st_size
    with LineWatch(open_table(path)) as watch, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", pd.errors.ParserWarning
        )  # "only the converter will be used": as meant
        try:
            watch.pass_header()
            reader = pd.read_csv(
                cast(Any, watch),  # enough of a file for the C parser, too little for the stubs
                header=None,
                names=list(range(len(cells))),
                usecols=wanted,
                **kinds,
                index_col=False,
                chunksize=chunk,
                keep_default_na=False,
                na_values=list(MISSING_WORDS),
                encoding_errors="replace",
                low_memory=False,
            )
            for piece in reader:
                done += len(piece)
                expected = (watch.ended_lines - 1) * size / max(watch.packed_position(), 1)
                take(piece, done, max(done, round(expected)))
        except (ValueError, *DAMAGED) as error:  # pandas' ParserError is a ValueError
            _explain(path, shown, cells, watch, numeric, done, error)
            raise
        except OSError as error:
            if watch.failure is None:
                raise  # not this file's: what `take` writes may have failed
            _explain(path, shown, cells, watch, numeric, done, error)
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
                if cell not in MISSING_WORDS and not is_number(cell):
                    return number, column, cell
    return None


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number as a table reader sees it."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, a CSV reader does not
