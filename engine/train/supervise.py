"""A run of several processes: start torchrun, hand on the wish to stop, start again from the last checkpoint.

torchrun's own restarts are not used: after one process died they often hang. A fresh torchrun from the newest
checkpoint is what works. How the run ended is read from its folder: torchrun says 1 for everything. No torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from engine import exit_codes
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.runs.launch import ask_to_stop, child_environment
from engine.train.attempt import whole_record
from engine.train.report import Report
from engine.train.stop import Stop
from engine.words import say
from engine.workspace import Workspace

_POLL_SECONDS = 0.2
_ASK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Processes:
    """How many processes, on how many machines; `restarts` is how often a crash is answered by going on."""

    per_node: int = 1
    nodes: int = 1
    node: int = 0
    endpoint: str | None = None
    restarts: int = 0

    @property
    def several(self) -> bool:
        return self.per_node > 1 or self.nodes > 1


def supervise(workspace: Workspace, run: RunFolder, processes: Processes, stop: Stop) -> int:
    """Train a run folder with several processes and return the exit code of the run."""
    report = Report()
    tries = 0
    while True:
        code = _torchrun(workspace, run, processes, stop)
        record = whole_record(run)
        if processes.node > 0:
            return code
        if record.end is not None:
            return int(record.end.get("exit_code", exit_codes.FAILED))
        if tries >= processes.restarts or stop.asked:
            break
        tries += 1
        report.line(say("train.restarting", code=code, tries=tries, restarts=processes.restarts))
    text = say("train.process_died", code=code, run=run.run_id)
    events = EventLog(run.events)
    events.append("end", outcome="failed", exit_code=exit_codes.FAILED, message=text)
    events.close()
    report.line(text)
    return exit_codes.FAILED


def _torchrun(workspace: Workspace, run: RunFolder, processes: Processes, stop: Stop) -> int:
    if processes.nodes > 1:
        where = [
            "--nnodes", str(processes.nodes), "--node-rank", str(processes.node), "--rdzv-backend", "c10d",
            "--rdzv-endpoint", str(processes.endpoint), "--rdzv-id", "spectui",
        ]  # fmt: skip
    else:
        where = ["--standalone"]
    ours = ["-m", "engine", "--root", str(workspace.root), "train", "--run", run.run_id]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *where]
    child = subprocess.Popen(
        [*torchrun, "--nproc-per-node", str(processes.per_node), *ours],
        stdin=subprocess.DEVNULL,
        # its own session: the terminal's Ctrl-C comes to us alone, and we ask the first rank to save
        start_new_session=True,
        cwd=workspace.root,
        env={"OMP_NUM_THREADS": _threads(processes.per_node)} | child_environment() | {"SPECTUI_RANKED": "1"},
    )
    asked_at: float | None = None
    while (code := child.poll()) is None:
        if stop.asked and (asked_at is None or time.monotonic() - asked_at > _ASK_AGAIN_SECONDS):
            asked_at = time.monotonic()
            if not ask_to_stop(run):
                child.send_signal(signal.SIGTERM)
        time.sleep(_POLL_SECONDS)
    return code


def _threads(processes: int) -> str:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return str(max(1, cpus // processes))
