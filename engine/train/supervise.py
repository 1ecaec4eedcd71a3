"""A run of several processes: start torchrun, hand on the wish to stop, start again from the last checkpoint.

torchrun's own restarts are not used: after one process died they often hang. A fresh torchrun from the newest
checkpoint is what works. How the run ended is read from its folder, or from what the processes told: torchrun
says 1 for everything. No torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engine import exit_codes
from engine.errors import BadInput
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process
from engine.runs.launch import child_environment
from engine.runs.process import hold_lock, identify
from engine.train import told
from engine.train.attempt import whole_record
from engine.train.report import Report
from engine.train.stop import Stop
from engine.train.told import Told
from engine.words import language, say
from engine.workspace import Workspace

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0  # for a torchrun that waits for other machines and has no process yet


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


@dataclass(frozen=True)
class _Ended:
    """How one torchrun ended: its exit code, what this machine's processes told, and its own problem."""

    code: int
    told: list[Told]
    problem: str

    @property
    def own(self) -> Told | None:
        """A process that ended for a reason of its own."""
        ended = (one for one in self.told if one.code and not one.lost)
        return next(ended, None)


def supervise(workspace: Workspace, run: RunFolder, processes: Processes, stop: Stop, report: Report) -> int:
    """Train a run folder with several processes, on the first machine; return the exit code of the run."""
    tries = 0
    while True:
        number = len(whole_record(run).attempts)
        count = processes.per_node * processes.nodes
        report.line(say("train.starting", count=count, machines=processes.nodes))
        facts = told.to_note(run) | {"supervisor": identify().plain()}
        note_process(run, attempt=number + 1, **facts)
        ended = _torchrun(workspace, run, processes, stop, report)
        record = whole_record(run)
        # an attempt that wrote nothing leaves the end of the one before
        end = record.end if len(record.attempts) > number else None
        own = ended.own
        if end is not None:
            code = int(end.get("exit_code", exit_codes.FAILED))
        else:
            code = exit_codes.FAILED if own is None or own.code is None else own.code
        if code != exit_codes.FAILED or tries >= processes.restarts or stop.by:
            break
        tries += 1
        report.line(say("train.restarting", code=ended.code, tries=tries, restarts=processes.restarts))
    if end is not None:
        return code
    if own is not None:
        outcome, text = "failed", own.said
    elif stop.by and not any(one.lost for one in ended.told):
        outcome, code, text = "stopped", exit_codes.STOPPED, say("train.stopped_empty", by=stop.by)
    elif ended.told:
        outcome, text = "failed", say("train.process_died", code=ended.code, run=run.run_id)
    else:
        outcome, text = "failed", say("train.no_torchrun", problem=ended.problem, run=run.run_id)
    _write_end(run, outcome, code, text)
    for line in text.splitlines():
        report.line(line)
    return code


def take_part(workspace: Workspace, processes: Processes, stop: Stop) -> int:
    """Lend this machine's processes to the run of the first machine; return the exit code of that run."""
    report = Report()
    tries = 0
    while True:
        ended = _torchrun(workspace, None, processes, stop, report)
        codes = [one.code for one in ended.told if one.code is not None and not one.lost]
        code = codes[0] if codes else exit_codes.FAILED
        if code != exit_codes.FAILED or tries >= processes.restarts or stop.by:
            break
        tries += 1
        report.line(say("train.restarting", code=ended.code, tries=tries, restarts=processes.restarts))
    if not ended.told:
        if stop.by:
            report.line(say("train.stopped_early", by=stop.by))
            return exit_codes.STOPPED
        report.line(say("train.no_meeting", endpoint=processes.endpoint, problem=ended.problem))
    elif code == exit_codes.FAILED:
        own = ended.own
        report.line(say("train.process_died_there", code=ended.code) if own is None else own.said)
    return code


def _write_end(run: RunFolder, outcome: str, code: int, text: str) -> None:
    if hold_lock(run.lock) is None:  # another engine is at work on it: its end is not ours to write
        raise BadInput(say("train.busy", run=run.run_id))
    events = EventLog(run.events)
    events.append("end", outcome=outcome, exit_code=code, message=text)
    events.close()


def _torchrun(
    workspace: Workspace, run: RunFolder | None, processes: Processes, stop: Stop, report: Report
) -> _Ended:
    where = ["--standalone"]
    if processes.nodes > 1:
        # The static meeting keeps the order of the machines: the first one has the run and writes it.
        where = [
            "--nnodes", str(processes.nodes), "--node-rank", str(processes.node), "--rdzv-backend", "static",
            "--rdzv-endpoint", str(processes.endpoint),
        ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="spectui-") as name:
        folder = Path(name)
        problem = folder / "problem.txt"
        log = folder / "log.txt" if run is None else run.log
        child = subprocess.Popen(
            [
                sys.executable, "-m", "engine.train.torchrun", str(log), str(problem), *where,
                "--nproc-per-node", str(processes.per_node), "-m", "engine", "train",
            ],
            stdin=subprocess.DEVNULL,
            # its own session: the terminal's Ctrl-C comes to us alone, and we ask the processes to save
            start_new_session=True,
            cwd=workspace.root,
            env={"OMP_NUM_THREADS": _threads(processes.per_node)} | child_environment() | {
                told.RUN: told.ANY_RUN if run is None else run.run_id, told.FOLDER: name,
                told.SUPERVISOR: json.dumps(identify().plain()),
                "SPECTUI_ROOT": str(workspace.root), "SPECTUI_LANG": language(),
                "TORCH_CPP_LOG_LEVEL": "ERROR",
            },
        )  # fmt: skip
        code = _wait(child, folder, stop, report, known=run is not None)
        ended = told.heard(folder)
        for one in ended:
            while one.alive:  # torchrun itself was killed; dead, they hold the lock no longer
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.identity.pid, signal.SIGKILL)
                time.sleep(_POLL_SECONDS)
        return _Ended(code, ended, problem.read_text(encoding="utf-8") if problem.exists() else str(code))


def _wait(child: subprocess.Popen[bytes], folder: Path, stop: Stop, report: Report, *, known: bool) -> int:
    """Wait for torchrun, handing on each wish to stop to a process of the run; return its exit code."""
    asked_at: float | None = None
    while (code := child.poll()) is None:
        processes = told.heard(folder)
        if not known and (run_id := next((one.run_id for one in processes if one.run_id), "")):
            known = True
            report.line(say("train.taking_part", run=run_id))
        if stop.asked:
            stop.asked = False  # it is in `by`; a second wish is handed on again
            asked_at = time.monotonic()
            alive = next((one for one in processes if one.alive), None)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid if alive is None else alive.identity.pid, signal.SIGTERM)
        elif asked_at is not None and not processes and time.monotonic() - asked_at > _GRACE_SECONDS:
            child.kill()
        time.sleep(_POLL_SECONDS)
    return code


def _threads(processes: int) -> str:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return str(max(1, cpus // processes))
