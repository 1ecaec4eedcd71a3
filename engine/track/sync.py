"""Which runs MLflow does not have whole, and bringing them there. No MLflow, no torch.

Looks at the run folders alone; the work is done by the detached replicator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.runs import find as folders
from engine.runs.folder import RunFolder
from engine.runs.locks import is_held
from engine.runs.record import Record
from engine.track import replicate
from engine.track.follow import TRASH, is_whole, uri_of
from engine.workspace import Workspace

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Behind:
    """A run that MLflow does not have whole."""

    folder: RunFolder
    uri: str
    waiting: int
    """Events that wait."""
    problem: str
    """Why the last try failed; empty when nobody tried."""

    @property
    def run_id(self) -> str:
        return self.folder.run_id


@dataclass(frozen=True)
class Outcome:
    """How the catch-up of one run went."""

    run_id: str
    uri: str
    done: bool
    waiting: int
    mlflow_run_id: str | None
    problem: str


def behind(workspace: Workspace, run_ids: Iterable[str] | None = None) -> list[Behind]:
    """Return the runs that are behind and that nobody is at, those in the trash too, newest first.

    A run that waits in the queue, and one whose conf wants no MLflow, is not behind.
    """
    wanted = None if run_ids is None else set(run_ids)
    found: list[Behind] = []
    for path in [*folders.folders(workspace), *_trash(workspace)]:
        if wanted is not None and path.name not in wanted:
            continue
        folder = RunFolder(path)
        state = folder.read_json(folder.tracking)
        if is_whole(folder, state):
            continue
        if not state.get("run_id"):
            record = Record(path, keep_curves=False)
            if folder.queued.exists() or not (record.conf().get("tracking") or {}).get("enabled", True):
                continue
        if is_held(folder.tracking_lock) and not state.get("problem"):
            continue
        problem = str((state.get("problem") or {}).get("text", ""))
        found.append(Behind(folder, uri_of(workspace, folder), _waiting(folder, state), problem))
    return found


def start(workspace: Workspace, folder: RunFolder) -> replicate.Tracker:
    """(Re)start the replication of one run, detached; safe at any time."""
    return replicate.start(workspace, folder)


def start_forget(workspace: Workspace, folder: RunFolder) -> replicate.Tracker:
    """Let MLflow's soft delete follow a run that is in the trash now, detached."""
    return replicate.start(workspace, folder)


def start_restore(workspace: Workspace, folder: RunFolder) -> replicate.Tracker:
    """Take the soft delete back for a run that is out of the trash again, detached."""
    return replicate.start(workspace, folder)


def catch_up(
    workspace: Workspace,
    runs: list[Behind],
    tell: Callable[[Outcome], None] = lambda outcome: None,
    *,
    patience: float = _PATIENCE_SECONDS,
) -> list[Outcome]:
    """Bring runs into MLflow and wait for it; `tell` hears of each as soon as it is decided.

    A run that still trains is done when MLflow has what it had said when this began.
    """
    began = time.time()
    sizes = {one.run_id: _size(one.folder) for one in runs}
    trackers = {one.run_id: start(workspace, one.folder) for one in runs}
    left = {one.run_id: one for one in runs}
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + patience
    while left:
        for run_id, one in list(left.items()):
            state = one.folder.read_json(one.folder.tracking)
            done = is_whole(one.folder, state) or _has(state, sizes[run_id], one.folder)
            problem = state.get("problem") or {}
            failed = float(problem.get("time", 0.0)) >= began
            lost = trackers[run_id].poll() == 1 and not is_whole(one.folder)
            if not (done or failed or lost or time.monotonic() > deadline):
                continue
            del left[run_id]
            waiting = 0 if done else _waiting(one.folder, state)
            text = "" if done else str(problem.get("text", ""))
            outcomes.append(Outcome(run_id, one.uri, done, waiting, state.get("run_id"), text))
            tell(outcomes[-1])
        if left:
            time.sleep(_POLL_SECONDS)
    return outcomes


def _has(state: dict[str, Any], size: int, folder: RunFolder) -> bool:
    if not state.get("run_id") or state.get("problem") or int(state.get("cursor", 0)) < size:
        return False
    record = Record(folder.path, keep_curves=False)
    record.refresh()
    return record.live


def _trash(workspace: Workspace) -> list[Path]:
    trash = workspace.runs / TRASH
    return [p for p in trash.iterdir() if (p / "run.json").is_file()] if trash.is_dir() else []


def _size(folder: RunFolder) -> int:
    try:
        return folder.events.stat().st_size
    except OSError:
        return 0


def _waiting(folder: RunFolder, state: dict[str, Any]) -> int:
    """Return how many events come after the cursor."""
    try:
        with folder.events.open("rb") as file:
            file.seek(int(state.get("cursor", 0)))
            return sum(1 for _ in file)
    except OSError:
        return 0
