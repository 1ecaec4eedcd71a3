"""Follow one SQLite store: the runs that it has, kept true by reading only what changed.

MLflow has no change feed. SQLite says cheaply that somebody else wrote (`data_version`) and how far tables
grew (rowids); what is changed in place (a rename, a tag, an end) is found by comparing, and what that costs
is spread so that it stays a small share of a core. Never writes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.track import read
from engine.track.stored import Late, StoredRun

# Of one core: what looking for changes in place may take.
_SHARE = 0.012
_FIRST_PAGE = 100
_PATIENCE_SECONDS = 0.2
_GROWING = ("runs", "params", "tags", "metrics")
_AT_ONCE = 2048
_DIGESTS = {
    "runs": "group_concat(ifnull(name, '') || '|' || status || ifnull(end_time, '') || lifecycle_stage)",
    "tags": "group_concat(value)",
}


class _Spread:
    """A costly look that is taken at once after a quiet time, and seldom when it is always due."""

    def __init__(self) -> None:
        self._next = 0.0
        self.due = False

    def take(self, look: Callable[[], Any]) -> Any:
        """Return what the look says, or None when it has to wait: then it stays due."""
        self.due = True
        if time.monotonic() < self._next:
            return None
        began = time.thread_time()
        found = look()
        self._next = time.monotonic() + (time.thread_time() - began) / _SHARE
        self.due = False
        return found


class StoreFeed:
    """The runs of one store by MLflow run id; a run that changed is another object."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.runs: dict[str, StoredRun] = {}
        self.error = ""
        self.late = Late(read.loader(database), waits=False)
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version = -1
        self._grown: dict[str, int] = {}
        self._digests: dict[str, list[int]] = {}
        self._counts: dict[str, int] = {}
        self._open: list[str] = []
        """Runs that have not ended, as the store has it."""
        self._states: dict[str, str] = {}
        self._runs_look, self._tags_look, self._late_look = _Spread(), _Spread(), _Spread()

    def tick(self, first_page: Callable[[], Any] = lambda: None) -> bool:
        """Look for changes; tell whether there are some. Called from one thread, a few times a second.

        `first_page` is called when the newest runs are there and the rest is still to be read.

        Raises:
            UnknownForm: only MLflow can read the store.
        """
        try:
            changed = self._look(first_page)
        except sqlite3.Error as error:
            # The rows that are there stay. Locked: somebody writes, the next look will do.
            busy = "locked" in str(error) or "busy" in str(error)
            self.error = "" if busy else f"{self.database.name}: {error}"
            if not busy:
                self.close()
            return False
        self.error = ""
        return self._processes_ended() or changed

    def close(self) -> None:
        """Let go of the store; the next look opens it again and reads it whole."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._file = None, None

    def _look(self, first_page: Callable[[], Any]) -> bool:
        try:
            stat = self.database.stat()
        except (FileNotFoundError, NotADirectoryError):
            self.close()
            had, self.runs = bool(self.runs), {}
            return had
        file = (stat.st_dev, stat.st_ino)
        if self._connection is None or file != self._file:
            self.close()
            self._connection = read.connect(self.database, patience=_PATIENCE_SECONDS)
            self._version = -1
        version = self._connection.execute("pragma data_version").fetchone()[0]
        if version == self._version and not (self._runs_look.due or self._tags_look.due):
            return self._catch_up()
        # One transaction, so that all that is read is of one moment.
        self._connection.execute("begin")
        try:
            if self._version == -1 or not self._grew(self._connection):
                changed = self._read_whole(self._connection, first_page)
            else:
                changed = self._read_changes(self._connection)
        finally:
            self._connection.execute("rollback")
        self._version, self._file = version, file
        if changed:
            self.late.grow_stale()
        return self._catch_up() or changed

    def _grew(self, connection: sqlite3.Connection) -> bool:
        """Tell whether no table became shorter: else rows were renumbered, and nothing known holds."""
        return all(self._most(connection, table) >= had for table, had in self._grown.items())

    @staticmethod
    def _most(connection: sqlite3.Connection, table: str) -> int:
        return int(connection.execute(f"select ifnull(max(rowid), 0) from {table}").fetchone()[0])

    def _read_whole(self, connection: sqlite3.Connection, first_page: Callable[[], Any]) -> bool:
        had = self.runs
        if not read.is_made(connection):
            self.runs, self._grown = {}, {}
            return bool(had)
        uri = f"sqlite:///{self.database}"
        if not had:
            self.runs = read.runs(connection, read.newest(connection, _FIRST_PAGE), late=self.late, uri=uri)
            first_page()
        self.runs = read.runs(connection, late=self.late, uri=uri)
        self._grown = {table: self._most(connection, table) for table in _GROWING}
        for table in _DIGESTS:
            self._changed_rows(connection, table)
        self._note_open()
        self._runs_look.due = self._tags_look.due = False
        return self.runs != had

    def _changed_rows(self, connection: sqlite3.Connection, table: str) -> list[int] | None:
        """Return where a table changed since the last call, by the first row of each stretch.

        None when rows are gone: everything may have moved.
        """
        before, count = self._digests.get(table, []), self._counts.get(table, 0)
        ask = f"select {_DIGESTS[table]} from {table} where rowid > ? and rowid <= ?"
        firsts = range(0, self._most(connection, table), _AT_ONCE)
        now = [hash(connection.execute(ask, (n, n + _AT_ONCE)).fetchone()[0]) for n in firsts]
        self._digests[table] = now
        self._counts[table] = connection.execute(f"select count(*) from {table}").fetchone()[0]
        if self._counts[table] < count:
            return None
        return [n for i, n in enumerate(firsts) if i >= len(before) or now[i] != before[i]]

    def _note_open(self) -> None:
        self._open = [
            run.mlflow_run_id for run in self.runs.values() if run.status in ("RUNNING", "SCHEDULED")
        ]

    def _read_changes(self, connection: sqlite3.Connection) -> bool:
        if not self._grown:
            return self._read_whole(connection, lambda: None)
        touched = set(self._open)
        for table, had in self._grown.items():
            self._grown[table] = most = self._most(connection, table)
            if most > had:
                rows = connection.execute(f"select distinct run_uuid from {table} where rowid > ?", (had,))
                touched |= {run_id for (run_id,) in rows}
        gone: set[str] = set()
        places = self._runs_look.take(lambda: (self._changed_rows(connection, "runs"),))
        if places is not None and places[0] is None:
            return self._read_whole(connection, lambda: None)
        for first in places[0] if places is not None else ():
            self._look_at_runs(connection, first, touched, gone)
        touched |= self._tags_look.take(lambda: self._other_tags(connection)) or set()
        changed = bool(gone & set(self.runs))
        for run_id in gone:
            self.runs.pop(run_id, None)
        for run_id, run in read.runs(
            connection, sorted(touched - gone), late=self.late, uri=f"sqlite:///{self.database}"
        ).items():
            changed |= self.runs.get(run_id) != run
            self.runs[run_id] = run
        if changed:
            self._note_open()
        return changed

    def _look_at_runs(
        self, connection: sqlite3.Connection, first: int, touched: set[str], gone: set[str]
    ) -> None:
        """Add the runs of a stretch of rows that changed to `touched`, the deleted ones to `gone`."""
        for run_id, status, end, name, stage in connection.execute(
            """select run_uuid, status, end_time, name, lifecycle_stage from runs
               where rowid > ? and rowid <= ?""",
            (first, first + _AT_ONCE),
        ):
            run = self.runs.get(run_id)
            if stage != "active":
                gone.add(run_id)
            elif run is None or (run.status, run.ended_ms, run.name) != (status, end, name or run_id[:8]):
                touched.add(run_id)

    def _other_tags(self, connection: sqlite3.Connection) -> set[str]:
        """Return the runs whose tags were changed or taken away in place: that moves no rowid."""
        places = self._changed_rows(connection, "tags")
        if places is None:
            there = read.runs(connection, late=self.late)
            return {i for i, run in self.runs.items() if i in there and run.tags != there[i].tags}
        found: set[str] = set()
        for first in places:
            for run_id, key, value in connection.execute(
                "select run_uuid, key, value from tags where rowid > ? and rowid <= ?",
                (first, first + _AT_ONCE),
            ):
                run = self.runs.get(run_id)
                if run is not None and run.tags.get(key) != value:
                    found.add(run_id)
        return found

    def _catch_up(self) -> bool:
        return self.late.wants() and self._late_look.take(self.late.catch_up) is not None

    def _processes_ended(self) -> bool:
        """Tell whether a run that claims to run was left by its process: no store says so."""
        states = {run_id: self.runs[run_id].state for run_id in self._open if run_id in self.runs}
        changed, self._states = states != self._states, states
        return changed
