"""Replicate the runs of a workspace into one MLflow store, from a process of its own.

    python -m engine.track.replicate ROOT

One process serves all runs of a store (of one user): sixteen that each load MLflow would cost the training
more than all points together. It is started on demand, ends when there is nothing to do, and can be killed
at any time: what it does is in the run folders, and the next one goes on. Training never waits for it and
never dies of it. It outlives the engine by as long as it takes to see how the run ended: an engine that was
killed leaves an MLflow run closed as KILLED, not RUNNING for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from engine.runs import find as folders
from engine.runs.folder import RunFolder
from engine.runs.launch import child_environment
from engine.runs.locks import is_held
from engine.track import database, store
from engine.track.follow import BusyError, Follower, is_whole, place_of, uri_of
from engine.workspace import Workspace

_URI = "SPECTUI_REPLICATE_INTO"
_INTERVAL_SECONDS = 1.0
_LINGER_SECONDS = 3.0
_TAKE_OVER_SECONDS = 3.0
_TRIES = 5
_LONGEST_WAIT_SECONDS = 30.0
_NICE = 5
_HINTS = ("(raised as a result", "[SQL:", "[parameters:", "(Background on this error")


class Tracker:
    """What a run that ends asks about its replication."""

    def __init__(self, workspace: Workspace, folder: RunFolder, uri: str) -> None:
        self._workspace, self._folder, self._uri = workspace, folder, uri
        self._process: subprocess.Popen[bytes] | None = None
        self._again = True
        self._place = place(workspace, uri)

    def poll(self) -> int | None:
        """Return 0 when MLflow has it all, None while that is being done, 1 when nobody does it any more."""
        if is_whole(self._folder):
            return 0
        if self._process is not None and self._process.poll() is None:
            return None
        if is_served(self._place):
            return None
        if self._again and not self.problem():
            self._again = False  # it was killed, or went as the wish came
            self.begin()
            return None
        return 1

    def problem(self) -> str:
        """Return why the last try failed; empty when it did not."""
        state = self._folder.read_json(self._folder.tracking)
        return str((state.get("problem") or {}).get("text", ""))

    def begin(self) -> None:
        """Ask for the run to be served, by a process that is there or by a new one."""
        wishes = self._place / "wishes"
        wishes.mkdir(parents=True, exist_ok=True)
        (wishes / self._folder.run_id).touch()
        if is_served(self._place):
            return  # it looks for wishes after it let its lock go, too
        with (self._place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engine.track.replicate", str(self._workspace.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._workspace.root,
                # Not among the words of the command: a URI may hold a password.
                env=store.QUIET | child_environment() | {_URI: self._uri},
            )


def start(workspace: Workspace, folder: RunFolder) -> Tracker:
    """See to it that a run is replicated, detached; safe at any time, also for one in the trash."""
    tracker = Tracker(workspace, folder, uri_of(workspace, folder))
    tracker.begin()
    return tracker


def place(workspace: Workspace, uri: str) -> Path:
    """Return the folder in which the process that serves a store is found and asked."""
    name = hashlib.sha256(uri.encode()).hexdigest()[:12]
    return workspace.cache / "mlflow" / f"{os.getuid()}-{name}"


def is_served(where: Path) -> bool:
    """Tell whether a process serves the store of this place."""
    return is_held(where / "lock")


def serve(workspace: Workspace, uri: str) -> None:
    """Serve a store until nothing is left to do; return at once when another process does."""
    where = place(workspace, uri)
    (where / "wishes").mkdir(parents=True, exist_ok=True)
    caught_up = False
    while True:
        with (where / "lock").open("a") as lock:
            if not _take(lock):
                return
            lock.truncate(0)
            print(os.getpid(), file=lock, flush=True)  # for people who look
            _serve(workspace, uri, where / "wishes", caught_up)
        caught_up = True
        # A wish that was made while the lock was still held has nobody else to see it.
        if not any((where / "wishes").iterdir()):
            return


def _take(lock: Any) -> bool:
    """Take a lock that others hold for a blink to look whether it is held."""
    deadline = time.monotonic() + _TAKE_OVER_SECONDS
    while True:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


class _Served:
    """A run that is being served: its follower, and how often in a row it failed."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.failures = self.tries = 0
        self.next_at = 0.0

    def failed(self, text: str) -> bool:
        """Note a failure; tell whether it is time to give the run up, for a later catch-up."""
        self.failures += 1
        self.next_at = time.monotonic() + min(_LONGEST_WAIT_SECONDS, 2 ** min(self.failures, 5) / 2)
        self.follower.trouble(text)
        self.tries += not self.follower.live
        return self.tries >= _TRIES

    def succeeded(self) -> None:
        self.failures = self.tries = 0
        self.next_at = 0.0


