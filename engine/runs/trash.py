"""The trash of a workspace: runs/.trash/<run_id>/. Removing moves, restoring moves back, emptying deletes.

MLflow follows in a process of its own: its run is soft-deleted and restored. A run that only MLflow knows
leaves a stub here, which restoring needs.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.runs import crew
from engine.runs.folder import RunFolder, write_json
from engine.runs.locks import locked
from engine.runs.process import hold_lock
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

_REMOVED = "removed.json"
_EMPTYING = ".emptying-"
_RESTORED = ".restored-"
_STRAY_SECONDS = 3600.0


@dataclass(frozen=True)
class Trashed:
    """A run in the trash. `freed` is what emptying gives back: files that MLflow shares stay."""

    run_id: str
    name: str
    removed_at: float
    size: int
    freed: int
    only_mlflow: bool
    path: Path

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path)}


def place(workspace: Workspace) -> Path:
    """Return the folder of the trash; it need not be there."""
    return workspace.runs / ".trash"


def remove(workspace: Workspace, record: Record) -> None:
    """Move a run to the trash; MLflow's soft delete follows.

    Raises:
        BadInput: it is at work, waits in the queue, or is not there any more.
    """
    trash = place(workspace)
    with locked(workspace.runs / ".acts.lock"):
        record.refresh()
        if record.stored is None:
            _check_free(record)
        elif record.stored.get("live"):
            raise BadInput(say("trash.live_in_mlflow", run=record.run_id))
        trash.mkdir(exist_ok=True)
        target = RunFolder(trash / record.run_id)
        if target.path.exists():
            raise BadInput(say("trash.there_already", run=record.run_id))
        if record.stored is None:
            record.folder.path.rename(target.path)
        else:
            _make_stub(workspace, target, record)
        with contextlib.suppress(OSError):  # on a full disk too: the time is the folder's own then
            removed = {"removed": time.time(), "user": _user(), "only_mlflow": record.stored is not None}
            write_json(target.path / _REMOVED, removed)
    _mlflow("start_forget", workspace, target)


def listing(workspace: Workspace) -> list[Trashed]:
    """Return the runs in the trash, the last removed first."""
    found = [_trashed(path) for path in _folders(workspace)]
    return sorted(found, key=lambda one: one.removed_at, reverse=True)


def restore(workspace: Workspace, words: Sequence[str]) -> list[str]:
    """Move runs back; return their ids. A word is a run id, a unique prefix of one, or a name.

    Raises:
        BadInput: there is no such run in the trash, or one of this id is among the runs; nothing was moved.
    """
    with locked(workspace.runs / ".acts.lock"):
        picked = chosen(workspace, words)
        taken = [one.run_id for one in picked if (workspace.runs / one.run_id).exists()]
        if taken:
            raise BadInput([say("trash.taken", run=run_id) for run_id in taken])
        for one in picked:
            if one.only_mlflow:
                # the process that asks MLflow reads it: swept later
                back = one.path.with_name(f"{_RESTORED}{one.run_id}")
                one.path.rename(back)
                os.utime(back)
            else:
                back = workspace.runs / one.run_id
                one.path.rename(back)
                (back / _REMOVED).unlink(missing_ok=True)
            _mlflow("start_restore", workspace, RunFolder(back))
    return [one.run_id for one in picked]


def empty(workspace: Workspace, run_ids: Iterable[str] | None = None) -> int:
    """Delete runs of the trash for good, all of them by default; return the bytes that were freed.

    Raises:
        BadInput: there is no such run in the trash; nothing was deleted.
        OSError: something could not be deleted.
    """
    with locked(workspace.runs / ".acts.lock"):
        picked = listing(workspace) if run_ids is None else chosen(workspace, list(run_ids))
        doomed = []
        for one in picked:
            # Out of sight first: what a kill leaves half-deleted is never taken for a run.
            gone = one.path.with_name(f"{_EMPTYING}{one.run_id}")
            one.path.rename(gone)
            doomed.append(gone)
    freed = sum(one.freed for one in picked)
    for path in doomed:
        shutil.rmtree(path)
    sweep(workspace)
    return freed


def chosen(workspace: Workspace, words: Sequence[str]) -> list[Trashed]:
    """Return the runs of the trash that words mean: a run id, a unique prefix of one, or a name.

    Raises:
        BadInput: every word that means none, or more than one.
    """
    there = listing(workspace)
    picked: dict[str, Trashed] = {}
    problems = []
    for word in words:
        fits = [one for one in there if one.run_id == word] or [
            one for one in there if one.run_id.startswith(word)
        ]
        fits = fits or [one for one in there if one.name == word]
        if len(fits) == 1:
            picked[fits[0].run_id] = fits[0]
        elif fits:
            names = ", ".join(one.run_id for one in fits[:5])
            problems.append(say("runs.ambiguous", run=word, names=names))
        else:
            problems.append(say("trash.unknown", run=word))
    if problems:
        raise BadInput(problems)
    return list(picked.values())


def strays(workspace: Workspace) -> list[Path]:
    """Return what a killed process left in the trash: half-deleted runs, stubs that have served."""
    trash = place(workspace)
    if not trash.is_dir():
        return []
    old = time.time() - _STRAY_SECONDS
    found = [path for path in trash.glob(f"{_EMPTYING}*") if path.is_dir()]
    for path in trash.glob(f"{_RESTORED}*"):
        with contextlib.suppress(OSError):
            found += [path] if path.stat().st_mtime < old else []
    return found


def sweep(workspace: Workspace) -> list[Path]:
    """Take away what a killed process left in the trash; return it."""
    found = strays(workspace)
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return found


def size_of(path: Path) -> tuple[int, int]:
    """Return what a folder takes on the disk, and what deleting it would give back, in bytes."""
    seen: dict[tuple[int, int], list[int]] = {}
    for above, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                stat = (Path(above) / name).lstat()
                one = seen.setdefault((stat.st_dev, stat.st_ino), [stat.st_blocks * 512, stat.st_nlink, 0])
                one[2] += 1
    taken = sum(size for size, _, _ in seen.values())
    return taken, sum(size for size, links, here in seen.values() if here >= links)


def _check_free(record: Record) -> None:
    """Refuse a run that is at work: by its state, its processes, and the lock that an engine holds."""
    folder = record.folder
    if not folder.path.is_dir():
        raise BadInput(say("acts.gone", run=record.run_id))
    if record.state == "queued":
        raise BadInput(say("acts.waits", run=record.run_id))
    if record.live or crew.crew(folder):
        raise BadInput(say("trash.live", run=record.run_id))
    try:
        handle = hold_lock(folder.lock)
    except OSError:  # a full disk: the lock was never made, so nobody holds it
        return
    if handle is None:
        raise BadInput(say("trash.live", run=record.run_id))
    os.close(handle)


def _make_stub(workspace: Workspace, target: RunFolder, record: Record) -> None:
    from engine.track import store

    stored: dict[str, Any] = record.stored or {}
    target.path.mkdir()
    write_json(target.identity, {"run_id": record.run_id, "name": record.name, "model": record.model})
    settings = {"uri": store.tracking_uri(workspace, None), "run_id": stored["run_id"]}
    write_json(target.tracking, settings)


def _folders(workspace: Workspace) -> list[Path]:
    trash = place(workspace)
    if not trash.is_dir():
        return []
    return [path for path in trash.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _trashed(path: Path) -> Trashed:
    folder = RunFolder(path)
    removed, identity = folder.read_json(path / _REMOVED), folder.read_json(folder.identity)
    about = folder.read_json(folder.about)
    taken, freed = size_of(path)
    when = removed.get("removed")
    return Trashed(
        run_id=path.name,
        name=str(about.get("name") or identity.get("name") or path.name),
        removed_at=float(when) if isinstance(when, int | float) else path.stat().st_ctime,
        size=taken,
        freed=freed,
        only_mlflow=bool(removed.get("only_mlflow")),
        path=path,
    )


def _mlflow(act: str, workspace: Workspace, folder: RunFolder) -> None:
    """Have MLflow follow, in a process of its own, where a run is known there."""
    if not folder.tracking.is_file():
        return
    try:
        sync = importlib.import_module("engine.track.sync")
    except ModuleNotFoundError:
        return
    getattr(sync, act)(workspace, folder)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
