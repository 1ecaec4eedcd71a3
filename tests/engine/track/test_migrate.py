"""An old file store, made by MLflow itself, moved into the database: nothing is lost, it can be repeated."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.track import migrate, read, store
from engine.workspace import Workspace

pytestmark = pytest.mark.xdist_group("mlflow")

OLD = """
from mlflow import MlflowClient
api = MlflowClient("file:./mlruns")
for name in ("spectral_prediction", "alone"):
    experiment = api.create_experiment(name)
    run = api.create_run(experiment, run_name="old of " + name).info.run_id
    for step, value in enumerate((1.5, float("nan"), float("inf"))):
        api.log_metric(run, "loss", value, step=step)
    api.log_param(run, "lr", "0.1")
    open("old.txt", "w").write(name)
    api.log_artifact(run, "old.txt")
    api.set_terminated(run)
api.delete_run(api.create_run("0").info.run_id)
"""


@pytest.fixture
def old(mlflow_store: Workspace) -> Workspace:
    """A workspace with a database that holds a run, and a file store beside it."""
    api, experiment = store.ensure_experiment(
        mlflow_store, store.tracking_uri(mlflow_store, None), "spectral_prediction"
    )
    api.set_terminated(api.create_run(experiment, run_name="new").info.run_id)
    subprocess.run(
        [sys.executable, "-c", OLD], check=True, cwd=mlflow_store.root, capture_output=True,
        env=os.environ | {"MLFLOW_ALLOW_FILE_STORE": "true"},
    )  # fmt: skip
    return mlflow_store


def names(workspace: Workspace) -> dict[str, str]:
    return {run.name: run.experiment for run in read.stored_runs(workspace.mlflow_db)}


def test_a_file_store_joins_the_database(old: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [p.kind for p in store.problems(old)] == ["file_store"]
    merged = migrate._merge
    # Killed between the database and the names of the records: all is done again, and nothing is there twice.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def die(*arguments: Any) -> None:
            merged(*arguments)
            raise KeyboardInterrupt

        patch.setattr(migrate, "_merge", die)
        migrate.migrate(old)
    assert store.old_file_store(old) is not None
    said = migrate.migrate(old)
    assert "3 run(s) of 3 experiment(s)" in said
    assert names(old) == {
        "new": "spectral_prediction",
        "old of spectral_prediction": "spectral_prediction",
        "old of alone": "alone",
    }
    for run in read.stored_runs(old.mlflow_db):
        if run.name == "new":
            continue
        history = read.metric_history(old.mlflow_db, run.mlflow_run_id, "loss")
        assert [history[0], history[2]] == [(0, 1.5), (2, math.inf)] and math.isnan(history[1][1])
        assert run.params == {"lr": "0.1"}
        assert Path(run.artifact_uri.removeprefix("file://"), "old.txt").read_text() == run.experiment
    assert store.problems(old) == []
    kept = max(old.root.glob("mlruns.*.bak"))
    assert len(list(kept.glob("[0-9]*/meta.yaml"))) == 3 and not list(kept.rglob("old.txt"))
    assert max(old.root.glob("mlflow.db.*.bak")).stat().st_size
    assert not list(old.root.glob(".ml*"))
    assert "nothing to migrate" in migrate.migrate(old)
    with sqlite3.connect(old.mlflow_db) as connection:
        assert connection.execute("pragma foreign_key_check").fetchall() == []
    # What a bare `mlflow ui` opens here is the database now, and MLflow finds its way in it.
    runs = "len(mlflow.search_runs(search_all_experiments=True))"
    bare = f"import mlflow; print(mlflow.get_tracking_uri(), {runs})"
    done = subprocess.run(
        [sys.executable, "-c", bare], cwd=old.root, capture_output=True, text=True, check=True
    )
    uri, count = done.stdout.split()
    assert (uri.startswith("sqlite:"), Path(uri).name, count) == (True, "mlflow.db", "3")


def test_what_cannot_be_migrated_stays_as_it_is(mlflow_store: Workspace) -> None:
    meta = mlflow_store.root / "mlruns" / "5" / "meta.yaml"
    meta.parent.mkdir(parents=True)
    meta.write_text("this: [is no\n")
    before = mlflow_store.mlflow_db.read_bytes()
    with pytest.raises(BadInput, match="everything is as it was"):
        migrate.migrate(mlflow_store)
    assert meta.is_file() and mlflow_store.mlflow_db.read_bytes() == before
    assert not list(mlflow_store.root.glob(".ml*"))
