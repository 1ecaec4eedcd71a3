"""Checks of the runs: deaths that MLflow was not told, processes left over, strays, torn logs, the queue."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.doctor.check import MENDED, OK, PROBLEM, WARNING, Check
from engine.runs import about, crew, death, find, queue, trash
from engine.runs.folder import RunFolder
from engine.runs.process import Identity, hold_lock, is_alive, send
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

_STRAY_SECONDS = 3600.0
_ENDING_SECONDS = 600.0
"""An engine that wrote its end may go on so long: it waits for MLflow."""
_TERM_SECONDS = 5.0


def checks(workspace: Workspace, repair: bool) -> list[Check]:
    """Return what is to be said of the runs; with `repair`, after mending what is safe."""
    records = find.records(workspace)
    found = [
        *_deaths(records, repair),
        *_leftovers(workspace, records, repair),
        *_torn(records, repair),
        *_strays(workspace, repair),
        *_bad_checkpoints(records),
        *_queue(workspace, records, repair),
    ]
    problems = any(check.status != OK for check in found)
    return found if problems else [Check("runs", OK, say("doctor.runs_ok", count=len(records)))]


def _deaths(records: list[Record], repair: bool) -> Iterator[Check]:
    for record in records:
        tracked = record.folder.read_json(record.folder.tracking)
        if record.state != "died" or not tracked.get("run_id") or "closed" in tracked:
            continue
        known = death.what_is_known(record)
        why = "" if known is None else known.line()
        text = say("doctor.died", run=record.run_id, why=why)
        if repair:
            about.close(record)
        yield Check("died", MENDED if repair else PROBLEM, text, say("doctor.died_do", run=record.run_id))


def _leftovers(workspace: Workspace, records: list[Record], repair: bool) -> Iterator[Check]:
    """Find living processes of runs that have ended, died, or are not there any more."""
    states = {record.run_id: record for record in records}
    for run_id, people in crew.everybody(workspace.root).items():
        record = states.get(run_id)
        if record is not None and (record.live or _is_ending(record)):
            continue
        pids = ", ".join(str(one.pid) for one in people)
        text = say("doctor.leftover", run=run_id, pids=pids)
        mended = repair and _end(people)
        yield Check("leftover", MENDED if mended else PROBLEM, text, "" if mended else say("doctor.repair"))


def _is_ending(record: Record) -> bool:
    """Tell whether a run has just written its end, and its engine waits for MLflow."""
    return (
        record.end is not None
        and time.time() - float(record.end["time"]) < _ENDING_SECONDS
        and any(is_alive(one) for one in crew.named(record.folder))
    )


def _end(people: list[Identity]) -> bool:
    for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _TERM_SECONDS)):
        for one in people:
            with contextlib.suppress(PermissionError):
                send(one, number)
        deadline = time.monotonic() + seconds
        while any(is_alive(one) for one in people) and time.monotonic() < deadline:
            time.sleep(0.05)
    return not any(is_alive(one) for one in people)


def _torn(records: list[Record], repair: bool) -> Iterator[Check]:
    """Find event logs that end in half a line: readers skip it, the next attempt ends it."""
    for record in records:
        if record.live or not _is_torn(record.folder.events):
            continue
        mended = repair and _end_line(record.folder)
        text = say("doctor.torn", run=record.run_id)
        yield Check("torn", MENDED if mended else WARNING, text, "" if mended else say("doctor.repair"))


def _is_torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return False
            file.seek(size - 1)
            return file.read(1) != b"\n"
    except OSError:
        return False


def _end_line(folder: RunFolder) -> bool:
    with contextlib.suppress(OSError):
        handle = hold_lock(folder.lock)
        if handle is None:
            return False
        try:
            if _is_torn(folder.events):
                with folder.events.open("ab") as file:
                    file.write(b"\n")
        finally:
            os.close(handle)
        return True
    return False


def _strays(workspace: Workspace, repair: bool) -> Iterator[Check]:
    """Find what killed processes left: half-made runs, half-deleted ones, temporary files."""
    if not workspace.runs.is_dir():
        return
    old = [path for path in _unfinished(workspace) if _age(path) > _STRAY_SECONDS]
    for path in [*old, *trash.strays(workspace)]:
        text = say("doctor.stray", path=workspace.relative(path))
        mended = repair and _delete(path)
        yield Check("stray", MENDED if mended else WARNING, text, "" if mended else say("doctor.repair"))


def _unfinished(workspace: Workspace) -> Iterator[Path]:
    yield from workspace.runs.glob(".new-*")
    for pattern in (".*.tmp", "checkpoints/.*.tmp"):
        yield from workspace.runs.glob(f"*/{pattern}")


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _delete(path: Path) -> bool:
    remove: Callable[[Path], Any] = shutil.rmtree if path.is_dir() else os.unlink
    try:
        remove(path)
    except OSError:
        return False
    return True


def _bad_checkpoints(records: list[Record]) -> Iterator[Check]:
    for record in records:
        names = ", ".join(path.name for path in sorted(record.folder.checkpoints.glob("*.bad")))
        if names:
            text = say("doctor.bad_checkpoint", run=record.run_id, names=names)
            yield Check("bad_checkpoint", WARNING, text, say("doctor.bad_checkpoint_do"))


def _queue(workspace: Workspace, records: list[Record], repair: bool) -> Iterator[Check]:
    """Find runs that wait with nobody there to start them."""
    waiting = [record for record in records if record.state == "queued"]
    if not waiting:
        return
    if queue.owners(workspace):
        return
    if repair:
        queue.ensure_owner(workspace)
    mended = repair and bool(queue.owners(workspace))
    text = say("doctor.queue", count=len(waiting))
    yield Check("queue", MENDED if mended else PROBLEM, text, "" if mended else say("doctor.repair"))
