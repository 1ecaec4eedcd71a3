"""Removed runs: moved, listed, brought back, deleted; a real MLflow for those that only it knows."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import BadInput
from engine.runs import acts, find, trash
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process
from engine.runs.process import hold_lock, identify
from engine.runs.record import Record
from engine.track import listing
from engine.workspace import Workspace


@pytest.fixture
def ended(new_run: Callable[..., RunFolder]) -> Callable[[], Record]:
    """`ended()` is a run that was stopped."""

    def make() -> Record:
        run = new_run()
        note_process(run, identity=replace(identify(), start_time="1"))
        events = EventLog(run.events)
        events.append("end", outcome="stopped", exit_code=85, message="")
        events.close()
        record = Record(run.path)
        record.refresh()
        return record

    return make


def test_there_and_back(workspace: Workspace, ended: Callable[[], Record]) -> None:
    record, other = ended(), ended()
    acts.rename(record, "by mistake")
    record.folder.lock.touch()
    before = {p.name: p.read_bytes() for p in record.folder.path.iterdir() if p.is_file()}
    acts.remove(workspace, record)
    assert [path.name for path in find.folders(workspace)] == [other.run_id]
    (one,) = trash.listing(workspace)
    assert (one.run_id, one.name, one.only_mlflow) == (record.run_id, "by mistake", False)
    assert one.size >= one.freed > 0
    assert trash.restore(workspace, ["by mistake"]) == [record.run_id]
    assert {p.name: p.read_bytes() for p in record.folder.path.iterdir() if p.is_file()} == before
    assert trash.listing(workspace) == []


def test_what_is_at_work_is_not_removed(
    workspace: Workspace, ended: Callable[[], Record], new_run: Callable[..., RunFolder]
) -> None:
    live = new_run()
    note_process(live)
    waiting = new_run()
    waiting.queued.write_text("{}")
    for run in (live, waiting):
        with pytest.raises(BadInput, match="spectui stop"):
            acts.remove(workspace, Record(run.path))
        assert run.path.is_dir()
    gone = ended()
    acts.remove(workspace, gone)
    with pytest.raises(BadInput, match="gone"):
        acts.remove(workspace, gone)


def test_an_engine_that_nobody_noted_is_heard_by_its_lock(
    workspace: Workspace, ended: Callable[[], Record], until: Callable[..., Any]
) -> None:
    record = ended()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # lockf is a process's own: another one must hold it
        hold_lock(record.folder.lock)
        os.write(writer, b"x")
        os.read(os.pipe()[0], 1)
    try:
        os.read(reader, 1)
        with pytest.raises(BadInput, match="at work"):
            acts.remove(workspace, record)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    acts.remove(workspace, record)


def test_emptying_deletes_and_says_what_it_frees(workspace: Workspace, ended: Callable[[], Record]) -> None:
    first, second = ended(), ended()
    big = first.folder.checkpoints / "step-1.pt"
    big.write_bytes(os.urandom(1_000_000))
    (first.folder.checkpoints / "last.pt").hardlink_to(big)
    shared = first.folder.checkpoints / "best.pt"
    shared.write_bytes(os.urandom(3_000_000))
    (workspace.root / "artifact.pt").hardlink_to(shared)
    for record in (first, second):
        acts.remove(workspace, record)
    one = next(one for one in trash.listing(workspace) if one.run_id == first.run_id)
    assert 4_000_000 < one.size < 4_200_000
    assert 1_000_000 < one.freed < 1_200_000
    with pytest.raises(BadInput) as refused:
        trash.empty(workspace, [first.run_id, "nobody", "nothing"])
    assert len(refused.value.lines) == 2
    assert len(trash.listing(workspace)) == 2, "nothing was deleted"
    assert trash.empty(workspace, [first.run_id]) == one.freed
    assert [left.run_id for left in trash.listing(workspace)] == [second.run_id]
    trash.empty(workspace)
    assert list(trash.place(workspace).iterdir()) == []
    assert (workspace.root / "artifact.pt").stat().st_size == 3_000_000


def test_what_a_kill_left_half_deleted_is_swept(workspace: Workspace, ended: Callable[[], Record]) -> None:
    record = ended()
    acts.remove(workspace, record)
    half = trash.place(workspace) / f".emptying-{record.run_id}"
    (trash.place(workspace) / record.run_id).rename(half)
    assert trash.listing(workspace) == []
    assert trash.strays(workspace) == [half]
    trash.empty(workspace)
    assert not half.exists()


def test_a_run_is_not_brought_back_over_another(workspace: Workspace, ended: Callable[[], Record]) -> None:
    record, other = ended(), ended()
    for one in (record, other):
        acts.remove(workspace, one)
    record.folder.path.mkdir()
    with pytest.raises(BadInput, match="among the runs"):
        trash.restore(workspace, [other.run_id, record.run_id])
    assert len(trash.listing(workspace)) == 2, "all or none"
    with pytest.raises(BadInput, match="not in the trash"):
        trash.restore(workspace, ["nobody"])


def test_a_run_of_mlflow_alone_is_soft_deleted_and_restored(
    mlflow_store: Workspace, until: Callable[..., Any]
) -> None:
    from mlflow import MlflowClient

    api = MlflowClient(f"sqlite:///{mlflow_store.mlflow_db}")
    run_id = api.create_run("0", run_name="theirs").info.run_id
    with pytest.raises(BadInput, match="MLflow calls it running"):
        acts.remove(mlflow_store, listing.find(mlflow_store, "theirs"))
    api.set_terminated(run_id)

    def stage() -> str:
        return str(api.get_run(run_id).info.lifecycle_stage)

    acts.remove(mlflow_store, listing.find(mlflow_store, "theirs"))
    (one,) = trash.listing(mlflow_store)
    assert (one.run_id, one.name, one.only_mlflow) == (run_id, "theirs", True)
    until(lambda: stage() == "deleted")
    trash.restore(mlflow_store, ["theirs"])
    until(lambda: stage() == "active")
    assert trash.listing(mlflow_store) == []
