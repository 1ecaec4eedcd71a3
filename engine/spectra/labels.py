"""The label table in: the wanted labels as numbers, every other column as it is.

Owns what counts as a missing label and which columns are numbers. The table is small beside the spectra and
is read whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.spectra.headers import ARROW, find_obsid, find_targets, first_lines
from engine.spectra.layout import Tables
from engine.spectra.tables import MISSING_WORDS, Obsids, is_number, parse, together

if TYPE_CHECKING:
    import pandas as pd

MISSING_LABELS = (9999.0, 99999.0)  # either sign: how catalogues say "not measured"
EXACT = 2.0**53  # whole numbers beyond are no longer told apart as float64: ids of Gaia stay words


@dataclass(frozen=True)
class Labels:
    """The label table as read: obsid [N], values [N, T] float32 with NaN where a label is missing.

    `columns` are all other columns [N]: float64 (NaN where empty, or -9999 and -99999) where every cell is a
    number, else words. `part` [N] is the number of the file where the table came in several.
    """

    obsid: np.ndarray
    values: np.ndarray
    targets: tuple[str, ...]
    lines: np.ndarray
    part: np.ndarray
    columns: dict[str, np.ndarray]


def read_labels(tables: Tables, targets: Sequence[str]) -> Labels:
    """Return the label table; ±9999, ±99999, infinities and empty cells of the targets are NaN.

    Raises:
        BadInput: the header, a text cell, a ragged or torn row, a missing obsid, or a damaged file.
    """
    pieces = [
        (_read_arrow if path.suffix in ARROW else _read_csv)(path, targets, tables.shown("labels", part))
        for part, path in enumerate(tables.files["labels"])
    ]
    values = np.concatenate([piece.values for piece in pieces])
    values[~np.isfinite(values) | np.isin(np.abs(values), MISSING_LABELS)] = np.nan
    names = list(dict.fromkeys(name for piece in pieces for name in piece.words))
    columns = {
        name: as_column([w for p in pieces for w in p.words.get(name) or [""] * len(p.values)])
        for name in names
    }
    return Labels(
        obsid=together([piece.obsid for piece in pieces]),
        values=values.astype(np.float32),
        targets=tuple(targets),
        lines=np.concatenate([piece.lines for piece in pieces]),
        part=np.repeat(np.arange(len(pieces), dtype=np.uint8), [len(piece.values) for piece in pieces]),
        columns=columns,
    )


@dataclass(frozen=True)
class _Piece:
    obsid: np.ndarray
    values: np.ndarray
    lines: np.ndarray
    words: dict[str, list[str]]


def _others(cells: Sequence[str], known: Sequence[int]) -> dict[str, int]:
    """Return name and position of the columns that are neither obsid nor target; of namesakes the first."""
    found: dict[str, int] = {}
    for position, name in enumerate(cells):
        if position not in known and name:
            found.setdefault(name, position)
    return found


def _read_csv(path: Path, targets: Sequence[str], shown: str) -> _Piece:
    cells, _ = first_lines(path, shown)
    at_obsid = find_obsid(cells, shown)
    positions = find_targets(cells, targets, shown)
    others = _others(cells, [at_obsid, *positions])
    obsids = Obsids()
    blocks: list[np.ndarray] = []
    words: dict[str, list[str]] = {name: [] for name in others}

    def take(chunk: pd.DataFrame, _rows: int, _total: int) -> None:
        obsids.take(chunk[at_obsid].tolist())
        blocks.append(chunk[positions].to_numpy(np.float64))
        for name, position in others.items():
            cells_of = chunk[position].tolist()
            words[name] += [cell.strip() if isinstance(cell, str) else "" for cell in cells_of]

    wanted = sorted({at_obsid, *positions, *others.values()})
    types: dict[int, Any] = dict.fromkeys(wanted, str) | dict.fromkeys(positions, np.float64)
    lines = parse(path, shown, cells, wanted, sorted(positions), {"dtype": types}, take, chunk=65_536)
    return _Piece(obsids.all(lines, shown), np.concatenate(blocks), lines, words)


def _read_arrow(path: Path, targets: Sequence[str], shown: str) -> _Piece:
    from engine.spectra import arrow

    source = arrow.open_arrow(path, shown)
    at_obsid = find_obsid(source.names, shown)
    positions = find_targets(source.names, targets, shown)
    values = np.empty((source.rows, len(positions)))
    for start, at, block in arrow.blocks(source, positions):
        values[start : start + len(block), at : at + block.shape[1]] = block
    others = _others(source.names, [at_obsid, *positions])
    obsids = Obsids()
    obsids.take(arrow.words(source, at_obsid))
    lines = np.arange(1, source.rows + 1)
    words = {name: arrow.words(source, position) for name, position in others.items()}
    return _Piece(obsids.all(lines, shown), values, lines, words)


def as_column(words: Sequence[str]) -> np.ndarray:
    """Return a column [N] as float64 when every cell is a number or empty, else as words."""
    if all(word in MISSING_WORDS or is_number(word) for word in words):
        values = np.array([np.nan if word in MISSING_WORDS else float(word) for word in words])
        values[np.isin(values, [-code for code in MISSING_LABELS])] = np.nan
        if not (np.abs(values) >= EXACT).any() and np.isfinite(values).any():
            return values
    return np.array(words, dtype=str)
