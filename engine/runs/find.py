"""Which runs there are, and which one a user means.

Owns the folder listing and the meaning of RUN on the command line: a run id, a unique prefix of it, a run
name, an MLflow run id, or @last.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from engine.errors import BadInput
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace


def folders(workspace: Workspace) -> list[Path]:
    """Return the run folders, newest first."""
    if not workspace.runs.is_dir():
        return []
    found = [p for p in workspace.runs.iterdir() if not p.name.startswith(".") and (p / "run.json").is_file()]
    return sorted(found, key=lambda p: (_stamp(p.name), p.name), reverse=True)


def records(workspace: Workspace, *, keep_curves: bool = False) -> list[Record]:
    """Return every run, read up to date, newest first."""
    found = [Record(path, keep_curves=keep_curves) for path in folders(workspace)]
    for record in found:
        record.refresh()
    return sorted(found, key=lambda r: r.created_at, reverse=True)


def find(workspace: Workspace, word: str, *, keep_curves: bool = True) -> Record:
    """Return the run meant by `word`, read up to date.

    Raises:
        BadInput: nothing or more than one run is meant; names candidates.
    """
    paths = folders(workspace)
    if word == "@last":
        if not paths:
            raise BadInput(say("runs.none"))
        newest = max(paths, key=lambda p: Record(p).created_at)
        return _read(newest, keep_curves)
    exact = [p for p in paths if p.name == word]
    chosen = exact or [p for p in paths if p.name.startswith(word)]
    if not chosen:
        chosen = [p for p in paths if word in (Record(p).name, Record(p).mlflow_run_id())]
    if len(chosen) == 1:
        return _read(chosen[0], keep_curves)
    if chosen:
        raise BadInput(say("runs.ambiguous", run=word, names=", ".join(p.name for p in chosen[:5])))
    near = difflib.get_close_matches(word, [p.name for p in paths], n=3, cutoff=0.5)
    hint = say("conf.near", names=", ".join(near)) if near else say("runs.list_hint")
    raise BadInput(say("runs.unknown", run=word) + hint)


def _read(path: Path, keep_curves: bool) -> Record:
    record = Record(path, keep_curves=keep_curves)
    record.refresh()
    return record


def _stamp(name: str) -> str:
    """Return the time inside a run id, for a cheap newest-first order."""
    parts = name.rsplit("-", 3)
    return "".join(parts[-3:-1]) if len(parts) == 4 else ""
