"""Read MLflow's SQLite store by plain SQL: 20 ms and 14 MB, where importing MLflow takes seconds.

Reads six tables that have not changed for years, by column name, read-only. NaN is stored as 0.0 with a
flag and infinity as the largest double: both are turned back here, so a diverged loss never looks perfect.
"""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

STATES = {
    "RUNNING": "running",
    "SCHEDULED": "queued",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "stopped",
}
_LARGEST = 1.7976931348623157e308
_TABLES = {"experiments", "runs", "params", "tags", "latest_metrics", "metrics"}


@dataclass
class StoredRun:
    """One run of the store."""

    mlflow_run_id: str
    name: str
    experiment: str
    status: str
    started_at: float
    ended_at: float | None
    artifact_uri: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The run's state in our words."""
        return self.tags.get("spectui.state") or STATES.get(self.status, "failed")


def stored_runs(database: Path, *, limit: int = 1000) -> list[StoredRun]:
    """Return the newest runs of every experiment that are not deleted; none when there is no store (yet)."""
    if not database.is_file():
        return []
    with closing(_open(database)) as connection:
        if not _is_made(connection):
            return []
        rows = connection.execute(
            """select r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.artifact_uri
               from runs r join experiments e on e.experiment_id = r.experiment_id
               where r.lifecycle_stage = 'active' order by r.start_time desc limit ?""",
            (limit,),
        ).fetchall()
        found = {
            uuid: StoredRun(
                uuid,
                name or uuid[:8],
                experiment,
                status,
                (start or 0) / 1000,
                end / 1000 if end else None,
                uri or "",
            )
            for uuid, name, experiment, status, start, end, uri in rows
        }
        for ids in _chunks(list(found)):
            marks = ",".join("?" * len(ids))
            for uuid, key, value in connection.execute(
                f"select run_uuid, key, value from params where run_uuid in ({marks})", ids
            ):
                found[uuid].params[key] = value
            for uuid, key, value in connection.execute(
                f"select run_uuid, key, value from tags where run_uuid in ({marks})", ids
            ):
                found[uuid].tags[key] = value
            for uuid, key, value, nan in connection.execute(
                f"select run_uuid, key, value, is_nan from latest_metrics where run_uuid in ({marks})", ids
            ):
                found[uuid].metrics[key] = _value(value, nan)
    return list(found.values())


def metric_history(database: Path, mlflow_run_id: str, key: str) -> list[tuple[int, float]]:
    """Return (step, value) of one metric in step order; the last of re-logged points counts."""
    if not database.is_file():
        return []
    with closing(_open(database)) as connection:
        rows = connection.execute(
            "select step, value, is_nan from metrics where run_uuid = ? and key = ? order by step, timestamp",
            (mlflow_run_id, key),
        )
        return list({step: _value(value, nan) for step, value, nan in rows}.items())


def change_stamp(database: Path) -> tuple[int, int]:
    """Return something that changes when the store does, without opening it."""
    stamps = [
        p.stat().st_mtime_ns for p in (database, database.with_name(database.name + "-wal")) if p.exists()
    ]
    return (len(stamps), max(stamps, default=0))


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)


def _is_made(connection: sqlite3.Connection) -> bool:
    """Tell whether the tables are all there: MLflow takes seconds to make a new database, table by table."""
    there = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    if not there >= _TABLES:
        return False
    # The last columns that we read came by later migrations than their tables.
    return all(
        column in {row[1] for row in connection.execute(f"pragma table_info({table})")}
        for table, column in (("runs", "lifecycle_stage"), ("latest_metrics", "is_nan"))
    )


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[i : i + 500] for i in range(0, len(ids), 500)]


def _value(value: float, nan: int) -> float:
    if nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value
