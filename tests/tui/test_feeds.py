"""The list of runs as the app keeps it: what is looked at again, and what is seen."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.conf.load import resolve
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, create, note_process, write_json
from engine.runs.record import Record
from engine.workspace import Workspace
from tui.feeds import RunFeed

NewRun = Callable[..., RunFolder]


@pytest.fixture
def new_run(workspace: Workspace) -> NewRun:
    """`new_run('name=x')` is a fresh run folder."""
    return lambda *sets: create(workspace, resolve(workspace, "demo", sets=sets))


def end(run: RunFolder, outcome: str = "finished") -> None:
    log = EventLog(run.events)
    log.append("end", outcome=outcome, exit_code=0, message="")
    log.close()


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The run ids that were read, in order."""
    seen: list[str] = []
    refresh = Record.refresh

    def told(record: Record, limit: int | None = None) -> bool:
        seen.append(record.run_id)
        return refresh(record, limit)

    monkeypatch.setattr(Record, "refresh", told)
    return seen


@pytest.fixture
def feed(workspace: Workspace) -> Iterator[Callable[[], RunFeed]]:
    """Start a feed in a thread, as the app does; it is ended after the test."""
    started: list[tuple[RunFeed, threading.Thread]] = []

    def start() -> RunFeed:
        made = RunFeed(workspace, lambda: None, lambda: None)
        thread = threading.Thread(target=made.run, args=(lambda: False, 0.02))
        thread.start()
        started.append((made, thread))
        return made

    yield start
    for made, thread in started:
        made.close()
        thread.join(30)
        assert not thread.is_alive()


def test_runs_that_ended_are_left_alone_until_their_folder_says_so(
    workspace: Workspace, new_run: NewRun, feed: Callable[[], RunFeed], looked_at: list[str],
    until: Callable[..., None],
) -> None:  # fmt: skip
    ended, live = new_run("name=ended"), new_run("name=live")
    end(ended)
    note_process(live)  # this process: it lives
    made = feed()
    until(lambda: made.loaded and len(made.rows) == 2)
    until(lambda: looked_at.count(live.run_id) > 20)
    assert looked_at.count(ended.run_id) < 5, "not read at every tick"
    assert made.live() == 1

    def row(run: RunFolder) -> Record:
        (found,) = [row for row in made.rows if row.run_id == run.run_id]
        return found

    write_json(ended.about, {"name": "renamed", "note": "", "tags": {}})
    until(lambda: row(ended).name == "renamed")
    log = EventLog(ended.events)
    log.append("attempt", number=2)
    log.close()
    note_process(ended)
    until(lambda: made.live() == 2)
    end(ended, "stopped")
    until(lambda: row(ended).state == "stopped" and made.live() == 1)
    shutil.rmtree(ended.path)
    until(lambda: [row.run_id for row in made.rows] == [live.run_id])


@pytest.mark.xdist_group("mlflow")
def test_a_run_in_both_places_is_one_row_with_its_twin(
    mlflow_store: Workspace, new_run: NewRun, feed: Callable[[], RunFeed], until: Callable[..., None]
) -> None:
    from mlflow import MlflowClient

    api = MlflowClient(f"sqlite:///{mlflow_store.mlflow_db}")
    experiment = api.create_experiment("elsewhere")
    mine, other = new_run(), api.create_run(experiment, run_name="other").info.run_id
    twin = api.create_run(experiment, tags={"spectui.run_id": mine.run_id}).info.run_id
    made = feed()
    until(lambda: {row.run_id for row in made.rows} == {mine.run_id, other})
    (row,) = [row for row in made.rows if row.run_id == mine.run_id]
    assert row.twin is not None
    assert row.twin.mlflow_run_id == twin
    api.log_metric(other, "val_loss", 0.25)
    api.log_metric(other, "val_loss", 0.5, step=1)
    until(lambda: [row.best for row in made.rows if row.run_id == other] == [{"val_loss": 0.25}])
    shutil.rmtree(mine.path)
    until(lambda: {row.run_id for row in made.rows} == {other, twin}, 30)
    Path(mlflow_store.mlflow_db).write_bytes(b"no database" * 1000)
    until(lambda: "file is not a database" in made.error)
    assert len(made.rows) == 2, "what was there stays"


def test_rows_are_shown_while_the_rest_is_read_and_seldom(workspace: Workspace, new_run: NewRun) -> None:
    model = new_run("name=r")
    end(model)
    for number in range(449):
        shutil.copytree(model.path, workspace.runs / f"r{number:03}-20260101-000000-{number:04x}")
    counts: list[int] = []
    made = RunFeed(workspace, lambda: counts.append(len(made.rows)), lambda: None)
    made.run(lambda: made.loaded, 0.02)
    # To merge and arrange the rows for every fifty takes longer than to read them.
    assert counts == [50, 100, 200, 400, 450]
