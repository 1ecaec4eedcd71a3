"""MLflow's store as we read it: SQL against what a real client wrote, and one list with the run folders."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.runs import select
from engine.runs.folder import RunFolder
from engine.track import listing, read, store
from engine.workspace import Workspace

pytestmark = pytest.mark.xdist_group("mlflow")

ODD = [0.5, math.nan, math.inf, -math.inf, 5e-324, 1e308]


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


@pytest.fixture
def foreign(mlflow_store: Workspace) -> Any:
    """A run that a plain MLflow client made, as another program would."""
    api = store.client(mlflow_store, store.tracking_uri(mlflow_store, None))
    run = api.create_run(
        api.create_experiment("elsewhere"), run_name="their run", start_time=1_700_000_000_000
    )
    for key, value in {"model": "TheirNet", "lr": "1e-4", "layers": "[1, 2]", "data.path": "x"}.items():
        api.log_param(run.info.run_id, key, value)
    for step, value in enumerate(ODD):
        api.log_metric(run.info.run_id, "train_loss", value, step=step, timestamp=1_700_000_000_000 + step)
    api.log_metric(run.info.run_id, "train_loss", 0.25, step=0, timestamp=1_800_000_000_000)
    api.log_metric(run.info.run_id, "val_loss", math.nan, step=0)
    return run.info.run_id, api


def test_numbers_come_back_as_they_were_logged(mlflow_store: Workspace, foreign: Any) -> None:
    run_id, _ = foreign
    points = read.metric_history(mlflow_store.mlflow_db, run_id, "train_loss")
    assert [step for step, _ in points] == list(range(6))
    assert points[0][1] == 0.25, "the last of re-logged points counts"
    assert all(same(value, wanted) for (_, value), wanted in zip(points[1:], ODD[1:], strict=True)), points
    (stored,) = read.stored_runs(mlflow_store.mlflow_db)
    assert math.isnan(stored.metrics["val_loss"]), "not a perfect 0.0"
    assert stored.params["lr"] == "1e-4"
    assert (stored.name, stored.experiment, stored.state) == ("their run", "elsewhere", "running")


@pytest.mark.parametrize(
    ("status", "state"), [("FINISHED", "finished"), ("FAILED", "failed"), ("KILLED", "stopped")]
)
def test_a_foreign_run_is_in_the_one_list(
    mlflow_store: Workspace, foreign: Any, new_run: Callable[..., RunFolder], status: str, state: str
) -> None:
    run_id, api = foreign
    mine = new_run()
    assert listing.find(mlflow_store, run_id).state == "running"
    api.set_terminated(run_id, status, end_time=1_700_000_060_000)
    found = {record.run_id: record for record in listing.all_records(mlflow_store)}
    assert set(found) == {run_id, mine.run_id}
    record = found[run_id]
    assert (record.name, record.model, record.state, record.duration) == (
        "their run",
        "TheirNet",
        state,
        60.0,
    )
    assert record.conf() == {"model": "TheirNet", "lr": 1e-4, "layers": [1, 2], "data": {"path": "x"}}
    assert select.select([record], f"param.lr < 1e-3 and state = {state}") == [record]
    for word in (run_id, run_id[:8], "their run"):
        full = listing.find(mlflow_store, word)
        assert full.run_id == run_id
        assert full.curves["train_loss"].values[0] == 0.25
        assert full.best["train_loss"] == 5e-324
    with pytest.raises(BadInput, match="no such run"):
        listing.find(mlflow_store, "nobody")


def test_a_deleted_run_is_not_listed(mlflow_store: Workspace, foreign: Any) -> None:
    run_id, api = foreign
    api.delete_run(run_id)
    assert read.stored_runs(mlflow_store.mlflow_db) == []


def test_a_run_with_a_folder_is_listed_once(
    mlflow_store: Workspace, foreign: Any, new_run: Callable[..., RunFolder]
) -> None:
    run_id, api = foreign
    api.set_tag(run_id, "spectui.run_id", new_run().run_id)
    assert len(listing.all_records(mlflow_store)) == 1


def test_no_store_is_no_runs(workspace: Workspace) -> None:
    assert read.stored_runs(workspace.mlflow_db) == []
    assert read.metric_history(workspace.mlflow_db, "x", "y") == []
    assert read.change_stamp(workspace.mlflow_db) == (0, 0)


def test_odd_folder_names_do_not_break_reading(tmp_path: Path) -> None:
    database = tmp_path / "a?b #c%20d" / "mlflow.db"
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as store:
        store.execute("create table metrics (run_uuid, key, value, is_nan, step, timestamp)")
        store.execute("insert into metrics values ('x', 'y', 0.5, 0, 3, 0)")
        store.commit()
    assert read.metric_history(database, "x", "y") == [(3, 0.5)]
    assert read.stored_runs(database) == []
    assert [p.name for p in tmp_path.iterdir()] == ["a?b #c%20d"]


def test_reading_never_writes(mlflow_store: Workspace) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        read._open(mlflow_store.mlflow_db).execute("delete from runs")


def test_the_store_is_the_one_that_a_bare_mlflow_ui_opens(
    mlflow_store: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.tracking_uri(mlflow_store, None) == f"sqlite:///{mlflow_store.root}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert store.tracking_uri(mlflow_store, None) == "http://there:5000"
    assert store.tracking_uri(mlflow_store, "http://conf:5000") == "http://conf:5000"


def test_an_experiment_is_made_once_and_brought_back(mlflow_store: Workspace) -> None:
    uri = store.tracking_uri(mlflow_store, None)
    api, first = store.ensure_experiment(mlflow_store, uri, "spectral_prediction")
    assert store.ensure_experiment(mlflow_store, uri, "spectral_prediction")[1] == first
    assert api.get_experiment(first).artifact_location == f"{mlflow_store.root}/mlruns/{first}"
    api.delete_experiment(first)
    assert store.ensure_experiment(mlflow_store, uri, "spectral_prediction")[1] == first
    assert api.get_experiment(first).lifecycle_stage == "active"


def test_an_old_file_store_is_noticed(workspace: Workspace) -> None:
    assert store.old_file_store(workspace) is None
    old = workspace.root / "mlruns" / "0" / "meta.yaml"
    old.parent.mkdir(parents=True)
    assert store.old_file_store(workspace) is None
    old.touch()
    assert store.old_file_store(workspace) == old


def test_a_store_that_is_just_being_made_has_no_runs(tmp_path: Path) -> None:
    """The first run makes mlflow.db table by table; whoever lists runs meanwhile sees none and no error."""
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as store:
        assert read.stored_runs(database) == []
        store.execute("create table experiments (experiment_id integer, name text)")
        store.commit()
        assert read.stored_runs(database) == []
        store.execute("create table runs (run_uuid text)")
        for table in ("params", "tags", "metrics", "latest_metrics"):
            store.execute(f"create table {table} (run_uuid text, key text, value text)")
        store.commit()
        assert read.stored_runs(database) == []