def _serve(workspace: Workspace, uri: str, wishes: Path, caught_up: bool) -> None:
    served: dict[str, _Served] = {}
    if not any(wishes.iterdir()):  # another one died at work
        _leftovers(workspace, uri, served)
    idle_since = time.monotonic()
    while workspace.root.is_dir():
        _hear(workspace, uri, wishes, served)
        more = False
        for run_id, run in list(served.items()):
            if run.next_at > time.monotonic():
                continue
            ended = None
            try:
                more = run.follower.advance() or more
            except Exception as error:  # noqa: BLE001 - whatever the store does, no run is harmed; it is said
                if _is_ours(error):
                    traceback.print_exc()
                if run.failed(_reason(workspace, error)):
                    ended = "given up"
                if _is_away(error):
                    for other in served.values():
                        other.next_at = max(other.next_at, run.next_at)
            else:
                run.succeeded()
                if not caught_up:
                    # The store is there: bring what was left behind when it was not.
                    caught_up = True
                    _leftovers(workspace, uri, served)
            folder = run.follower.folder
            if ended or is_whole(folder, run.follower.state) or not folder.identity.is_file():
                run.follower.release()
                del served[run_id]
        if served or any(wishes.iterdir()):
            idle_since = time.monotonic()
            if not more:
                time.sleep(_INTERVAL_SECONDS)
        elif time.monotonic() - idle_since > _LINGER_SECONDS:
            return
        else:
            time.sleep(0.1)


def _hear(workspace: Workspace, uri: str, wishes: Path, served: dict[str, _Served]) -> None:
    """Take up the runs that are wished for; one that failed is tried again at once."""
    wishes.mkdir(parents=True, exist_ok=True)  # the cache may be thrown away at any time
    for wish in sorted(wishes.iterdir()):
        folder = place_of(workspace, wish.name)
        known = served.get(wish.name)
        if known is not None and (folder is None or known.follower.folder.path != folder.path):
            known.follower.release()  # it went to the trash, or came back
            del served[wish.name]
            known = None
        if known is not None:
            known.succeeded()
        elif folder is not None and not _take_up(workspace, uri, folder, served):
            continue  # another process is at it: the wish stays
        wish.unlink(missing_ok=True)


def _take_up(workspace: Workspace, uri: str, folder: RunFolder, served: dict[str, _Served]) -> bool:
    try:
        follower = Follower(workspace, folder)
    except BusyError:
        return False
    if follower.uri != uri:
        follower.release()
    else:
        served[folder.run_id] = _Served(follower)
    return True


def _leftovers(workspace: Workspace, uri: str, served: dict[str, _Served]) -> None:
    for path in folders.folders(workspace):
        folder = RunFolder(path)
        state = folder.read_json(folder.tracking)
        if state.get("uri") and folder.run_id not in served and not is_whole(folder, state):
            _take_up(workspace, uri, folder, served)


def _is_away(error: Exception) -> bool:
    """Tell whether an error speaks of the store, and not of one run."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return bool(error.get_http_status_code() >= 500)
    return isinstance(error, database.OtherVersionError | sqlite3.Error | ConnectionError | TimeoutError)


def _is_ours(error: Exception) -> bool:
    """Tell whether an error is a fault of this program, to be found in the log with its traceback."""
    return not isinstance(error, OSError | sqlite3.Error | database.OtherVersionError) and not hasattr(
        error, "get_http_status_code"
    )


def _reason(workspace: Workspace, error: Exception) -> str:
    if isinstance(error, database.OtherVersionError):
        return store.other_version(workspace, error)
    # SQLAlchemy puts what happened between hints and the whole statement.
    lines = [line for line in str(error).splitlines() if line and not line.startswith(_HINTS)]
    return f"{type(error).__name__}: {lines[0] if lines else error}"[:500]


def replicate(workspace: Workspace, folder: RunFolder) -> str:
    """Follow one run in this process until it is whole in MLflow; return the MLflow run id."""
    follower = Follower(workspace, folder)
    try:
        while True:
            more = follower.advance()
            if is_whole(folder, follower.state):
                return follower.run_id
            if not more:
                time.sleep(_INTERVAL_SECONDS)
    finally:
        follower.release()


def _step_back() -> None:
    """Let training go first: less of a core that both want, and no step that is interrupted by our waking."""
    os.nice(_NICE)
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # some containers allow no change
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main(argv: list[str]) -> int:
    _step_back()
    workspace = Workspace(Path(argv[0]))
    serve(workspace, os.environ.get(_URI) or store.tracking_uri(workspace, None))
    return 0


if __name__ == "__main__":
    os.environ.update({name: value for name, value in store.QUIET.items() if name not in os.environ})
    sys.exit(main(sys.argv[1:]))
