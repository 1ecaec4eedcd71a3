"""What the queue keeps: its order and settings in runs/.queue/queue.json, and who waits in queued.json.

Every change is made under one lock and written whole, so that several people and processes lose nothing.
Where the two disagree, the folders are right: a run that says it waits and has no place goes to the end, a
place whose run does not wait is dropped.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.runs.folder import RunFolder, write_json
from engine.words import say
from engine.workspace import Workspace

AUTO = "auto"
POLICIES = ("continue", "pause")
_THREADS = threading.Lock()
"""A file lock is one of the whole process: its threads need another."""


@dataclass
class State:
    """The order of the runs that wait, and how the queue is set."""

    order: list[str] = field(default_factory=list)
    paused: bool = False
    paused_by: str = ""
    """Who paused it: a person, or the run that failed."""
    slots: str = AUTO
    """'auto', a number of runs at once, or 'cpu:N' (so many runs as there are N CPUs for)."""
    policy: str = "continue"
    started: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Runs that the queue started and whose end it has not yet seen."""

    def waiting(self, known: Iterable[str]) -> list[str]:
        """Return those of the runs that wait, in order."""
        waits = dict.fromkeys(known)
        placed = [run_id for run_id in dict.fromkeys(self.order) if run_id in waits]
        return placed + [run_id for run_id in waits if run_id not in set(placed)]


def place(workspace: Workspace) -> Path:
    """Return the folder of the queue's own files."""
    return workspace.runs / ".queue"


def read(workspace: Workspace) -> State:
    """Return the state as it stands; that of an untouched queue when there is none (or it is damaged)."""
    data = RunFolder(place(workspace)).read_json(place(workspace) / "queue.json")
    state = State()
    for name, default in asdict(state).items():
        if isinstance(data.get(name), type(default)):
            setattr(state, name, data[name])
    state.order = [str(run_id) for run_id in state.order]
    return state


@contextlib.contextmanager
def changing(workspace: Workspace) -> Iterator[State]:
    """Give the state to change, alone; it is written when the block ends without an exception.

    Raises:
        BadInput: the queue's files cannot be written by this user.
    """
    folder = place(workspace)
    with _THREADS:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # as writable for others as this user's files are: a shared workspace is a matter of the umask
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise BadInput(say("queue.not_writable", place=folder, error=error.strerror or error)) from error
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX)
            state = read(workspace)
            before = asdict(state)
            yield state
            if asdict(state) != before:
                try:
                    write_json(folder / "queue.json", asdict(state))
                except PermissionError as error:
                    text = say("queue.not_writable", place=folder, error=error.strerror or error)
                    raise BadInput(text) from error
        finally:
            os.close(handle)
