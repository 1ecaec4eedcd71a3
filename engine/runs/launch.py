"""Start an engine that outlives whoever started it, and ask one to stop.

The child gets its own session, no stdin, and files for output: a closed terminal or a killed parent never
reaches it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import engine
from engine.runs.folder import RunFolder, note_process
from engine.runs.process import Identity, identify, is_alive
from engine.workspace import Workspace

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def start(
    workspace: Workspace,
    folder: RunFolder,
    *,
    again: bool = False,
    environment: Mapping[str, str] | None = None,
    **facts: Any,
) -> int:
    """Start the engine on a run folder, detached; return its pid.

    `again` goes on with a run that has begun. `environment` is added to the child's (which GPU it sees);
    `facts` are noted in process.json beside who it is.
    """
    words = ["train", "--run", folder.run_id, *(["--again"] if again else [])]
    with folder.log.open("ab") as log, signals_held():
        child = subprocess.Popen(
            [sys.executable, "-m", "engine", "--root", str(workspace.root), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd=workspace.root,
            env=child_environment() | dict(environment or {}),
        )
    note_process(folder, identity=identify(child.pid), **facts)
    return child.pid


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Start children whose signals wait until they are ready for them.

    A process inherits what its parent blocks. One that is asked to stop while Python starts would die without
    a word; held back, the wish arrives when the engine can note it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def child_environment() -> dict[str, str]:
    """Return the environment of a detached child: this code importable, output unbuffered."""
    environment = dict(os.environ)
    home = str(Path(engine.__file__).resolve().parent.parent)
    others = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p and p != home]
    environment["PYTHONPATH"] = os.pathsep.join([home, *others])
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def ask_to_stop(folder: RunFolder) -> bool:
    """Ask the engine of a run to save and stop (SIGTERM); False when it is not alive here or not ours."""
    data = folder.read_json(folder.process)
    if not data:
        return False
    identity = Identity.read(data)
    if not is_alive(identity):
        return False
    try:
        os.kill(identity.pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        return False
    return True
