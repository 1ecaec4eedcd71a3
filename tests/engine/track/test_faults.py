"""A store that is away, slow, broken or killed costs the training nothing, and loses nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from engine.runs import find
from engine.runs.events import Tail, number
from engine.runs.folder import RunFolder, write_json
from engine.track import database, facts, follow, read, replicate, store, sync
from engine.workspace import Workspace

from .conftest import Door, MlflowServer, end, server_of, tell

pytestmark = pytest.mark.xdist_group("mlflow")


def said(run: RunFolder) -> dict[str, set[tuple[int, float]]]:
    """Return every point of the events: (step, value) by the name that MLflow has."""
    points: dict[str, set[tuple[int, float]]] = {}
    for event in Tail(run.events).poll():
        for name, value, step in facts._points(event):
            if isinstance(number(value), int | float):
                points.setdefault(facts.key(name), set()).add((int(step), float(number(value))))
    return points


def kept(api: Any, run_id: str) -> dict[str, set[tuple[int, float]]]:
    """Return every point of the store, as its API tells them; a point that is there twice fails."""
    points: dict[str, set[tuple[int, float]]] = {}
    for name in api.get_run(run_id).data.metrics:
        history = [(m.step, m.value) for m in api.get_metric_history(run_id, name)]
        assert len(history) == len(set(history)), name
        points[name] = set(history)
    return points


def of(workspace: Workspace, run: RunFolder, uri: str) -> tuple[Any, str]:
    return store.client(workspace, uri), str(run.read_json(run.tracking)["run_id"])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is given up after a second; inherited by every process of the test."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


@pytest.mark.e2e
@pytest.mark.parametrize("mode", ["silent", pytest.param("error", marks=pytest.mark.slow)])
def test_a_server_that_is_no_use_for_the_whole_run(
    workspace: Workspace, processes: Any, door: Door, hasty: None, mode: str
) -> None:
    """A real engine ends while the server still says nothing; later all of it is there."""
    door.mode = mode
    words = ["--set", "tracking.enabled=true", "--set", f"tracking.uri={door.uri}"]
    done = processes.run("train", "tiny", *words)
    assert done.returncode == 0, done.stderr
    assert door.asked and door.mode == mode
    assert "not in MLflow yet" in done.stderr and "spectui sync" in done.stderr
    (record,) = find.records(workspace)
    assert record.state == "finished"
    (one,) = sync.behind(workspace)
    assert one.run_id == record.run_id and one.waiting > 5
    failed = processes.run("sync", record.run_id)
    assert failed.returncode == 1
    assert record.run_id in failed.stdout and "nothing is lost" in failed.stderr
    door.mode = "good"
    door.opened.set()
    synced = processes.run("sync")
    # A replicator that still tried may have been quicker: then there was nothing left to name.
    assert synced.returncode == 0, synced.stderr + synced.stdout
    api, run_id = of(workspace, record.folder, door.uri)
    assert kept(api, run_id) == said(record.folder)
    assert api.get_run(run_id).info.status == "FINISHED"
    assert {f.path for f in api.list_artifacts(run_id)} >= {"loss_curve.pdf", "conf.yaml", "checkpoints"}
    assert sync.behind(workspace) == []


@pytest.mark.e2e
def test_the_server_killed_in_the_middle_and_brought_back(
    workspace: Workspace,
    told: Callable[..., RunFolder],
    mlflow_server: MlflowServer,
    hasty: None,
    until: Callable[..., Any],
) -> None:
    """PostgreSQL behind it: every point once, NaN and infinities too."""
    run = told(f"tracking.uri={mlflow_server.uri}", epochs=40, outcome=None)
    tracker = replicate.start(workspace, run)
    until(lambda: run.read_json(run.tracking).get("cursor"))
    mlflow_server.kill()
    tell(run, 41, 80)
    until(lambda: tracker.problem())
    pid = server_of(workspace, mlflow_server.uri)
    assert pid is not None, "it goes on while the run lives"
    mlflow_server.start()
    tell(run, 81, 100)
    end(run)
    sync.start(workspace, run)  # tried again at once
    until(lambda: tracker.poll() == 0)
    assert server_of(workspace, mlflow_server.uri) in (pid, None)
    api, run_id = of(workspace, run, mlflow_server.uri)
    points = kept(api, run_id)
    assert points == said(run)
    assert len(points["step/batch_loss"]) == 400
    # The cursor was lost: every point is logged again, and is the same point.
    write_json(run.tracking, run.read_json(run.tracking) | {"cursor": 0})
    replicate.replicate(workspace, run)
    assert kept(api, run_id) == points


@pytest.mark.e2e
def test_a_child_nests_and_the_trash_is_followed_on_a_server(
    workspace: Workspace, told: Callable[..., RunFolder], mlflow_server: MlflowServer
) -> None:
    uri = mlflow_server.uri
    parent, child = told(f"tracking.uri={uri}"), told(f"tracking.uri={uri}")
    write_json(child.identity, child.read_json(child.identity) | {"parent": parent.run_id})
    replicate.replicate(workspace, parent)
    replicate.replicate(workspace, child)
    api, run_id = of(workspace, child, uri)
    assert api.get_run(run_id).data.tags["mlflow.parentRunId"] == parent.read_json(parent.tracking)["run_id"]
    (workspace.runs / ".trash").mkdir()
    gone = RunFolder(child.path.rename(workspace.runs / ".trash" / child.run_id))
    replicate.replicate(workspace, gone)
    assert api.get_run(run_id).info.lifecycle_stage == "deleted"
    assert sync.behind(workspace) == []
    back = RunFolder(gone.path.rename(workspace.runs / child.run_id))
    assert [one.run_id for one in sync.behind(workspace)] == [child.run_id]
    replicate.replicate(workspace, back)
    assert api.get_run(run_id).info.lifecycle_stage == "active"
    assert sync.behind(workspace) == []


def test_killed_between_the_points_and_the_cursor(
    mlflow_store: Workspace, told: Callable[..., RunFolder]
) -> None:
    """Dies at that very place, by SIGKILL; whoever comes next logs the same points again, as the same."""
    run = told(epochs=10)
    pid = os.fork()
    if pid == 0:
        follow.Follower._save = lambda self, **changes: (  # type: ignore[method-assign]
            os.kill(os.getpid(), signal.SIGKILL) if changes.get("cursor") else real(self, **changes)
        )
        replicate.replicate(mlflow_store, run)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    state = run.read_json(run.tracking)
    assert state["cursor"] == 0
    history = read.metric_history(mlflow_store.mlflow_db, state["run_id"], "val_loss")
    assert len(history) == 10, "they had been logged"
    run_id = replicate.replicate(mlflow_store, run)
    api = store.client(mlflow_store, store.tracking_uri(mlflow_store, None))
    assert kept(api, run_id) == said(run)


real = follow.Follower._save


def test_the_database_locked_by_another_writer_for_a_moment(
    mlflow_store: Workspace, told: Callable[..., RunFolder], until: Callable[..., Any]
) -> None:
    """Shorter than MLflow's own patience (20 s) or longer makes no difference to what is there in the end."""
    locked_out(mlflow_store, told, until, 1.0, given_up=False)


