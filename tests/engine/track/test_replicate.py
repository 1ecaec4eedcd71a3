"""Run folders into a real MLflow store: every point once, whatever happens on the way."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.conf.load import Resolved, flatten, resolve
from engine.runs import find
from engine.runs.events import EventLog, Tail
from engine.runs.folder import RunFolder, note_process, write_json
from engine.runs.process import identify
from engine.runs.record import Record
from engine.track import facts, follow, read, replicate, store
from engine.track.follow import Follower
from engine.train import attempt, closing
from engine.train.report import Report
from engine.train.stop import Stop
from engine.workspace import Workspace

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def finished(mlflow_store: Workspace, tiny: Callable[..., Resolved]) -> RunFolder:
    """A run that has ended and is not in MLflow yet."""
    assert (
        attempt.foreground(mlflow_store, tiny("training.epochs=3", "training.record_seconds=0"), Stop()) == 0
    )
    return find.find(mlflow_store, "@last").folder


def events_of(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [event for event in Tail(run.events).poll() if event["kind"] == kind]


def ended(run: RunFolder, outcome: str, **fields: Any) -> None:
    log = EventLog(run.events)
    if fields:
        log.append("nonfinite", **fields)
    log.append("end", outcome=outcome, exit_code=1, message="")
    log.close()


def points(workspace: Workspace) -> int:
    with read._open(workspace.mlflow_db) as connection:
        return int(connection.execute("select count(*) from metrics").fetchone()[0])


def test_the_store_says_what_the_events_say(mlflow_store: Workspace, finished: RunFolder) -> None:
    run_id = replicate.replicate(mlflow_store, finished)
    database = mlflow_store.mlflow_db
    epochs = events_of(finished, "epoch")
    names = {name for event in epochs for name in event["values"]}
    assert {"train_loss", "val_loss", "learning_rate", "val_Teff_mae", "val_CFe_mae"} <= names
    for name in names:
        wanted = [(e["epoch"], e["values"][name]) for e in epochs if name in e["values"]]
        assert read.metric_history(database, run_id, name) == wanted, name
    for name in ("batch_loss", "learning_rate", "gradient_norm"):
        steps = [
            pair
            for e in events_of(finished, "steps")
            for pair in zip(e["step"], e["columns"][name], strict=True)
        ]
        assert read.metric_history(database, run_id, f"step/{name}") == steps
        assert len(steps) == 9
    (test,) = events_of(finished, "test")
    assert read.metric_history(database, run_id, "test_Teff_mae") == [
        (test["epoch"], test["values"]["Teff_mae"])
    ]
    for name in ("scaled_rmse", "feh_macro_f1", "CFe_outlier_rate"):
        assert read.metric_history(database, run_id, f"test_{name}") == [
            (test["epoch"], test["values"][name])
        ]

    (stored,) = read.stored_runs(database)
    record = Record(finished.path)
    record.refresh()
    params = flatten(record.conf())
    assert set(stored.params) == set(params)
    assert stored.params["training.learning_rate"] == "0.001"
    assert stored.params["model.name"] == "MLP"
    assert stored.params["training.patience"] == "null"
    assert stored.tags["spectui.run_id"] == finished.run_id
    assert stored.tags["spectui.state"] == "finished"
    assert stored.tags["mlflow.source.name"] == "conf/tiny.yaml"
    assert (stored.status, stored.name, stored.experiment) == ("FINISHED", "tiny", "spectral_prediction")
    assert stored.started_at == pytest.approx(record.created_at, abs=0.01)
    assert stored.ended_at == pytest.approx(record.ended_at or 0, abs=0.01)

    artifacts = Path(stored.artifact_uri)
    assert artifacts.is_relative_to(mlflow_store.root / "mlruns")
    there = {str(p.relative_to(artifacts)) for p in artifacts.rglob("*") if p.is_file()}
    assert there >= {
        "loss_curve.pdf", "lr_curve.pdf", "conf.yaml", "checkpoints/best.pt", "metrics.csv", "split.csv",
        "log.txt", "predictions/test.csv", "predictions/val.csv", "model.txt", "metrics_feh.csv",
        "confusion_feh.csv", "one_to_one_test.pdf", "residuals_val.pdf", "feh_classes_test.pdf",
    }  # fmt: skip
    best = (finished.checkpoints / "best.pt").read_bytes()
    assert (artifacts / "checkpoints" / "best.pt").read_bytes() == best
    assert finished.read_json(finished.tracking)["run_id"] == run_id == record.mlflow_run_id()


def test_no_point_is_logged_twice(mlflow_store: Workspace, finished: RunFolder) -> None:
    run_id = replicate.replicate(mlflow_store, finished)
    before = points(mlflow_store)
    assert replicate.replicate(mlflow_store, finished) == run_id
    assert points(mlflow_store) == before
    # The cursor was lost after the points were logged: a crash between the two.
    state = finished.read_json(finished.tracking)
    write_json(finished.tracking, state | {"cursor": 0})
    assert replicate.replicate(mlflow_store, finished) == run_id
    assert points(mlflow_store) == before
    # All was lost: the run of the store is found by its tag.
    finished.tracking.unlink()
    assert replicate.replicate(mlflow_store, finished) == run_id
    assert points(mlflow_store) == before
    assert len(read.stored_runs(mlflow_store.mlflow_db)) == 1


def test_a_store_that_goes_away_half_way_is_caught_up(
    mlflow_store: Workspace, finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Follower._log, []

    def flaky(self: Follower, events: list[dict[str, Any]]) -> None:
        calls.append(len(events))
        if len(calls) == 2:
            raise ConnectionError("the server is away")
        real(self, events)

    monkeypatch.setattr(Follower, "_log", flaky)
    monkeypatch.setattr(follow, "_BYTES_AT_ONCE", 500)
    with pytest.raises(ConnectionError):
        replicate.replicate(mlflow_store, finished)
    run_id = replicate.replicate(mlflow_store, finished)
    assert len(calls) > 4
    (stored,) = read.stored_runs(mlflow_store.mlflow_db)
    assert stored.mlflow_run_id == run_id
    wanted = [(e["epoch"], e["values"]["val_loss"]) for e in events_of(finished, "epoch")]
    assert read.metric_history(mlflow_store.mlflow_db, run_id, "val_loss") == wanted


def test_tries_end_some_time_after_the_run_but_not_while_it_lives(
    mlflow_store: Workspace, new_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tries = new_run(), []
    note_process(run)

    def away(_: Follower) -> bool:
        tries.append(1)
        if len(tries) == 12:
            ended(run, "finished")
        raise ConnectionError("the server is away")

    now = [0.0]
    monkeypatch.setattr(Follower, "advance", away)
    monkeypatch.setattr(replicate.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(replicate.time, "monotonic", lambda: now[0])
    uri = store.tracking_uri(mlflow_store, None)
    wishes = replicate.place(mlflow_store, uri) / "wishes"
    wishes.mkdir(parents=True)
    (wishes / run.run_id).touch()
    replicate.serve(mlflow_store, uri)
    assert len(tries) == 11 + replicate._TRIES
    assert now[0] < 32 * len(tries)
    assert not list(wishes.iterdir())
    assert "the server is away" in run.read_json(run.tracking)["problem"]["text"]
    assert run.tracking_log.read_text().count("the server is away") == len(tries)


@pytest.mark.parametrize(
    ("outcome", "status"), [("failed", "FAILED"), ("diverged", "FAILED"), ("stopped", "KILLED")]
)
def test_the_status_says_how_the_run_ended(
    mlflow_store: Workspace, new_run: Callable[..., RunFolder], outcome: str, status: str
) -> None:
    run = new_run()
    bad = {"what": "loss", "step": 7, "epoch": 1, "value": math.nan} if outcome == "diverged" else {}
    ended(run, outcome, **bad)
    replicate.replicate(mlflow_store, run)
    (stored,) = read.stored_runs(mlflow_store.mlflow_db)
    assert (stored.status, stored.state) == (status, outcome)
    for name in ("spectui.first_nonfinite", "spectui.nonfinite", "spectui.diverged"):
        assert stored.tags.get(name) == ("loss@7" if bad else None)
    assert stored.tags["spectui.exit_code"] == "1"


def test_an_engine_that_vanished_is_closed_as_killed(
    mlflow_store: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    run = new_run()
    note_process(run, identity=replace(identify(), start_time="1"))
    log = EventLog(run.events)
    log.append("epoch", epoch=1, step=3, values={"train_loss": math.nan, "val_loss": math.inf})
    log.close()
    run_id = replicate.replicate(mlflow_store, run)
    (stored,) = read.stored_runs(mlflow_store.mlflow_db)
    assert (stored.status, stored.state) == ("KILLED", "died")
    assert stored.ended_at is not None
    assert math.isnan(read.metric_history(mlflow_store.mlflow_db, run_id, "train_loss")[0][1])
    assert read.metric_history(mlflow_store.mlflow_db, run_id, "val_loss") == [(1, math.inf)]
    assert stored.tags["spectui.first_nonfinite"] == "train_loss@1"
    assert stored.tags["spectui.nonfinite"] == "train_loss@1, val_loss@1"
    assert stored.tags["spectui.start_time"] == "1"
    assert (run.figures / "loss_curve.pdf").read_bytes().startswith(b"%PDF"), "drawn by who noticed the death"


def test_names_and_values_that_mlflow_refuses_are_made_fit() -> None:
    assert facts.key("val_[C/Fe](x)@é") == "val__C/Fe__x__é"
    assert len(facts.key("x" * 999)) == 250
    assert facts.parameter(1e-4) == "0.0001"
    assert facts.parameter(None) == "null"
    assert len(facts.parameter("x" * 9999)) == 6000


@pytest.mark.e2e
def test_a_killed_engine_is_closed_as_killed_by_its_replicator(
    mlflow_store: Workspace, processes: Any, until: Callable[..., Any]
) -> None:
    """Nothing is simulated: a real engine, its own replicator, SIGKILL."""
    process = processes.start(
        "train",
        "tiny",
        "--train_epochs",
        "100000",
        "--set",
        "tracking.enabled=true",
        "--set",
        "training.record_seconds=1",
    )
    until(lambda: read.stored_runs(mlflow_store.mlflow_db) and find.records(mlflow_store)[0].step > 3)
    process.kill()
    process.wait()

    def closed() -> bool:
        return read.stored_runs(mlflow_store.mlflow_db)[0].status != "RUNNING"

    until(closed)
    (stored,) = read.stored_runs(mlflow_store.mlflow_db)
    assert (stored.status, stored.state) == ("KILLED", "died")
    (record,) = find.records(mlflow_store)
    assert record.state == "died"
    wanted = [(e["epoch"], e["values"]["val_loss"]) for e in events_of(record.folder, "epoch")]
    assert read.metric_history(mlflow_store.mlflow_db, stored.mlflow_run_id, "val_loss") == wanted
    until(lambda: record.folder.read_json(record.folder.tracking).get("closed") == "died")


@pytest.mark.e2e
def test_a_server_that_is_not_there_never_costs_a_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[replicate.Tracker] = []
    real = replicate.start

    def remember(*arguments: Any) -> replicate.Tracker:
        started.append(real(*arguments))
        return started[-1]

    monkeypatch.setattr(replicate, "start", remember)
    monkeypatch.setattr(closing, "_TRACKING_PATIENCE_SECONDS", 0.5)
    sets = ["tracking.enabled=true", "tracking.uri=http://127.0.0.1:9"]
    try:
        assert attempt.foreground(workspace, resolve(workspace, "tiny", sets=sets), Stop()) == 0
    finally:
        for tracker in started:
            assert tracker._process is not None
            os.killpg(tracker._process.pid, signal.SIGKILL)
            tracker._process.wait()
    (record,) = find.records(workspace)
    assert record.state == "finished"
    said = capsys.readouterr().err
    assert f"not in MLflow yet (see runs/{record.run_id}/mlflow.log)" in said
    assert f"spectui sync {record.run_id}" in said


def test_a_wish_to_stop_ends_the_waiting_for_mlflow(
    workspace: Workspace, new_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        def poll(self) -> None:
            stop.asked = True

        def problem(self) -> str:
            return ""

    stop = Stop()
    stop.asked = True  # what stopped the training is no wish to leave MLflow without its end
    run = new_run()
    monkeypatch.setattr(closing, "_TRACKING_PATIENCE_SECONDS", 60.0)
    closing.wait_for_tracking(workspace, run, Record(run.path), Slow(), Report(), stop)
