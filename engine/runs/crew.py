"""All processes of a run on this machine: its engine, the supervisor, torchrun and the ranks, and strays.

A process belongs to a run when process.json names it, when it is in a session that such a process leads, or
when its environment says so (what a launcher or a supervisor wrote there). The replicator to MLflow is none
of them: it outlives the run to tell how it ended. Looks, and never signals.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from engine.runs.folder import RunFolder
from engine.runs.process import (
    Identity,
    all_pids,
    boot_id,
    identify,
    is_alive,
    leads_session,
    session_of,
)

RUN = "SPECTUI_RUN"
"""Environment of a detached engine and of all it starts: which run it is for."""
RANKED = "SPECTUI_RANKED"
"""Environment of the processes of a run of several."""
ROOT = "SPECTUI_ROOT"


def named(folder: RunFolder) -> list[Identity]:
    """Return who process.json names: first the one to ask to stop (the supervisor, where there is one)."""
    data = folder.read_json(folder.process)
    found = [_read(data.get("supervisor")), _read(data)]
    return list(dict.fromkeys(one for one in found if one is not None))


def crew(folder: RunFolder) -> list[Identity]:
    """Return every living process of a run on this machine, the one to ask first."""
    known = [one for one in named(folder) if is_alive(one)]
    found = dict.fromkeys(known)
    sessions = {one.pid for one in known if leads_session(one)}
    root = str(folder.path.parent.parent)
    for pid in all_pids():
        if pid == os.getpid():
            continue
        if (sessions and session_of(pid) in sessions) or _marked(pid, folder.run_id, root):
            identity = identify(pid)
            if identity.start_time:
                found[identity] = None
    return list(found)


def elsewhere(folder: RunFolder) -> str | None:
    """Return the other host that a run is on; None when it is here or nowhere."""
    hosts = {one.host for one in named(folder)} - {socket.gethostname()}
    return min(hosts) if hosts and not any(is_alive(one) for one in named(folder)) else None


def another_boot(folder: RunFolder) -> bool:
    """Tell whether this machine was restarted since the run was at work on it."""
    people = [one for one in named(folder) if one.host == socket.gethostname()]
    return bool(people) and all(one.boot_id != boot_id() for one in people)


def _read(data: Any) -> Identity | None:
    if not isinstance(data, dict):
        return None
    try:
        return Identity.read(data)
    except (KeyError, TypeError, ValueError):
        return None


def _marked(pid: int, run_id: str, root: str) -> bool:
    """Tell whether a process was started for this run of this workspace."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's
        return False
    names = {f"{name}={run_id}".encode() for name in (RUN, RANKED)}
    if names.isdisjoint(words):
        return False
    return f"{ROOT}={root}".encode() in words
