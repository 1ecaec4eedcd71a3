"""The sparkline of a run that only an MLflow store has: read when somebody looks at it, thinned by SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from engine.runs.record import Record
from engine.runs.spark import CELLS, LOSSES, draw
from engine.track import read
from engine.track.listing import local_database

_NAMES = (*(f"step/{name}" for name in LOSSES), *LOSSES)


def told(record: Record) -> str:
    """Return the loss of a run in a few cells, wherever it is kept; nothing when it has none."""
    if record.stored is None:
        return record.spark.cells() if record.spark is not None else ""
    return of_stored([record])[record]


def of_stored(records: Iterable[Record]) -> dict[Record, str]:
    """Return the same of runs of SQLite stores; nothing for those of a server, which would be asked each."""
    found: dict[Record, str] = {}
    by_store: dict[Path, list[Record]] = {}
    for record in records:
        found[record] = ""
        database = local_database(record.stored.uri) if record.stored is not None else None
        if database is not None and database.is_file():
            by_store.setdefault(database, []).append(record)
    for database, those in by_store.items():
        try:
            with closing(read.connect(database)) as connection:
                for record in those:
                    found[record] = _read(connection, record)
        except sqlite3.Error:
            continue  # the store is away: its runs have no sparkline until it is back
    return found


def _read(connection: sqlite3.Connection, record: Record) -> str:
    stored = record.stored
    assert stored is not None
    names = [name for name in _NAMES if name in stored.metrics]
    names += [name for name in stored.metrics if name.endswith("loss") and name not in names]
    if not names:
        return ""
    means, bad = read.thinned(connection, stored.mlflow_run_id, names[0], CELLS)
    return draw(means, bad)
