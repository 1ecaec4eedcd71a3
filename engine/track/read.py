"""Read MLflow's SQLite store by plain SQL: 20 ms and 14 MB, where importing MLflow takes seconds.

Reads tables that have not changed for years, by column name, read-only. NaN is stored as 0.0 with a flag and
infinity as the largest double: both are turned back here, so a diverged loss never looks perfect.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from engine.track.stored import STATES, Late, StoredRun

__all__ = ["STATES", "StoredRun", "UnknownForm"]

_LARGEST = 1.7976931348623157e308
_COLUMNS = {
    "experiments": {"experiment_id", "name"},
    "runs": {
        "run_uuid", "name", "experiment_id", "status", "start_time", "end_time", "artifact_uri", "user_id",
        "lifecycle_stage",
    },
    "params": {"run_uuid", "key", "value"},
    "tags": {"run_uuid", "key", "value"},
    "latest_metrics": {"run_uuid", "key", "value", "is_nan"},
    "metrics": {"run_uuid", "key", "value", "is_nan", "step", "timestamp"},
}  # fmt: skip
_RUNS = """select r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.artifact_uri, r.user_id
           from runs r join experiments e on e.experiment_id = r.experiment_id
           where r.lifecycle_stage = 'active'"""
_NEWEST = "order by r.start_time desc, r.run_uuid"
_AT_ONCE = 500


class UnknownForm(Exception):  # noqa: N818 - said of the store: its form is not known
    """The store has runs, but lacks a table or a column that is read here: only MLflow can read it."""


def connect(database: Path, *, patience: float = 2.0) -> sqlite3.Connection:
    """Open a store for reading; a writer that holds it is waited for so many seconds."""
    uri = database.absolute().as_uri()
    return sqlite3.connect(
        f"{uri}?mode=ro", uri=True, timeout=patience, isolation_level=None, check_same_thread=False
    )


_open = connect


def is_made(connection: sqlite3.Connection) -> bool:
    """Tell whether the tables are all there: MLflow takes seconds to make a new database, table by table.

    Raises:
        UnknownForm: runs are in it, so it is made, and yet something that is read here is missing.
    """
    there = {
        table: {row[1] for row in connection.execute(f"pragma table_info({table})")} for table in _COLUMNS
    }
    missing = [
        f"{table}.{name}" for table, names in _COLUMNS.items() for name in sorted(names - there[table])
    ]
    if not missing:
        return True
    if there["runs"] and connection.execute("select 1 from runs limit 1").fetchone():
        raise UnknownForm(", ".join(missing[:3]))
    return False


def newest(
    connection: sqlite3.Connection, count: int, *, by: str = "", descending: bool = False
) -> list[str]:
    """Return the ids of the first runs: the newest, or those that a metric puts first; without it last."""
    if not by:
        rows = connection.execute(
            f"select run_uuid from runs r where lifecycle_stage = 'active' {_NEWEST} limit ?", (count,)
        )
    else:
        turn = "desc" if descending else "asc"
        rows = connection.execute(
            f"""select r.run_uuid from runs r left join
                  (select run_uuid, value, is_nan from latest_metrics where key = ?) m using (run_uuid)
                where r.lifecycle_stage = 'active'
                order by m.value is null or m.is_nan, m.value {turn}, r.start_time desc limit ?""",
            (by, count),
        )
    return [run_id for (run_id,) in rows]


def runs(
    connection: sqlite3.Connection,
    ids: Sequence[str] | None = None,
    *,
    late: Late | None = None,
    uri: str = "",
) -> dict[str, StoredRun]:
    """Return runs that are not deleted with their parameters, tags, last values: all or some."""
    found: dict[str, StoredRun] = {}
    if ids is None:
        _add_runs(found, connection.execute(f"{_RUNS} {_NEWEST}"), late, uri)
        _add_values(found, connection, "", ())
        return found
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        marks = ",".join("?" * len(some))
        _add_runs(found, connection.execute(f"{_RUNS} and r.run_uuid in ({marks})", some), late, uri)
        _add_values(found, connection, f"where run_uuid in ({marks})", some)
    return {run_id: found[run_id] for run_id in ids if run_id in found}


def _add_runs(found: dict[str, StoredRun], rows: Iterable[Any], late: Late | None, uri: str) -> None:
    for run_id, name, experiment, status, start, end, artifacts, user in rows:
        found[run_id] = StoredRun(
            run_id, name or run_id[:8], experiment, status, start, end, artifacts or "", user or "",
            late=late, uri=uri,
        )  # fmt: skip


def _add_values(
    found: dict[str, StoredRun], connection: sqlite3.Connection, where: str, ids: Sequence[str]
) -> None:
    names: dict[str, str] = {}
    same = names.setdefault  # ten thousand runs share their few keys: one text each
    for table in ("params", "tags"):
        last, place = "", {}
        for run_id, key, value in connection.execute(
            f"select run_uuid, key, value from {table} {where}", ids
        ):
            if run_id != last:
                run = found.get(run_id)
                place = {} if run is None else run.params if table == "params" else run.tags
                last = run_id
            place[same(key, key)] = value
    last, numbers = "", {}
    for run_id, key, value, nan in connection.execute(
        f"select run_uuid, key, value, is_nan from latest_metrics {where}", ids
    ):
        if run_id != last:
            run = found.get(run_id)
            numbers = {} if run is None else run.metrics
            last = run_id
        numbers[same(key, key)] = number(value, nan) if nan or not -_LARGEST < value < _LARGEST else value


def stored_runs(database: Path, *, limit: int | None = None) -> list[StoredRun]:
    """Return the runs of a store by newest, all or so many; none when there is no store (yet).

    Raises:
        UnknownForm: only MLflow can read it.
    """
    if not database.is_file():
        return []
    with closing(connect(database)) as connection:
        if not is_made(connection):
            return []
        ids = None if limit is None else newest(connection, limit)
        late = Late(loader(database))
        return list(runs(connection, ids, late=late, uri=f"sqlite:///{database}").values())


def first_runs(database: Path, count: int, *, by: str = "", descending: bool = False) -> list[StoredRun]:
    """Return the first runs in the order of a metric, or by newest: a first page."""
    with closing(connect(database)) as connection:
        if not is_made(connection):
            return []
        ids = newest(connection, count, by=by, descending=descending)
        late = Late(loader(database))
        return list(runs(connection, ids, late=late, uri=f"sqlite:///{database}").values())


def loader(database: Path) -> Any:
    """Return what reads what is read only when it is asked for."""

    def load(what: str, name: str) -> dict[str, Any]:
        with closing(connect(database)) as connection:
            return extremes(connection, name) if what == "extremes" else datasets(connection)

    return load


def extremes(connection: sqlite3.Connection, key: str) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest value of a metric in each run, NaN left out."""
    rows = connection.execute(
        "select run_uuid, min(value), max(value) from metrics where key = ? and not is_nan group by run_uuid",
        (key,),
    )
    return {run_id: (number(low, 0), number(high, 0)) for run_id, low, high in rows}


