"""One list of runs: the run folders, and what the MLflow stores have.

A run that has a folder is told by its folder, and knows its twin in the store. A run that exists only in a
store (made by another program or workspace, or its folder was removed) is shown from there, with the same
fields.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
from array import array
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from engine.conf.tree import get
from engine.errors import BadInput
from engine.runs import find as folders
from engine.runs.record import Curve, Record
from engine.track import read, remote
from engine.track.stored import StoredRun
from engine.words import say
from engine.workspace import Workspace

_LOSSES = re.compile("loss|mae|rmse|error")


def uris(workspace: Workspace) -> list[str]:
    """Return the stores that are read: the workspace's own, and those that the environment and confs name."""
    found = [f"sqlite:///{workspace.mlflow_db}", os.environ.get("MLFLOW_TRACKING_URI", "")]
    if workspace.conf.is_dir():
        for file in sorted(workspace.conf.glob("*.yaml")):
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            if "uri:" in text:
                from engine.conf.marks import parse_value

                conf = parse_value(text)
                found.append(str(get(conf, "tracking.uri") or "") if isinstance(conf, dict) else "")
    return list(dict.fromkeys(uri for uri in found if uri))


def local_database(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for a store that is asked through MLflow."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def stored_runs(workspace: Workspace, problems: list[str] | None = None) -> list[StoredRun]:
    """Return the runs of every store; what cannot be read is told in `problems`, one line each."""
    found: list[StoredRun] = []
    for uri in uris(workspace):
        try:
            found += _runs_at(uri)
        except (sqlite3.Error, remote.Away) as error:
            (problems if problems is not None else []).append(say("runs.store_away", store=uri, error=error))
    return found


def _runs_at(uri: str) -> list[StoredRun]:
    database = local_database(uri)
    if database is None:
        return remote.stored_runs(uri)
    try:
        return read.stored_runs(database)
    except read.UnknownForm:
        return remote.stored_runs(uri)


def all_records(workspace: Workspace, problems: list[str] | None = None) -> list[Record]:
    """Return every run, newest first, without curves."""
    return merged(workspace, folders.records(workspace), stored_runs(workspace, problems))


def first_records(
    workspace: Workspace, count: int, by: str, descending: bool, problems: list[str]
) -> list[Record]:
    """Return enough runs to hold the first `count`, by newest or by a metric; unsorted.

    Every run folder, and only so many of the runs that the workspace's own store has.
    """
    found = folders.records(workspace)
    stores = uris(workspace)
    if len(stores) > 1 or not workspace.mlflow_db.is_file():
        return merged(workspace, found, stored_runs(workspace, problems))
    try:
        stored = read.first_runs(workspace.mlflow_db, count + len(found), by=by, descending=descending)
    except (sqlite3.Error, read.UnknownForm):
        stored = stored_runs(workspace, problems)
    return merged(workspace, found, stored)


def merged(
    workspace: Workspace,
    found: Iterable[Record],
    stored: Iterable[StoredRun],
    made: Mapping[str, Record] | None = None,
) -> list[Record]:
    """Return one row a run, newest first: folders with their twins, then what only a store has.

    `made` are rows that were made before: one whose stored run is the same is taken again.
    """
    rows = list(found)
    here = {record.run_id: record for record in rows}
    twins: dict[str, StoredRun] = {}
    alone: dict[str, StoredRun] = {}
    for run in stored:
        folder = run.tags.get("spectui.run_id", "")
        # The same run in two stores is one row: the first store counts.
        (twins if folder in here else alone).setdefault(folder if folder in here else run.mlflow_run_id, run)
    for run_id, record in here.items():
        record.twin = twins.get(run_id)
    for run_id, run in alone.items():
        before = made.get(run_id) if made else None
        rows.append(before if before is not None and before.stored is run else as_record(workspace, run))
    return sorted(rows, key=lambda record: record.created_at, reverse=True)


def find(workspace: Workspace, word: str) -> Record:
    """Return the run meant by `word`, from its folder or else from a store, with curves.

    Raises:
        BadInput: nothing or more than one run is meant.
    """
    try:
        return folders.find(workspace, word)
    except BadInput:
        known = {path.name for path in folders.folders(workspace)}
        if word == "@last" or any(name.startswith(word) for name in known):
            raise
        stored = [r for r in stored_runs(workspace) if r.tags.get("spectui.run_id") not in known]
        exact = [r for r in stored if word in (r.mlflow_run_id, r.name, r.tags.get("spectui.run_id"))]
        chosen = exact or [r for r in stored if r.mlflow_run_id.startswith(word)]
        if len(chosen) != 1:
            raise
        return with_curves(workspace, chosen[0])


def again(workspace: Workspace, record: Record) -> Record | None:
    """Return a run that only a store has as it is there now, without curves; None when it is gone.

    Raises:
        sqlite3.Error: the store cannot be read now.
        Away: the same of a server.
    """
    stored = record.stored
    assert stored is not None
    database = local_database(stored.uri)
    if database is None:
        fresh = {run.mlflow_run_id: run for run in remote.stored_runs(stored.uri)}
    else:
        with closing(read.connect(database)) as connection:
            fresh = read.runs(connection, [stored.mlflow_run_id], late=stored.late, uri=stored.uri)
    run = fresh.get(stored.mlflow_run_id)
    return None if run is None else as_record(workspace, run)


def with_curves(workspace: Workspace, stored: StoredRun) -> Record:
    """Return a stored run as a record with all its points."""
    record = as_record(workspace, stored)
    database = local_database(stored.uri)
    points = remote.histories(stored.uri, stored.mlflow_run_id) if database is None else None
    for key in stored.metrics:
        curve = Curve()
        if points is not None:
            history = points.get(key, [])
        else:
            history = read.metric_history(database or Path(), stored.mlflow_run_id, key)
        for step, value in history:
            curve.add(step, value)
        record.curves[key] = curve
        finite = [v for v in curve.values if math.isfinite(v)]
        if finite and is_loss(key):
            record.best[key] = min(finite)
    return record


def fill_times(record: Record) -> None:
    """Read when the points of a stored run were logged; a store that is no file here does not tell."""
    stored = record.stored
    database = None if stored is None else local_database(stored.uri)
    if stored is None or database is None:
        return
    for key, curve in record.curves.items():
        times = read.metric_times(database, stored.mlflow_run_id, key)
        if len(times) == len(curve.steps):
            curve.times[:] = array("d", times.values())


def as_record(workspace: Workspace, stored: StoredRun) -> Record:
    """Return a stored run in the form of a run folder's record."""
    record = Record(workspace.runs / stored.mlflow_run_id, keep_curves=False, stored=stored)
    record.run_id = stored.mlflow_run_id
    record.name = stored.name
    record.model = stored.model
    record.source = f"MLflow: {stored.experiment}"
    record.parent = stored.tags.get("mlflow.parentRunId")
    record.note = stored.tags.get("mlflow.note.content", "")
    record.tags = {key: value for key, value in stored.tags.items() if not key.startswith("mlflow.")}
    record.created_at = record.started_at = stored.started_at
    record.last = stored.metrics
    if stored.ended_at is not None:
        record.end = {"outcome": stored.state, "time": stored.ended_at, "message": ""}
    return record


def is_loss(name: str) -> bool:
    """Tell whether less of a metric is better, by its name."""
    return _LOSSES.search(name) is not None


def set_best(records: Iterable[Record], names: Iterable[str]) -> None:
    """Give the runs that only a store has their best values of some metrics."""
    names = tuple(names)
    for record in records:
        if record.stored is not None:
            for name in names:
                low, _ = record.stored.extremes(name)
                if low is not None and math.isfinite(low):
                    record.best[name] = low
