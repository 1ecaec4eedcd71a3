"""The doctor: what it finds in a workspace that was really treated so, and what repair mends and leaves."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace

import pytest

from engine import doctor
from engine.cli import main
from engine.doctor import place
from engine.runs import survive
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process
from engine.runs.process import identify, is_alive
from engine.track import sync
from engine.workspace import Workspace

SLEEP = [sys.executable, "-c", "import time; time.sleep(300)"]


def found(workspace: Workspace, *, repair: bool = False) -> dict[str, str]:
    """What is not well: id and status."""
    checks = doctor.examine(workspace, repair=repair)
    assert all(check.text and "{" not in check.text for check in checks)
    return {check.id: check.status for check in checks if check.status != doctor.OK}


@pytest.fixture
def dead(new_run: Callable[..., RunFolder]) -> Callable[[], RunFolder]:
    """`dead()` is a run that died unseen."""

    def make() -> RunFolder:
        run = new_run()
        note_process(run, identity=replace(identify(), start_time="1"))
        EventLog(run.events).append("attempt", number=1)
        return run

    return make


def test_a_healthy_workspace_has_nothing(
    workspace: Workspace, dead: Callable[[], RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    EventLog(dead().events).append("end", outcome="finished", exit_code=0, message="")
    assert found(workspace) == {}
    assert main(["doctor", "--root", str(workspace.root), "--json"]) == 0
    assert {check["status"] for check in json.loads(capsys.readouterr().out)} == {"ok"}


def test_processes_of_a_dead_run_are_named_and_ended_with_repair_only(
    workspace: Workspace, dead: Callable[[], RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    run = dead()
    root = str(workspace.root)
    ours = os.environ | {"SPECTUI_RANKED": run.run_id, "SPECTUI_ROOT": root}
    left = subprocess.Popen(SLEEP, env=ours, start_new_session=True)
    other = subprocess.Popen(SLEEP, env=ours | {"SPECTUI_ROOT": "/another"}, start_new_session=True)
    try:
        identity = identify(left.pid)
        assert found(workspace) == {"leftover": doctor.PROBLEM}
        assert main(["doctor", "--root", root]) == 1
        said = capsys.readouterr().out
        assert f"pid {left.pid})" in said and "--repair" in said
        assert is_alive(identity)
        assert main(["doctor", "--root", root, "--repair"]) == 0
        assert "mended" in capsys.readouterr().out
        assert not is_alive(identity)
        assert other.poll() is None, "another workspace's"
        assert found(workspace) == {}
    finally:
        for child in (left, other):
            child.kill()
            child.wait()


def test_a_living_run_and_one_that_is_ending_are_left_alone(
    workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    run = new_run()
    marked = os.environ | {"SPECTUI_RUN": run.run_id, "SPECTUI_ROOT": str(workspace.root)}
    engine = subprocess.Popen(SLEEP, env=marked, start_new_session=True)
    try:
        note_process(run, identity=identify(engine.pid))
        assert found(workspace, repair=True) == {}
        events = EventLog(run.events)
        events.append("end", outcome="finished", exit_code=0, message="")
        assert found(workspace, repair=True) == {}, "it waits for MLflow"
        assert engine.poll() is None
        lines = run.events.read_text().splitlines()
        long_ago = json.loads(lines[-1]) | {"time": time.time() - 3600}
        run.events.write_text(json.dumps(long_ago) + "\n")
        assert found(workspace) == {"leftover": doctor.PROBLEM}
    finally:
        engine.kill()
        engine.wait()


def test_half_a_line_is_ended(workspace: Workspace, dead: Callable[[], RunFolder]) -> None:
    run = dead()
    with run.events.open("a") as file:
        file.write('{"kind":"st')
    assert found(workspace) == {"torn": doctor.WARNING}
    assert found(workspace, repair=True) == {"torn": doctor.MENDED}
    assert run.events.read_text().endswith('{"kind":"st\n')
    assert found(workspace) == {}


def test_strays_are_swept_when_they_are_old(workspace: Workspace, dead: Callable[[], RunFolder]) -> None:
    run = dead()
    strays = [workspace.runs / ".new-tiny-1", run.path / ".about.json.1.tmp"]
    strays[0].mkdir()
    strays[1].touch()
    half = workspace.runs / ".trash" / ".emptying-tiny-2"
    half.mkdir(parents=True)
    assert found(workspace) == {"stray": doctor.WARNING}
    (only,) = [check for check in doctor.examine(workspace) if check.id == "stray"]
    assert ".emptying-" in only.text, "the others may be at work"
    for path in strays:
        os.utime(path, (1, 1))
    assert len([check for check in doctor.examine(workspace, repair=True) if check.id == "stray"]) == 3
    assert not any(path.exists() for path in [*strays, half])
    assert run.path.is_dir()


def test_a_death_that_mlflow_was_not_told_is_told(
    workspace: Workspace, new_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run("tracking.enabled=true")
    note_process(run, identity=replace(identify(), start_time="1"))
    EventLog(run.events).append("attempt", number=1)
    run.tracking.write_text('{"run_id": "abc", "uri": "sqlite:////x.db"}')
    told: list[str] = []
    monkeypatch.setattr(sync, "start", lambda workspace, folder: told.append(folder.run_id))
    assert found(workspace) == {"died": doctor.PROBLEM}
    assert told == []
    assert found(workspace, repair=True) == {"died": doctor.MENDED}
    assert told == [run.run_id]
    run.tracking.write_text('{"run_id": "abc", "uri": "sqlite:////x.db", "closed": "died"}')
    assert found(workspace) == {}


def test_damaged_checkpoints_are_pointed_at(workspace: Workspace, dead: Callable[[], RunFolder]) -> None:
    run = dead()
    (run.checkpoints / "step-4.pt.bad").touch()
    assert found(workspace, repair=True) == {"bad_checkpoint": doctor.WARNING}
    assert (run.checkpoints / "step-4.pt.bad").exists(), "a person may want to look at it"


def test_a_clock_that_was_set_back_is_seen(workspace: Workspace, dead: Callable[[], RunFolder]) -> None:
    run = dead()
    ahead = time.time() + 7200
    os.utime(run.events, (ahead, ahead))
    assert found(workspace) == {"clock": doctor.WARNING}


def test_log_out_is_explained(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survive, "killed_at_logout", lambda: True)
    monkeypatch.setattr(survive, "scope_works", lambda: False)
    assert found(workspace) == {"logout": doctor.PROBLEM}
    monkeypatch.setattr(survive, "scope_works", lambda: True)
    monkeypatch.setattr(survive, "lingers", lambda: False)
    assert found(workspace) == {"logout": doctor.WARNING}
    monkeypatch.setattr(survive, "lingers", lambda: True)
    assert found(workspace) == {}


def test_a_network_file_system_and_a_write_ahead_log_there(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = "22 1 0:5 / / rw - ext4 /dev/sda rw\n23 22 0:6 / {} rw - nfs4 host:/x rw\n"
    assert place.file_system(workspace.root, mounts.format(workspace.root.parent)) == "nfs4"
    assert place.file_system(workspace.root, mounts.format("/mnt")) == "ext4"
    monkeypatch.setattr(place, "file_system", lambda folder: "nfs4")
    assert found(workspace) == {"file_system": doctor.WARNING}
    with sqlite3.connect(workspace.mlflow_db) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table experiments (name, artifact_location, experiment_id)")
    database.close()
    assert found(workspace)["store.wal"] == doctor.PROBLEM


def test_a_disk_that_is_nearly_full(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, status in ((1e9, doctor.WARNING), (5e7, doctor.PROBLEM)):
        usage = types.SimpleNamespace(free=free)
        monkeypatch.setattr(place.shutil, "disk_usage", lambda root, usage=usage: usage)
        assert found(workspace) == {"disk": status}
