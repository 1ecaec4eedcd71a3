"""Feather and Parquet tables, some columns of some rows at a time, so that a wide table needs little memory.

Owns everything that touches pyarrow (which MLflow brings and pins). Rows are counted from 1 in messages, as
these files have no lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BadInput
from engine.words import say

BUDGET = 64 << 20  # bytes of float64 that are unpacked together
MISSING_WORDS = ("", "nan", "na", "n/a", "<na>", "null", "none", "-nan", "#n/a")


@dataclass(frozen=True)
class Arrow:
    """An open table: names of its columns, number of rows, and a reader of (batch, columns) to pyarrow."""

    names: list[str]
    rows: int
    batches: list[int]
    read: Callable[[int, Sequence[int]], Any]
    shown: str


def open_arrow(path: Path, shown: str) -> Arrow:
    """Open a feather (Arrow IPC) or parquet file; only its footer is read.

    Raises:
        BadInput: the file is empty, damaged, or of the first Feather format.
    """
    import pyarrow as pa

    try:
        if path.stat().st_size == 0:
            raise BadInput(say("data.empty", file=shown))
        return _parquet(path, shown) if path.suffix == ".parquet" else _feather(path, shown)
    except OSError as error:
        raise BadInput(say("data.unreadable", file=shown, why=error.strerror or _first(error))) from error
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError) as error:
        raise BadInput(say("spectra.damaged_arrow", file=shown, why=_first(error))) from error


def blocks(source: Arrow, columns: Sequence[int]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (first row, first of `columns`, values [n, c] float64) over the whole table, rows first.

    A null is NaN; a column of words is read as numbers.

    Raises:
        BadInput: a cell that is no number (its row and column are named), or a damaged file.
    """
    start = 0
    for batch, rows in enumerate(source.batches):
        group = max(1, min(512, BUDGET // (8 * max(rows, 1))))
        for at in range(0, len(columns), group):
            table = _read(source, batch, columns[at : at + group])
            values = np.empty((table.num_rows, table.num_columns))
            for c, column in enumerate(table.columns):
                values[:, c] = _numbers(column, start, source.names[columns[at + c]], source.shown)
            yield start, at, values
        start += rows


def words(source: Arrow, column: int) -> list[str]:
    """Return one column as words; a null is the empty word, 123.0 stays '123.0'."""
    found: list[str] = []
    for batch in range(len(source.batches)):
        cells = _read(source, batch, [column]).column(0).to_pylist()
        found += ["" if cell is None or cell != cell else str(cell).strip() for cell in cells]
    return found


def _feather(path: Path, shown: str) -> Arrow:
    import pyarrow as pa
    from pyarrow import ipc

    with path.open("rb") as file:
        if file.read(4) == b"FEA1":
            raise BadInput(say("spectra.feather_v1", file=shown))
    with pa.memory_map(str(path)) as mapped:
        reader = ipc.open_file(mapped)
        names, count = list(reader.schema.names), reader.num_record_batches
        # one column's batches tell the rows; the others stay packed
        thin = ipc.open_file(mapped, options=ipc.IpcReadOptions(included_fields=[0])) if names else reader
        sizes = [thin.get_batch(i).num_rows for i in range(count)]

    def read(batch: int, columns: Sequence[int]) -> Any:
        with pa.memory_map(str(path)) as file:
            options = ipc.IpcReadOptions(included_fields=sorted(columns))
            part = ipc.open_file(file, options=options).get_batch(batch)
            table = pa.Table.from_batches([part])
        return table.select([sorted(columns).index(c) for c in columns])

    return Arrow(names, sum(sizes), sizes, read, shown)


def _parquet(path: Path, shown: str) -> Arrow:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]

    def read(batch: int, columns: Sequence[int]) -> Any:
        wanted = [names[c] for c in columns]
        with parquet.ParquetFile(path, pre_buffer=False) as opened:
            table = opened.read_row_group(batch, columns=wanted, use_threads=False)
        return table.select(wanted)

    return Arrow(names, sum(sizes), sizes, read, shown)


def _read(source: Arrow, batch: int, columns: Sequence[int]) -> Any:
    import pyarrow as pa

    try:
        return source.read(batch, columns)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(say("spectra.damaged_arrow", file=source.shown, why=_first(error))) from error


def _numbers(column: Any, start: int, name: str, shown: str) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    values = np.full(len(column), np.nan)
    for row, cell in enumerate(column.to_pylist()):
        word = "" if cell is None else str(cell).strip()
        if word.lower() in MISSING_WORDS:
            continue
        try:
            values[row] = float(word.replace("_", "?"))  # Python reads 1_000, a table reader does not
        except ValueError:
            raise BadInput(
                say("data.text_cell", file=shown, line=start + row + 1, column=name, cell=word[:40])
            ) from None
    return values


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
