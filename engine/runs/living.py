"""Which runs of a workspace are at work on this host, and which folders wait to be started.

Knows them by process.json and queued.json alone and reads a file again only when it was replaced, so that it
can be asked twice a second in a workspace of thousands of runs. Never writes.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from engine.runs.folder import RunFolder
from engine.runs.process import Identity, identify, is_alive
from engine.workspace import Workspace

Stamp = tuple[int, int]


class Living:
    """The runs of a workspace that are at work on this host, kept up to date by looking at what changed."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.waiting: dict[str, dict[str, Any]] = {}
        """What queued.json says, of each run folder that has one."""
        self.running: dict[str, dict[str, Any]] = {}
        """What process.json says, of each run whose process lives on this host."""
        self.looked_at = 0.0
        """When every folder was last looked at (monotonic)."""
        self._processes: dict[str, Stamp] = {}
        self._queued: dict[str, Stamp] = {}

    def look(self, *, processes: bool = True) -> None:
        """Look at every run folder; without `processes` only for what waits."""
        self.looked_at = time.monotonic()
        names = self._names()
        for gone in (self._processes.keys() | self._queued.keys()) - names:
            self._forget(gone)
        for name in names:
            self.look_at(name, processes=processes)
        self.drop_dead()

    def look_at(self, run_id: str, *, processes: bool = True) -> None:
        """Read what changed in one run folder."""
        folder = RunFolder(self.workspace.runs / run_id)
        stamp = _stamp(folder.queued)
        if stamp is None:
            self._queued.pop(run_id, None)
            self.waiting.pop(run_id, None)
        elif stamp != self._queued.get(run_id):
            self._queued[run_id] = stamp
            self.waiting[run_id] = folder.read_json(folder.queued)
        if not processes:
            return
        stamp = _stamp(folder.process)
        if stamp is None:
            self._processes.pop(run_id, None)
            self.running.pop(run_id, None)
        elif stamp != self._processes.get(run_id):
            self._processes[run_id] = stamp
            process = folder.read_json(folder.process)
            if lives(process):
                self.running[run_id] = process
            else:
                self.running.pop(run_id, None)

    def drop_dead(self) -> None:
        """Forget those whose process is gone."""
        for run_id in [r for r, process in self.running.items() if not lives(process)]:
            # somebody may have gone on with it since it was read
            del self.running[run_id]
            self.look_at(run_id)

    def _names(self) -> set[str]:
        try:
            with os.scandir(self.workspace.runs) as found:
                return {entry.name for entry in found if not entry.name.startswith(".")}
        except FileNotFoundError:
            return set()

    def _forget(self, run_id: str) -> None:
        for kept in (self._processes, self._queued, self.waiting, self.running):
            kept.pop(run_id, None)


def lives(process: dict[str, Any]) -> bool:
    """Tell whether what a process.json names lives on this host."""
    try:
        return bool(process) and is_alive(Identity.read(process)) is True
    except (KeyError, ValueError, TypeError):
        return False


def unnoted_engines(workspace: Workspace) -> dict[str, Identity]:
    """Return the launched engines of this workspace that live, by run; process.json need not name them.

    Whoever starts an engine may be killed before it wrote down whom it started: the words of the process
    itself still say which run it is. Its forks say the same, but lead no session. Nothing is found where
    there is no /proc; the run's own lock, which a second engine does not get, guards there.
    """
    found: dict[str, Identity] = {}
    root = os.fsencode(workspace.root)
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--run" in words and b"--root" in words and root in words:
            run_id = os.fsdecode(words[words.index(b"--run") + 1])
            identity = identify(int(place.parent.name))
            if identity.start_time and _leads(identity.pid):  # without a start time it is gone by now
                found[run_id] = identity
    return found


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except OSError:
        return False


def here() -> str:
    """Return the name of this host, as run folders note it."""
    return socket.gethostname()


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return stat.st_mtime_ns, stat.st_ino
