"""The user's label table beside the FITS files: radial velocities before, the join after.

Owns reading it row by row, whatever its columns hold; cells pass through as they are written. A survey's
catalogue may have ten million rows: only the rows that are wanted are kept.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BadInput
from engine.spectra.fits.header import key, number
from engine.spectra.headers import DAMAGED, find_obsid, first_lines, open_table, some
from engine.words import say


@dataclass(frozen=True)
class Catalogue:
    """A label table whose header has been read: the cells of its columns, and where obsid stands."""

    path: Path
    shown: str
    columns: tuple[str, ...]
    obsid: int


@dataclass(frozen=True)
class Joined:
    """Rows of the catalogue by obsid, without the obsid column, and the counts of what did not match."""

    columns: tuple[str, ...]
    rows: dict[str, list[str]]
    total: int
    doubled: int

    @property
    def unmatched(self) -> int:
        """How many rows of the table no spectrum was found for."""
        return self.total - self.doubled - len(self.rows)


def open_catalogue(word: str) -> Catalogue:
    """Return the label table that the path names.

    Raises:
        BadInput: it is not there, is empty, is damaged or has no column of obsids.
    """
    path = Path(word).expanduser()
    if not path.is_file():
        raise BadInput(say("fits.no_labels_file", file=word))
    cells = first_lines(path, word)[0]
    return Catalogue(path, word, tuple(cells), find_obsid(cells, word))


def velocities(catalogue: Catalogue, column: str) -> dict[str, float]:
    """Return the radial velocity in km/s by obsid, without the rows that have none; of two rows the first.

    Raises:
        BadInput: there is no such column, or the table cannot be read.
    """
    if column not in catalogue.columns:
        near = difflib.get_close_matches(column, catalogue.columns, n=1, cutoff=0.4)
        hint = say("data.did_you_mean", names=near[0]) if near else ""
        known = some(catalogue.columns)
        raise BadInput(
            say("fits.no_rv_column", file=catalogue.shown, column=column, hint=hint, columns=known)
        )
    at = catalogue.columns.index(column)
    found: dict[str, float] = {}
    for obsid, cells in _rows(catalogue):
        value = number(cells[at])
        if value is not None:
            found.setdefault(obsid, value)
    return found


def read_through(catalogue: Catalogue) -> None:
    """Read every row and keep none: a torn table is told of before hours of work, not after.

    Raises:
        BadInput: the table cannot be read to its end.
    """
    for _ in _rows(catalogue):
        pass


def join(catalogue: Catalogue, wanted: Collection[str], taken: Sequence[str]) -> Joined:
    """Return the rows whose obsid is wanted; of two rows of one star the first.

    A column called like one of `taken`, whatever its case, becomes NAME_label: what the import measured
    and what the table says are both kept.

    Raises:
        BadInput: the table cannot be read to its end.
    """
    rows: dict[str, list[str]] = {}
    seen: set[str] = set()
    total = doubled = 0
    for obsid, cells in _rows(catalogue):
        total += 1
        if obsid in seen:
            doubled += 1
            continue
        seen.add(obsid)
        if obsid in wanted:
            rows[obsid] = [cell for i, cell in enumerate(cells) if i != catalogue.obsid]
    names: list[str] = []
    for i, name in enumerate(catalogue.columns):
        if i == catalogue.obsid:
            continue
        while name.lower() in {used.lower() for used in (*taken, *names)}:
            name += "_label"
        names.append(name)
    return Joined(tuple(names), rows, total, doubled)


def _rows(catalogue: Catalogue) -> Iterator[tuple[str, list[str]]]:
    """Yield (obsid, cells) of every row that has cells."""
    expected = len(catalogue.columns)
    try:
        with io.TextIOWrapper(open_table(catalogue.path), "utf-8-sig", errors="replace", newline="") as text:
            reader = csv.reader(text)
            header = False
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if not header:
                    header = True
                    continue
                if len(cells) != expected:
                    where = {"file": catalogue.shown, "line": reader.line_num}
                    raise BadInput(say("data.ragged", **where, seen=len(cells), expected=expected))
                obsid = key(cells[catalogue.obsid])
                if not obsid:
                    raise BadInput(say("data.obsid_empty", file=catalogue.shown, line=reader.line_num))
                yield obsid, [cell.strip() for cell in cells]
    except DAMAGED as error:
        raise BadInput(say("data.damaged_gz", file=catalogue.shown, why=error)) from error
    except OSError as error:
        why = error.strerror or error
        raise BadInput(say("data.unreadable", file=catalogue.shown, why=why)) from error
    except csv.Error as error:
        where = {"file": catalogue.shown, "line": reader.line_num}
        raise BadInput(say("data.unparsable", **where, why=error)) from error
