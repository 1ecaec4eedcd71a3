"""Checks of the place: disk, file system, clock, log-out, and the MLflow store. Only looks."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from engine.doctor.check import OK, PROBLEM, WARNING, Check
from engine.runs import find, survive
from engine.track import store
from engine.words import say
from engine.workspace import Workspace

_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "fuse.sshfs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "9p",
    "afs",
)
_LITTLE, _NOTHING = 2e9, 1e8
_AHEAD_SECONDS = 60.0


def checks(workspace: Workspace) -> list[Check]:
    """Return what is to be said of the place that a workspace is in."""
    return [_disk(workspace), _file_system(workspace), _logout(), _clock(workspace)]


def store_checks(workspace: Workspace) -> list[Check]:
    """Return what is to be said of the MLflow store."""
    found = []
    look: Any = getattr(store, "problems", None)
    for problem in look(workspace) if look is not None else []:
        found.append(Check(f"store.{problem.kind}", PROBLEM, problem.text))
    database = workspace.mlflow_db
    if _journal(database) == 2 and file_system(database.parent) in _NETWORK:
        found.append(Check("store.wal", PROBLEM, say("doctor.wal"), say("doctor.wal_do")))
    return found or [Check("store", OK, say("doctor.store_ok"))]


def file_system(folder: Path, mounts: str | None = None) -> str:
    """Return the kind of file system that a folder is on; '' where nobody knows."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    deepest, kind, path = -1, "", folder.resolve()
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        words = before.split()
        if len(words) < 5 or not after:
            continue
        point = Path(words[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), after.split()[0]
    return kind


def _disk(workspace: Workspace) -> Check:
    free = shutil.disk_usage(workspace.root).free
    amount = f"{free / 1e9:.1f}"
    if free < _NOTHING:
        return Check("disk", PROBLEM, say("doctor.disk", free=amount), say("doctor.disk_do"))
    if free < _LITTLE:
        return Check("disk", WARNING, say("doctor.disk", free=amount), say("doctor.disk_do"))
    return Check("disk", OK, say("doctor.disk", free=amount))


def _file_system(workspace: Workspace) -> Check:
    kind = file_system(workspace.root)
    if kind in _NETWORK:
        return Check("file_system", WARNING, say("doctor.network", kind=kind), say("doctor.network_do"))
    return Check("file_system", OK, say("doctor.file_system", kind=kind or "?"))


def _logout() -> Check:
    if not survive.killed_at_logout():
        return Check("logout", OK, say("doctor.logout_ok"))
    if survive.scope_works():
        linger = "" if survive.lingers() else say("doctor.linger_do")
        return Check("logout", OK if survive.lingers() else WARNING, say("doctor.logout_scope"), linger)
    return Check("logout", PROBLEM, say("doctor.logout"), say("doctor.logout_do"))


def _clock(workspace: Workspace) -> Check:
    """Compare the clock with the newest event log: it cannot have been written in the future."""
    newest, name = 0.0, ""
    for path in find.folders(workspace):
        try:
            written = (path / "events.jsonl").stat().st_mtime
        except OSError:
            continue
        newest, name = max((newest, name), (written, path.name))
    if newest > time.time() + _AHEAD_SECONDS:
        ahead = f"{(newest - time.time()) / 60:.0f}"
        return Check("clock", WARNING, say("doctor.clock", run=name, minutes=ahead), say("doctor.clock_do"))
    return Check("clock", OK, say("doctor.clock_ok"))


def _journal(database: Path) -> int | None:
    """Return the format of a SQLite file: 2 is a write-ahead log."""
    try:
        with database.open("rb") as file:
            head = file.read(20)
    except OSError:
        return None
    return head[18] if len(head) == 20 and head.startswith(b"SQLite format 3") else None
