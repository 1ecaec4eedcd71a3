"""One list of runs: the run folders, and what only MLflow knows.

A run that has a folder is told by its folder. A run that exists only in the workspace's MLflow store (made
by another program, or whose folder was removed) is shown from there, with the same fields.
"""

from __future__ import annotations

import math
from typing import Any

from engine.conf.marks import parse_value
from engine.errors import BadInput
from engine.runs import find as folders
from engine.runs.record import Curve, Record
from engine.track import read
from engine.workspace import Workspace


def all_records(workspace: Workspace) -> list[Record]:
    """Return every run, newest first, without curves."""
    found = folders.records(workspace)
    return sorted(
        found + only_stored(workspace, {r.run_id for r in found}), key=lambda r: r.created_at, reverse=True
    )


def only_stored(workspace: Workspace, known: set[str]) -> list[Record]:
    """Return the runs that only the MLflow store has."""
    stored = read.stored_runs(workspace.mlflow_db)
    return [as_record(workspace, run) for run in stored if run.tags.get("spectui.run_id") not in known]


def find(workspace: Workspace, word: str) -> Record:
    """Return the run meant by `word`, from its folder or else from the store, with curves.

    Raises:
        BadInput: nothing or more than one run is meant.
    """
    try:
        return folders.find(workspace, word)
    except BadInput:
        known = {path.name for path in folders.folders(workspace)}
        if word == "@last" or any(name.startswith(word) for name in known):
            raise
        stored = [
            r for r in read.stored_runs(workspace.mlflow_db) if r.tags.get("spectui.run_id") not in known
        ]
        exact = [r for r in stored if word in (r.mlflow_run_id, r.name)]
        chosen = exact or [r for r in stored if r.mlflow_run_id.startswith(word)]
        if len(chosen) != 1:
            raise
        return as_record(workspace, chosen[0], curves=True)


def as_record(workspace: Workspace, stored: read.StoredRun, *, curves: bool = False) -> Record:
    """Return a stored run in the form of a run folder's record."""
    record = Record(workspace.runs / stored.mlflow_run_id)
    record.run_id = stored.mlflow_run_id
    record.name = stored.name
    record.model = stored.params.get("model.name") or stored.params.get("model") or "?"
    record.source = f"MLflow: {stored.experiment}"
    record.created_at = stored.started_at
    record.started_at = stored.started_at
    record.stored = {
        "run_id": stored.mlflow_run_id,
        "conf": _tree(stored.params),
        "artifacts": stored.artifact_uri,
        "live": stored.ended_at is None,
    }
    record.last = dict(stored.metrics)
    record.best = {k: v for k, v in stored.metrics.items() if "loss" in k or "mae" in k}
    if stored.ended_at is not None:
        record.end = {"outcome": stored.state, "time": stored.ended_at, "message": ""}
    if curves:
        for key in stored.metrics:
            curve = Curve()
            for step, value in read.metric_history(workspace.mlflow_db, stored.mlflow_run_id, key):
                curve.add(step, value)
            record.curves[key] = curve
            finite = [v for v in curve.values if math.isfinite(v)]
            if key in record.best and finite:
                record.best[key] = min(finite)
    return record


def _tree(params: dict[str, str]) -> dict[str, Any]:
    """Turn MLflow's flat text parameters back into sections and values."""
    tree: dict[str, Any] = {}
    for key, text in params.items():
        *parents, last = key.split(".")
        place = tree
        for part in parents:
            below = place.get(part)
            if not isinstance(below, dict):
                below = place[part] = {}
            place = below
        place[last] = parse_value(text) if text else ""
    return tree
