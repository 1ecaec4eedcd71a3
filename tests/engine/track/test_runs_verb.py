"""`spectui runs` and `watch` over runs that only MLflow has, through the real command."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, write_json
from engine.track import store
from engine.workspace import Workspace

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def foreign(mlflow_store: Workspace) -> Any:
    """Three runs of another program: one with a NaN, one without the metric."""
    api = store.client(mlflow_store, store.tracking_uri(mlflow_store, None))
    experiment = api.create_experiment("elsewhere")
    ids = []
    for number, loss in enumerate([0.5, math.nan, None]):
        run = api.create_run(experiment, run_name=f"theirs {number}", start_time=1_700_000_000_000 + number)
        ids.append(run.info.run_id)
        api.log_param(ids[-1], "lr", f"1e-{number + 3}")
        if loss is not None:
            api.log_metric(ids[-1], "val_loss", 0.125, step=0)
            api.log_metric(ids[-1], "val_loss", loss, step=1)
        api.set_tag(ids[-1], "mood", f"mood {number}")
        api.set_tag(ids[-1], "mlflow.note.content", "a note")
    return api, ids


@pytest.fixture
def mine(new_run: Callable[..., RunFolder]) -> RunFolder:
    """A run folder that ended, with what people said of it."""
    run = new_run("name=mine")
    write_json(run.about, {"name": "renamed", "note": "the good one", "tags": {"mood": "mine"}})
    log = EventLog(run.events)
    for epoch, loss in enumerate([0.75, 0.25, 1.0], 1):
        log.append("epoch", epoch=epoch, step=epoch, values={"val_loss": loss})
    log.append("end", outcome="finished", exit_code=0, message="")
    log.close()
    return run


def listed(processes: Any, *words: str) -> list[str]:
    done = processes.run("runs", "--csv", "--columns", "name", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[1:]


def test_the_list_is_filtered_sorted_and_shown_by_any_key(
    processes: Any, foreign: Any, mine: RunFolder
) -> None:
    _, ids = foreign
    columns = ["name", "run_id", "min(val_loss)", "max(val_loss)", "last.val_loss", "params.lr", "tags.mood",
               "note", "status", "parent", 'metrics."val_loss"']  # fmt: skip
    done = processes.run("runs", "--csv", "--sort", "name", "--columns", ",".join(columns))
    head, first, *others = csv.reader(io.StringIO(done.stdout))
    assert head == columns
    assert first == [
        "renamed", mine.run_id, "0.25", "1.0", "1.0", "", "mine", "the good one", "FINISHED", "", "1.0",
    ]  # fmt: skip
    assert [row[:2] for row in others] == [[f"theirs {n}", run] for n, run in enumerate(ids)]
    assert others[0][2:] == ["0.125", "0.5", "0.5", "1e-3", "mood 0", "a note", "RUNNING", "", "0.5"]
    assert others[1][2:5] == ["0.125", "0.125", "nan"]
    assert listed(processes, "--sort", "-metrics.val_loss", "--limit", "2") == ["renamed", "theirs 0"]
    assert listed(processes, "--limit", "2") == ["renamed", "theirs 2"]
    query = "(best(val_loss) < 0.2 OR note ~ good) AND NOT params.lr < 0.0005"
    assert listed(processes, "--filter", query, "--sort", "name") == ["renamed", "theirs 0"]
    assert listed(processes, "--filter", "attributes.run_name LIKE 'theirs%' and tags.mood = 'mood 2'") == [
        "theirs 2"
    ]
    shown = json.loads(processes.run("runs", "--json", "--filter", "age > 1d", "--sort", "name").stdout)
    assert [(run["name"], run["note"], run["tags"]) for run in shown] == [
        (f"theirs {n}", "a note", {"mood": f"mood {n}"}) for n in range(3)
    ]
    assert shown[0]["best"] == {"val_loss": 0.125}


def test_a_wrong_filter_is_one_line_and_exit_code_2(processes: Any, mine: RunFolder) -> None:
    for words in (("--filter", "best(val_los < 3"), ("--filter", "stat = x"), ("--sort", "-nosuch"),
                  ("--columns", "name,nosuch")):  # fmt: skip
        done = processes.run("runs", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_store_that_is_away_is_told_in_one_line(
    processes: Any, mine: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = processes.run("runs")
    assert done.returncode == 0
    assert mine.run_id in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("http://127.0.0.1:9 cannot be read now: ")


def test_watch_follows_a_run_of_another_program_until_it_ends(processes: Any, foreign: Any) -> None:
    api, ids = foreign
    process = processes.start("watch", ids[0])
    assert process.stdout.readline() == "val_loss 0.5\n"
    api.log_metric(ids[0], "val_loss", 0.0625, step=2)
    assert process.stdout.readline() == "val_loss 0.0625\n"
    api.set_terminated(ids[0], "FINISHED")
    assert process.stdout.readline() == f"{ids[0]} is finished\n"
    assert process.wait(60) == 0
    bad = processes.run("watch", ids[1], "--until-bad")
    assert bad.returncode == 87, "its loss is NaN while it runs"
