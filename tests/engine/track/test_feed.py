"""A store that is followed: what MLflow's client does to it is seen, and so is what it does to the file."""

from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.runs import select
from engine.runs.process import identify
from engine.track import listing, read, remote, store
from engine.track.feed import StoreFeed
from engine.workspace import Workspace

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def api(mlflow_store: Workspace) -> Any:
    return store.client(mlflow_store, store.tracking_uri(mlflow_store, None))


@pytest.fixture
def make(api: Any) -> Callable[..., str]:
    """`make('name', loss=0.5, t_host='here')` is the id of a new MLflow run: t_… are tags spectui.…."""
    experiment = api.create_experiment("elsewhere")

    def new(name: str, **values: Any) -> str:
        run = api.create_run(experiment, run_name=name, start_time=1_700_000_000_000).info.run_id
        for key, value in values.items():
            if key.startswith("t_"):
                api.set_tag(run, f"spectui.{key[2:]}", value)
            else:
                api.log_metric(run, key, value)
        return str(run)

    return new


def ended(api: Any, run: str) -> None:
    api.set_terminated(run, "FINISHED", end_time=1_700_000_060_000)


def test_every_change_by_another_program_is_seen(
    mlflow_store: Workspace, api: Any, make: Callable[..., str], until: Callable[..., Any]
) -> None:
    first, second = make("one", loss=0.5), make("two", loss=0.25)
    ended(api, first)
    api.set_tag(first, "mood", "good")
    feed = StoreFeed(mlflow_store.mlflow_db)
    assert feed.tick()
    assert set(feed.runs) == {first, second}
    assert not feed.tick(), "nothing happened"
    before = feed.runs[first]
    changes: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
        (
            lambda: api.log_metric(first, "loss", 0.125, step=1),
            lambda: feed.runs[first].metrics["loss"] == 0.125,
        ),
        (lambda: api.log_param(first, "k", "v"), lambda: feed.runs[first].params["k"] == "v"),
        (lambda: api.set_tag(first, "mood", "bad"), lambda: feed.runs[first].tags["mood"] == "bad"),
        (lambda: api.delete_tag(first, "mood"), lambda: "mood" not in feed.runs[first].tags),
        (lambda: api.update_run(first, name="uno"), lambda: feed.runs[first].name == "uno"),
        (lambda: ended(api, second), lambda: feed.runs[second].state == "finished"),
        (lambda: api.delete_run(second), lambda: second not in feed.runs),
        (lambda: api.restore_run(second), lambda: second in feed.runs),
        (lambda: make("three"), lambda: len(feed.runs) == 3),
    ]
    for number, (change, seen) in enumerate(changes):
        change()
        assert until(lambda seen=seen: feed.tick() and seen(), 20), number
        assert set(feed.runs) == {run.mlflow_run_id for run in read.stored_runs(mlflow_store.mlflow_db)}
    for run in read.stored_runs(mlflow_store.mlflow_db):
        assert feed.runs[run.mlflow_run_id] == run, "the same as when it is read anew"
    assert feed.runs[first] is not before, "a run that changed is another object"
    feed.close()


def test_a_store_that_is_replaced_vacuumed_or_gone_is_read_anew(
    mlflow_store: Workspace, api: Any, make: Callable[..., str], until: Callable[..., Any], tmp_path: Path
) -> None:
    first = make("one", loss=0.5)
    database = mlflow_store.mlflow_db
    shutil.copy(database, tmp_path / "old.db")
    second = make("two", loss=0.25)
    feed = StoreFeed(database)
    feed.tick()
    assert set(feed.runs) == {first, second}
    with closing(sqlite3.connect(database)) as connection:
        # What `mlflow gc` does: rows go for good, and numbers of rows are given out again.
        for table in ("latest_metrics", "metrics", "tags", "params", "runs"):
            connection.execute(f"delete from {table} where run_uuid = ?", (second,))
        connection.commit()
        connection.execute("vacuum")
    until(lambda: feed.tick() and set(feed.runs) == {first}, 20)
    Path(shutil.copy(tmp_path / "old.db", tmp_path / "new.db")).replace(database)
    feed.tick()
    assert set(feed.runs) == {first}
    assert feed.error == ""
    database.unlink()
    assert feed.tick()
    assert feed.runs == {}
    feed.close()


def test_a_store_that_is_locked_or_broken_keeps_the_rows(
    mlflow_store: Workspace, make: Callable[..., str], until: Callable[..., Any]
) -> None:
    run = make("one", loss=0.5)
    feed = StoreFeed(mlflow_store.mlflow_db)
    feed.tick()
    with closing(sqlite3.connect(mlflow_store.mlflow_db, isolation_level=None)) as other:
        other.execute("pragma journal_mode = delete")
        other.execute("begin exclusive")
        other.execute("update runs set name = 'renamed'")
        assert not feed.tick()
        assert (set(feed.runs), feed.error) == ({run}, "")
        other.execute("commit")
    until(lambda: feed.tick() and feed.runs[run].name == "renamed", 20)
    feed.close()
    mlflow_store.mlflow_db.write_bytes(b"this is no database" * 1000)
    assert not feed.tick()
    assert set(feed.runs) == {run}
    assert "mlflow.db: file is not a database" in feed.error
    assert "\n" not in feed.error


