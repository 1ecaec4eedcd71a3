"""Keeps the list of runs true while the app is open, off the UI thread.

Directories are watched (watchdog); the few live runs are polled at their tails, which also works where
inotify sees nothing (network file systems); of ended ones only the folder's own stamp is looked at. MLflow's
stores are followed by what changes in them. Merging and sorting is done here too, in the thread that reads.
Owns no widgets: it tells the app through a callback.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.runs.record import Record
from engine.track import listing
from engine.track.feed import StoreFeed
from engine.track.read import UnknownForm
from engine.track.remote import RemoteFeed
from engine.words import say
from engine.workspace import Workspace

# Directories are looked at this often even when no event came: network file systems send none. Looking takes
# at most this share of the time, so that ten thousand run folders do not keep a core busy.
_LISTING_SECONDS = 5.0
_LISTING_SHARE = 0.02
_STORES_SECONDS = 30.0
_FIRST_ROWS = 50  # are shown before the rest is read
_BEST = ("val_loss", "train_loss")


class RunFeed:
    """The runs of a workspace, newest first; `rows` is replaced as a whole, never changed in place."""

    def __init__(
        self, workspace: Workspace, changed: Callable[[], Any], confs_changed: Callable[[], Any]
    ) -> None:
        self.workspace = workspace
        self.rows: list[Record] = []
        self.error = ""
        self.error_since = 0.0
        """Of when the rows are that could not be read again since."""
        self._folder_error = ""
        self.updated_at = 0.0
        self.loaded = False
        self._changed = changed
        self._confs_changed = confs_changed
        self._records: dict[str, Record] = {}
        self._stamps: dict[str, int] = {}
        """When each run folder was last changed: something in it made, renamed or removed."""
        self._live: list[Record] = []
        self._rows_live: list[Record] = []
        self._feeds: dict[str, StoreFeed | RemoteFeed] = {}
        self._stored: dict[str, Record] = {}
        self._wake = threading.Event()
        self._listing_due = True
        self._listing_at = self._stores_at = 0.0
        self._closed = False
        self._observer: Any = None
        self._watched = False

    def run(self, cancelled: Callable[[], bool], seconds: float) -> None:
        """Refresh until cancelled or closed; meant for a thread worker."""
        if self._closed:
            return
        try:
            while not (cancelled() or self._closed):
                changed = self._list(cancelled)
                changed |= self._refresh()
                changed |= self._read_stores()
                self.updated_at = time.time()
                if changed or not self.loaded:
                    self.loaded = True
                    self._publish()
                if not self._watched:
                    # Not before the first rows: importing what watches takes longer than reading them.
                    self._watched = self._listing_due = True
                    self._watch()
                    continue
                self._wake.wait(seconds)
                self._wake.clear()
        finally:
            for feed in self._feeds.values():
                feed.close()
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

    def live_ids(self) -> set[str]:
        """Return the runs with a folder here that are at work or wait for it."""
        return {row.run_id for row in self._rows_live if row.stored is None}

    def live(self) -> int:
        """Return how many runs are at work: not those that wait in the queue."""
        return sum(row.live and row.state != "queued" for row in self._rows_live)

    def _list(self, cancelled: Callable[[], bool]) -> bool:
        """Look which run folders there are, and read again those in which something was made or renamed."""
        now = time.monotonic()
        if not self._listing_due and now < self._listing_at:
            return False
        self._listing_due = False
        began = time.thread_time()
        try:
            stamps = self._folders()
            self._folder_error = ""
        except OSError as error:
            # The rows that are there stay, and say how old they are.
            stamps, self._folder_error = dict(self._stamps), _away(self.workspace.runs, error)
        took = time.thread_time() - began
        self._listing_at = now + min(_LISTING_SECONDS, took / _LISTING_SHARE)
        gone = [name for name in self._records if name not in stamps]
        for name in gone:
            del self._records[name]
        touched = [name for name, stamp in stamps.items() if self._stamps.get(name) != stamp]
        changed, new, shown_at = bool(gone), 0, _FIRST_ROWS
        for name in touched:
            if cancelled():
                return False
            record = self._records.get(name)
            if record is None:
                record = self._new(name)
                new += record is not None
                changed = True
                if new >= shown_at:
                    # Each time twice as many: to merge and arrange them takes as long as to read as many.
                    shown_at *= 2
                    self._publish()
            else:
                changed |= self._look(record)
        self._stamps = stamps
        # What has not ended, though its process is gone, may yet be heard of: it is on another machine.
        for record in self._records.values():
            if record.end is None:
                changed |= self._look(record)
        self._live = [record for record in self._records.values() if record.live]
        return changed

    def _new(self, name: str) -> Record | None:
        path = self.workspace.runs / name
        try:
            record = Record(path, keep_curves=False)
        except OSError as error:
            self._folder_error = _away(path, error)
            return None
        self._records[name] = record
        self._look(record)
        return record

    def _look(self, record: Record) -> bool:
        """Read what is new of a run; one that cannot be read now stays as it was."""
        try:
            return record.refresh()
        except OSError as error:
            self._folder_error = _away(record.folder.path, error)
            return False

    def _folders(self) -> dict[str, int]:
        """Return the run folders, newest first, with what changes when something in them does."""
        found: dict[str, int] = {}
        try:
            with os.scandir(self.workspace.runs) as entries:
                for entry in entries:
                    if entry.name in self._records or self._is_run(entry):
                        found[entry.name] = entry.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            pass
        return dict(sorted(found.items(), key=lambda pair: pair[1], reverse=True))

    @staticmethod
    def _is_run(entry: os.DirEntry[str]) -> bool:
        try:
            return not entry.name.startswith(".") and Path(entry.path, "run.json").is_file()
        except PermissionError:
            return False

    def _refresh(self) -> bool:
        # A run that ended can only change by a file that is made or renamed, which its folder's stamp tells.
        changed = [self._look(record) for record in self._live]
        if any(changed):
            self._live = [record for record in self._records.values() if record.live]
        return any(changed)

    def _read_stores(self) -> bool:
        changed = False
        now = time.monotonic()
        if now >= self._stores_at:
            self._stores_at = now + _STORES_SECONDS
            uris = listing.uris(self.workspace)
            for uri in [uri for uri in self._feeds if uri not in uris]:
                self._feeds.pop(uri).close()
                changed = True
            for uri in uris:
                database = listing.local_database(uri)
                if uri not in self._feeds:
                    self._feeds[uri] = RemoteFeed(uri) if database is None else StoreFeed(database)
        for uri, feed in list(self._feeds.items()):
            before = feed.error
            try:
                changed |= feed.tick(self._publish)
            except UnknownForm:
                feed.close()
                self._feeds[uri] = RemoteFeed(uri)
            changed |= feed.error != before
        error = self._folder_error or next((feed.error for feed in self._feeds.values() if feed.error), "")
        if error and not self.error:
            self.error_since = self.updated_at or time.time()
        changed |= error != self.error
        self.error = error
        return changed

    def _publish(self) -> None:
        stored = [run for feed in self._feeds.values() for run in list(feed.runs.values())]
        rows = listing.merged(self.workspace, self._records.values(), stored, self._stored)
        self._stored = {row.run_id: row for row in rows if row.stored is not None}
        listing.set_best(self._stored.values(), _BEST)
        self._rows_live = [row for row in rows if row.live]
        self.rows = rows
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


def _away(path: Path, error: OSError) -> str:
    return say("runs.folder_away", folder=path.name, error=error.strerror or error)
