"""What is behind is found by looking at the folders alone, and brought; what people change follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process, write_json
from engine.runs.process import identify
from engine.track import read, replicate, store, sync
from engine.workspace import Workspace

from .conftest import end, server_of, tell

pytestmark = pytest.mark.xdist_group("mlflow")


def stored(workspace: Workspace, run: RunFolder) -> read.StoredRun:
    name = run.read_json(run.tracking)["run_id"]
    (found,) = [one for one in read.stored_runs(workspace.mlflow_db) if one.mlflow_run_id == name]
    return found


def test_what_is_behind_is_known_without_mlflow(
    workspace: Workspace, told: Callable[..., RunFolder], new_run: Callable[..., RunFolder]
) -> None:
    new_run("tracking.enabled=false")
    waits = new_run("tracking.enabled=true")
    write_json(waits.queued, {})
    run = told()
    code = (
        "import sys, json; from pathlib import Path; from engine.track import sync;"
        "from engine.workspace import Workspace;"
        "found = sync.behind(Workspace(Path(sys.argv[1])));"
        "assert not {'mlflow', 'torch', 'numpy', 'sqlalchemy'} & set(sys.modules), sorted(sys.modules);"
        "print(json.dumps([(one.run_id, one.waiting) for one in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(workspace.root)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[run.run_id, 9]]


@pytest.mark.e2e
def test_sync_brings_all_that_is_behind(
    mlflow_store: Workspace, told: Callable[..., RunFolder], processes: Any
) -> None:
    """One of them died unseen, its replicator with it: closed as KILLED at its last event."""
    done, died, other = told(), told(outcome=None), told("tracking.uri=http://127.0.0.1:9")
    note_process(died, identity=replace(identify(), start_time="1"))
    answer = processes.run("sync", "--json")
    assert answer.returncode == 1, answer.stderr
    said = {one["run_id"]: one for one in json.loads(answer.stdout)}
    assert {run_id for run_id, one in said.items() if one["done"]} == {done.run_id, died.run_id}
    assert (said[other.run_id]["waiting"], bool(said[other.run_id]["problem"])) == (9, True)
    assert "1 run(s) not in http://127.0.0.1:9" in answer.stderr
    assert stored(mlflow_store, done).status == "FINISHED"
    found = stored(mlflow_store, died)
    last = json.loads(died.events.read_text().splitlines()[-1])["time"]
    assert (found.status, found.state, found.ended_at) == ("KILLED", "died", pytest.approx(last, abs=0.01))
    again = processes.run("sync", done.run_id)
    assert (again.returncode, again.stdout) == (0, "")
    assert "MLflow has every run" in again.stderr


@pytest.mark.e2e
def test_a_replicator_that_is_killed_is_replaced_and_serves_all(
    mlflow_store: Workspace, told: Callable[..., RunFolder], until: Callable[..., Any]
) -> None:
    first, second = told(outcome=None), told(outcome=None)
    trackers = [replicate.start(mlflow_store, run) for run in (first, second)]
    uri = store.tracking_uri(mlflow_store, None)
    until(lambda: all(run.read_json(run.tracking).get("cursor") for run in (first, second)))
    assert sync.behind(mlflow_store) == [], "somebody is at them"
    until(
        lambda: sum(tracker._process is None or tracker._process.poll() is not None for tracker in trackers)
    )
    pid = server_of(mlflow_store, uri)
    assert pid, "one of them serves both"
    os.kill(pid, signal.SIGKILL)
    until(lambda: server_of(mlflow_store, uri) is None)
    assert {one.run_id for one in sync.behind(mlflow_store)} == {first.run_id, second.run_id}
    for run in (first, second):
        tell(run, 4, 5)
        end(run)
    until(lambda: trackers[0].poll() == 0)  # the engine that asks has it started again
    until(lambda: trackers[1].poll() == 0)  # what was left behind was taken up too
    for run in (first, second):
        assert (
            len(
                read.metric_history(
                    mlflow_store.mlflow_db, stored(mlflow_store, run).mlflow_run_id, "val_loss"
                )
            )
            == 5
        )
    until(lambda: server_of(mlflow_store, uri) is None)  # it ends when there is nothing to do


def test_what_people_change_follows(mlflow_store: Workspace, told: Callable[..., RunFolder]) -> None:
    run = told("description=what the conf is for")
    replicate.replicate(mlflow_store, run)
    found = stored(mlflow_store, run)
    assert (found.name, found.tags["mlflow.note.content"]) == ("tiny", "what the conf is for")
    assert sync.behind(mlflow_store) == []
    tags = {"who": "li", "paper": "yes", "mlflow.user": "somebody else"}
    write_json(run.about, {"name": "第一个", "note": "a **note**", "tags": tags})
    assert [one.run_id for one in sync.behind(mlflow_store)] == [run.run_id]
    replicate.replicate(mlflow_store, run)
    found = stored(mlflow_store, run)
    assert (found.name, found.tags["mlflow.note.content"]) == ("第一个", "a **note**")
    assert (found.tags["who"], found.tags["paper"]) == ("li", "yes")
    assert found.tags["mlflow.user"] == run.read_json(run.identity)["user"]
    write_json(run.about, {"name": "第一个", "note": "", "tags": {"who": "wang"}})
    replicate.replicate(mlflow_store, run)
    found = stored(mlflow_store, run)
    assert found.tags["who"] == "wang" and "paper" not in found.tags
    assert found.tags["mlflow.note.content"] == "what the conf is for"
    assert sync.behind(mlflow_store) == []


def test_tags_data_and_files_say_what_mlflow_users_look_for(
    mlflow_store: Workspace, told: Callable[..., RunFolder]
) -> None:
    run = told(outcome=None)
    git = {"commit": "0123456789", "branch": "main", "dirty": True}
    write_json(
        run.identity, run.read_json(run.identity) | {"git": git, "command": ["spectui", "train", "a b"]}
    )
    log = EventLog(run.events)
    log.append(
        "data", stars=60, points=64, fingerprint="abc123", wavelength=[3900.0, 4000.0], targets=["Teff"],
        train=40, val=10, test=10,
    )  # fmt: skip
    log.append(
        "pace", step=12, values={"samples_per_second": 5.0, "system/gpu_0_utilization_percentage": 7.0}
    )
    log.append("nonfinite", step=9, epoch=3, what="loss", value=float("nan"), action="skip")
    log.append("resume", step=8, attempt=2, exact=False, lost=["optimizer"])
    log.append("rewind", step=4, was=8, learning_rate=1e-4)
    log.append("end", outcome="finished", exit_code=0, message="")
    log.close()
    (run.checkpoints / "best.pt").write_bytes(b"weights")
    (run.checkpoints / "last.pt").write_bytes(b"others")
    replicate.replicate(mlflow_store, run)
    found = stored(mlflow_store, run)
    process = run.read_json(run.process)
    expected = {
        "mlflow.source.git.commit": "0123456789",
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.dirty": "true",
        "mlflow.source.type": "LOCAL",
        "spectui.command": "spectui train 'a b'",
        "spectui.pid": str(process["pid"]),
        "spectui.boot_id": process["boot_id"],
        "spectui.first_nonfinite": "loss@9",
        "spectui.rewound": "8 -> 4",
        "spectui.resumed_inexactly": "from step 8",
        "spectui.exit_code": "0",
        "spectui.workspace": str(mlflow_store.root),
    }
    assert {name: found.tags.get(name) for name in expected} == expected
    assert {"system/gpu_0_utilization_percentage", "step/samples_per_second"} <= set(found.metrics)
    api = store.client(mlflow_store, store.tracking_uri(mlflow_store, None))
    (data,) = api.get_run(found.mlflow_run_id).inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("spectral", "abc123")
    assert json.loads(data.dataset.source)["uri"] == str(mlflow_store.dataset / "spectral")
    assert json.loads(data.dataset.profile)["train"] == 40
    there = Path(found.artifact_uri.removeprefix("file://"))
    for name in ("best.pt", "last.pt"):
        assert (there / "checkpoints" / name).samefile(run.checkpoints / name), "no copy: one file, two names"
    assert not (there / "log.txt").exists() or not (there / "log.txt").samefile(run.log)


def test_the_trash_is_followed_there_and_back(
    mlflow_store: Workspace, told: Callable[..., RunFolder]
) -> None:
    run = told()
    name = replicate.replicate(mlflow_store, run)
    trash = mlflow_store.runs / ".trash"
    trash.mkdir()
    gone = RunFolder(run.path.rename(trash / run.run_id))
    assert [one.run_id for one in sync.behind(mlflow_store)] == [run.run_id]
    replicate.replicate(mlflow_store, gone)
    assert read.stored_runs(mlflow_store.mlflow_db) == [] and sync.behind(mlflow_store) == []
    back = RunFolder(gone.path.rename(run.path))
    replicate.replicate(mlflow_store, back)
    assert [one.mlflow_run_id for one in read.stored_runs(mlflow_store.mlflow_db)] == [name]
    # Deleted in MLflow by a person: it is not brought back behind their back.
    api = store.client(mlflow_store, store.tracking_uri(mlflow_store, None))
    api.delete_run(name)
    end(back, "stopped")
    replicate.replicate(mlflow_store, back)
    assert read.stored_runs(mlflow_store.mlflow_db) == [] and sync.behind(mlflow_store) == []


def test_a_workspace_that_was_moved_goes_on_in_its_own_database(
    mlflow_store: Workspace, told: Callable[..., RunFolder]
) -> None:
    run = told()
    name = replicate.replicate(mlflow_store, run)
    root = mlflow_store.root.rename(mlflow_store.root.with_name("moved"))
    moved = Workspace(root)
    again = RunFolder(root / "runs" / run.run_id)
    tell(again, 4, 4)
    end(again)
    assert [one.uri for one in sync.behind(moved)] == [f"sqlite:///{moved.mlflow_db}"]
    assert replicate.replicate(moved, again) == name
    assert len(read.metric_history(moved.mlflow_db, name, "val_loss")) == 4
    assert not mlflow_store.root.exists(), "nothing was written where it had been"
    there = Path(stored(moved, again).artifact_uri.removeprefix("file://"))
    assert there.is_relative_to(root) and (there / "loss_curve.pdf").is_file()


def test_a_child_that_comes_first_begins_its_parent(
    mlflow_store: Workspace, told: Callable[..., RunFolder]
) -> None:
    parent, child = told(), told()
    write_json(child.identity, child.read_json(child.identity) | {"parent": parent.run_id})
    replicate.replicate(mlflow_store, child)
    name = parent.read_json(parent.tracking)["run_id"]
    assert stored(mlflow_store, child).tags["mlflow.parentRunId"] == name
    assert [(one.run_id, one.waiting) for one in sync.behind(mlflow_store)] == [(parent.run_id, 9)]
    assert replicate.replicate(mlflow_store, parent) == name
    assert stored(mlflow_store, parent).status == "FINISHED"


def test_a_store_that_was_thrown_away_is_filled_anew(
    mlflow_store: Workspace, told: Callable[..., RunFolder]
) -> None:
    run = told()
    replicate.replicate(mlflow_store, run)
    state = run.read_json(run.tracking)
    before = read.metric_history(mlflow_store.mlflow_db, state["run_id"], "val_loss")
    write_json(run.tracking, state | {"run_id": "0" * 32, "closed": None})
    assert replicate.replicate(mlflow_store, run) == state["run_id"], "found by its tag"
    write_json(run.tracking, run.read_json(run.tracking) | {"run_id": "1" * 32, "closed": None})
    api = store.client(mlflow_store, store.tracking_uri(mlflow_store, None))
    api.set_tag(state["run_id"], "spectui.run_id", "no longer")
    name = replicate.replicate(mlflow_store, run)
    assert name != state["run_id"]
    assert read.metric_history(mlflow_store.mlflow_db, name, "val_loss") == before
