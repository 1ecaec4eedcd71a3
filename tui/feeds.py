"""Keeps the list of runs true while the app is open, off the UI thread.

Directories are watched (watchdog); the few live runs are polled at their tails, which also works where
inotify sees nothing (network file systems). MLflow's store is read by plain SQL when its file changes.
Owns no widgets: it tells the app through a callback.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.runs import find
from engine.runs.record import Record
from engine.track import listing, read
from engine.workspace import Workspace

# Directories are looked at this often even when no event came: network file systems send none.
_LISTING_SECONDS = 5.0


class RunFeed:
    """The runs of a workspace, newest first; `rows` is replaced as a whole, never changed in place."""

    def __init__(
        self, workspace: Workspace, changed: Callable[[], Any], confs_changed: Callable[[], Any]
    ) -> None:
        self.workspace = workspace
        self.rows: list[Record] = []
        self.error = ""
        self.updated_at = 0.0
        self.loaded = False
        self._changed = changed
        self._confs_changed = confs_changed
        self._records: dict[str, Record] = {}
        self._stored: list[Record] = []
        self._stored_stamp: tuple[int, int] | None = None
        self._wake = threading.Event()
        self._listing_due = True
        self._closed = False
        self._observer: Any = None

    def run(self, cancelled: Callable[[], bool], seconds: float) -> None:
        """Refresh until cancelled or closed; meant for a thread worker."""
        if self._closed:
            return
        self._watch()
        listed_at = 0.0
        try:
            while not (cancelled() or self._closed):
                if self._listing_due or time.monotonic() - listed_at > _LISTING_SECONDS:
                    self._listing_due, listed_at = False, time.monotonic()
                    changed = self._list(cancelled)
                else:
                    changed = False
                changed |= self._refresh()
                changed |= self._read_store()
                self.updated_at = time.time()
                if changed or not self.loaded:
                    self.loaded = True
                    self._publish()
                self._wake.wait(seconds)
                self._wake.clear()
        finally:
            if self._observer is not None:
                self._observer.stop()
                self._observer.join(timeout=1)

    def poke(self) -> None:
        """Look again now."""
        self._listing_due = True
        self._wake.set()

    def close(self) -> None:
        """End for good, also when `run` has yet to begin."""
        self._closed = True
        self._wake.set()

    def live(self) -> int:
        """Return how many runs are live."""
        return sum(row.live for row in self.rows)

    def _list(self, cancelled: Callable[[], bool]) -> bool:
        paths = {path.name: path for path in find.folders(self.workspace)}
        gone = [name for name in self._records if name not in paths]
        for name in gone:
            del self._records[name]
        new = [name for name in paths if name not in self._records]
        for count, name in enumerate(new, 1):
            if cancelled():
                return False
            record = Record(paths[name], keep_curves=False)
            record.refresh()
            self._records[name] = record
            if count % 50 == 0:
                self._publish()
        if new or gone:
            self._stored_stamp = None
        return bool(new or gone)

    def _refresh(self) -> bool:
        # A run that ended can only change by being resumed, which its events' size tells; that is cheap.
        changed = [record.refresh() for record in self._records.values()]
        return any(changed)

    def _read_store(self) -> bool:
        stamp = read.change_stamp(self.workspace.mlflow_db)
        if stamp == self._stored_stamp:
            return False
        try:
            self._stored = listing.only_stored(self.workspace, set(self._records))
        except sqlite3.Error as error:
            # The rows that are there stay; the screen says that the store could not be read.
            self.error = f"mlflow.db: {error}"
            return False
        self.error = ""
        self._stored_stamp = stamp
        return True

    def _publish(self) -> None:
        rows = [*self._records.values(), *self._stored]
        self.rows = sorted(rows, key=lambda r: r.created_at, reverse=True)
        self._changed()

    def _watch(self) -> None:
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

        feed = self

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: Any) -> None:
                path = Path(str(event.src_path))
                if feed.workspace.runs in (path, *path.parents):
                    if event.is_directory and event.event_type in ("created", "deleted", "moved"):
                        feed.poke()
                elif event.event_type in ("created", "deleted", "moved", "modified"):
                    feed._confs_changed()

        observer = Observer()
        places = [(self.workspace.runs, False), (self.workspace.conf, True), (self.workspace.networks, False)]
        try:
            for place, deep in places:
                if place.is_dir():
                    observer.schedule(Handler(), str(place), recursive=deep)
            observer.start()
        except OSError:
            # No inotify watches left: the listing every few seconds does the same, later.
            return
        self._observer = observer