def test_a_run_whose_process_is_gone_is_not_running_for_ever(
    mlflow_store: Workspace, make: Callable[..., str], until: Callable[..., Any]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        facts = {f"t_{key}": str(value) for key, value in identify(process.pid).plain().items()}
        mine, elsewhere = make("mine", **facts), make("elsewhere", **(facts | {"t_host": "far away"}))
        unknown, ended_by = make("unknown"), make("stopped", t_state="stopped")
        feed = StoreFeed(mlflow_store.mlflow_db)
        feed.tick()
        assert {run.state for run in feed.runs.values()} == {"running"}, (
            "what its tag said before counts no more"
        )
        assert not feed.tick()
        process.communicate(b"\n")
    assert feed.tick(), "its end is told although the store says nothing"
    assert feed.runs[mine].state == "died"
    assert {feed.runs[run].state for run in (elsewhere, unknown, ended_by)} == {"running"}
    feed.close()
    (record,) = select.select(listing.all_records(mlflow_store), "state = died")
    assert (record.run_id, record.live) == (mine, False)
    assert len(select.select(listing.all_records(mlflow_store), "status = 'RUNNING'")) == 4, "as MLflow says"


def test_least_greatest_and_best_come_from_all_points(mlflow_store: Workspace, api: Any, make: Any) -> None:
    run = make("one", val_loss=0.5)
    for step, value in enumerate([0.125, math.nan, 3.0], 1):
        api.log_metric(run, "val_loss", value, step=step)
        api.log_metric(run, "accuracy", value, step=step)
    (record,) = listing.all_records(mlflow_store)
    values = {
        k: select.value(record, k)
        for k in ("min(val_loss)", "max(val_loss)", "last(val_loss)", "best.val_loss")
    }
    assert values == {
        "min(val_loss)": 0.125,
        "max(val_loss)": 3.0,
        "last(val_loss)": 3.0,
        "best.val_loss": 0.125,
    }
    assert select.value(record, "best(accuracy)") == 3.0
    for expression in ("best(val_loss) < 0.2", "max(`val_loss`) >= 3 and min(val_loss) = 0.125"):
        assert select.select([record], expression) == [record]
    assert select.select([record], "min(val_loss) < 0.1 or min(nosuch) < 1 or not last(val_loss) > 0") == []
    feed = StoreFeed(mlflow_store.mlflow_db)
    feed.tick()
    assert feed.runs[run].extremes("val_loss") == (None, None), "whoever follows is not kept waiting"
    assert feed.tick()
    assert feed.runs[run].extremes("val_loss") == (0.125, 3.0)
    feed.close()


@pytest.mark.slow  # MLflow looks again and again in a process of its own
def test_mlflow_in_a_child_reads_the_same(
    mlflow_store: Workspace, api: Any, make: Any, until: Callable[..., Any]
) -> None:
    run = make("日本", val_loss=math.nan, other=math.inf, t_note="'quoted'\n")
    api.log_metric(run, "val_loss", 0.5, step=3)
    api.log_metric(run, "val_loss", 0.25, step=3, timestamp=2_000_000_000_000)
    uri = f"sqlite:///{mlflow_store.mlflow_db}"
    (direct,) = read.stored_runs(mlflow_store.mlflow_db)
    points = remote.histories(uri, run)
    for key in ("val_loss", "other"):
        wanted = read.metric_history(mlflow_store.mlflow_db, run, key)
        assert repr(points[key]) == repr(wanted)
    feed = remote.RemoteFeed(uri, seconds=0.1)
    try:
        assert until(lambda: feed.tick() and feed.runs == {run: direct})
        ended(api, run)
        assert until(lambda: feed.tick() and feed.runs[run].state == "finished")
        api.delete_run(run)
        assert until(lambda: feed.tick() and not feed.runs)
    finally:
        feed.close()


def test_a_store_of_another_form_is_left_to_mlflow(mlflow_store: Workspace, make: Any) -> None:
    make("one")
    with closing(sqlite3.connect(mlflow_store.mlflow_db)) as connection:
        connection.execute("alter table latest_metrics rename column is_nan to not_a_number")
        connection.commit()
    with pytest.raises(read.UnknownForm, match=r"latest_metrics\.is_nan"):
        read.stored_runs(mlflow_store.mlflow_db)
    with pytest.raises(read.UnknownForm):
        StoreFeed(mlflow_store.mlflow_db).tick()
    problems: list[str] = []
    assert listing.all_records(mlflow_store, problems) == []
    (problem,) = problems
    assert "cannot be read now" in problem
    assert "\n" not in problem
