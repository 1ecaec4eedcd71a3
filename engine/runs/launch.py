"""Start an engine that outlives whoever started it, and ask one to stop.

The child gets its own session, no stdin, and files for output: a closed terminal or a killed parent never
reaches it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import engine
from engine.runs.folder import RunFolder, note_process
from engine.runs.process import Identity, identify, is_alive
from engine.workspace import Workspace


def start(workspace: Workspace, folder: RunFolder) -> int:
    """Start the engine on a run folder, detached; return its pid."""
    with folder.log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "engine", "--root", str(workspace.root), "train", "--run", folder.run_id],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd=workspace.root,
            env=child_environment(),
        )
    note_process(folder, identity=identify(child.pid), attempt=1)
    return child.pid


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