def datasets(connection: sqlite3.Connection) -> dict[str, list[tuple[str, str, str | None]]]:
    """Return (name, digest, context) of the data sets of each run; none in a store older than they are."""
    try:
        rows = connection.execute(
            """select i.destination_id, d.name, d.digest, t.value
               from inputs i join datasets d on i.source_id = d.dataset_uuid
               left join input_tags t on t.input_uuid = i.input_uuid and t.name = 'mlflow.data.context'"""
        ).fetchall()
    except sqlite3.OperationalError:
        return {}
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    for run_id, name, digest, context in rows:
        found.setdefault(run_id, []).append((name, digest, context))
    return found


def metric_history(database: Path, mlflow_run_id: str, key: str) -> list[tuple[int, float]]:
    """Return (step, value) of one metric in step order; the last of re-logged points counts.

    The last is what was written last: MLflow's index has the rows in that order; by time they would be sorted
    once more.
    """
    if not database.is_file():
        return []
    with closing(connect(database)) as connection:
        # A dictionary made from rows as they come: a hundred thousand points are no loop of Python's.
        found = dict(
            connection.execute(
                """select step, case when is_nan then null else value end from metrics
                   where run_uuid = ? and key = ? order by step, rowid""",
                (mlflow_run_id, key),
            )
        )
    values = found.values()
    if values and (None in values or not -_LARGEST < min(values) <= max(values) < _LARGEST):
        return [(step, math.nan if value is None else number(value, 0)) for step, value in found.items()]
    return list(found.items())


def metric_times(database: Path, mlflow_run_id: str, key: str) -> dict[int, float]:
    """Return when each step of one metric was logged, in seconds of Unix time, in step order."""
    if not database.is_file():
        return {}
    with closing(connect(database)) as connection:
        rows = connection.execute(
            """select step, timestamp / 1000.0 from metrics
               where run_uuid = ? and key = ? order by step, rowid""",
            (mlflow_run_id, key),
        )
        return dict(rows)


def thinned(
    connection: sqlite3.Connection, mlflow_run_id: str, key: str, parts: int
) -> tuple[list[float | None], list[bool]]:
    """Return the means of a metric over so many equal spans of steps, and where it was no finite number."""
    asked = {"run": mlflow_run_id, "key": key, "parts": parts, "most": _LARGEST}
    rows = connection.execute(
        """with points as (select step, value, is_nan from metrics where run_uuid = :run and key = :key),
                span as (select min(step) as first, max(step) - min(step) + 1 as steps from points)
           select (step - first) * min(:parts, steps) / steps as part,
                  avg(case when is_nan or abs(value) >= :most then null else value end),
                  max(is_nan or abs(value) >= :most)
           from points, span group by part""",
        asked,
    ).fetchall()
    means: list[float | None] = [None] * (1 + max((part for part, _, _ in rows), default=-1))
    bad = [False] * len(means)
    for part, mean, wrong in rows:
        means[part], bad[part] = mean, bool(wrong)
    return means, bad


def change_stamp(database: Path) -> tuple[int, int]:
    """Return something that changes when the store does, without opening it."""
    stamps = [
        p.stat().st_mtime_ns for p in (database, database.with_name(database.name + "-wal")) if p.exists()
    ]
    return (len(stamps), max(stamps, default=0))


def number(value: float, nan: int) -> float:
    """Turn a stored number back into what was logged."""
    if nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value
