"""Start an engine that outlives whoever started it, and ask one to stop.

The child gets its own session, no stdin, and files for output: a closed terminal or a killed parent never
reaches it. Where logind ends what a login leaves, it gets a scope of its own too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import engine
from engine.errors import BadInput
from engine.runs import crew, survive
from engine.runs.folder import RunFolder, note_process
from engine.runs.locks import locked
from engine.runs.process import identify, is_alive, send
from engine.words import language, say
from engine.workspace import Workspace

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def start(
    workspace: Workspace,
    folder: RunFolder,
    *,
    again: bool = False,
    environment: Mapping[str, str] | None = None,
    words: Sequence[str] = (),
    **facts: Any,
) -> int:
    """Start the engine on a run folder, detached; return its pid.

    `again` goes on with a run that has begun. `environment` is added to the child's (which GPU it sees),
    `words` to its command line (how many processes); `facts` are noted in process.json beside who it is.

    Raises:
        BadInput: an engine is at work on the run.
        OSError: it cannot be started, or nothing can be written; no engine is left.
    """
    # Two people who go on with one run at once: the second sees the first one's engine.
    with locked(workspace.runs / ".launch.lock"):
        for one in crew.named(folder):
            if is_alive(one):
                raise BadInput(say("train.still_running", run=folder.run_id, pid=one.pid))
        return _start(workspace, folder, ["--again"] if again else [], environment, words, facts)


def _start(
    workspace: Workspace, folder: RunFolder, again: list[str], environment: Mapping[str, str] | None,
    words: Sequence[str], facts: Mapping[str, Any],
) -> int:  # fmt: skip
    command = [sys.executable, "-m", "engine", "--root", str(workspace.root), "train", "--run"]
    marks = {crew.RUN: folder.run_id, crew.ROOT: str(workspace.root), "SPECTUI_LANG": language()}
    with folder.log.open("ab") as log, signals_held():
        child = subprocess.Popen(
            [*survive.prefix(), *command, folder.run_id, *again, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd=workspace.root,
            env=child_environment() | marks | dict(environment or {}),
        )
    try:
        note_process(folder, identity=identify(child.pid), **facts)
    except BaseException:
        # Nobody could tell it from a stray, and its own notes would fail as well.
        child.kill()
        child.wait()
        raise
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
    """Return the environment of a detached child: this code importable, output unbuffered.

    Not whose run the parent is: a replicator that an engine starts must outlive it.
    """
    environment = dict(os.environ)
    environment.pop(crew.RUN, None)
    home = str(Path(engine.__file__).resolve().parent.parent)
    others = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p and p != home]
    environment["PYTHONPATH"] = os.pathsep.join([home, *others])
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def ask_to_stop(folder: RunFolder) -> bool:
    """Ask the engine of a run to save and stop (SIGTERM); False when it is not alive here or not ours."""
    for one in crew.named(folder):
        try:
            if send(one, signal.SIGTERM):
                return True
        except PermissionError:
            return False
    return False