@pytest.mark.slow
def test_the_database_locked_by_another_writer_for_thirty_seconds(
    mlflow_store: Workspace, told: Callable[..., RunFolder], until: Callable[..., Any]
) -> None:
    locked_out(mlflow_store, told, until, 30.0, given_up=True)


def locked_out(workspace: Workspace, told: Any, until: Any, seconds: float, *, given_up: bool) -> None:
    """Lock the database for some seconds, with `given_up` until the replicator has failed for once."""
    run = told(epochs=2, outcome=None)
    tracker = replicate.start(workspace, run)
    until(lambda: run.read_json(run.tracking).get("cursor"))
    with closing(sqlite3.connect(workspace.mlflow_db, isolation_level=None, timeout=30)) as other:
        other.execute("begin exclusive")
        began = time.monotonic()
        tell(run, 3, 30)
        end(run)
        until(lambda: time.monotonic() - began > seconds and (tracker.problem() or not given_up))
        assert ("database is locked" in tracker.problem()) == given_up
        other.execute("rollback")
    until(lambda: tracker.poll() == 0)
    api, run_id = of(workspace, run, store.tracking_uri(workspace, None))
    assert kept(api, run_id) == said(run)
    assert database.schema_of(workspace.mlflow_db) == database.schemas()[0]
