"""A run that was killed and stopped and resumed is one run in MLflow, with every point once."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.conf.load import flatten
from engine.track import replicate
from engine.track.follow import BusyError

from .conftest import CONF, House, Trial, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("mlflow")]

HOLD = """
import time
from pathlib import Path
from threading import Thread
import __main__ as forks
def strike(after):
    while not Path({go!r}).exists():
        time.sleep(0.02)
forks.strike = strike
forks.mine("testing", 1, 0.0)
"""
STOP = """
import os, signal
import __main__ as forks
forks.strike = lambda after: os.kill(os.getpid(), signal.SIGTERM)
forks.mine("update", 9, 0.0)
"""


@pytest.fixture
def house(build: Callable[..., House], mlflow_template: Path) -> House:
    made = build(CONF.replace("enabled: false", "enabled: true"))
    shutil.copy(mlflow_template, made.workspace.mlflow_db)
    return made


def asked(house: House, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{house.workspace.mlflow_db}?mode=ro", uri=True)) as store:
        return store.execute(question).fetchall()


def status(house: House) -> str:
    found = asked(house, "select status from runs")
    assert len(found) <= 1, "one run"
    return str(found[0][0]) if found else ""


def every_point_once(house: House, trial: Trial) -> None:
    """Compare the store with the events: no point twice, none missing."""
    points = asked(house, "select key, step, count(*) from metrics group by key, step")
    assert [point for point in points if point[2] != 1] == []
    there = {(key, step) for key, step, _ in points}
    for event in trial.events("epoch"):
        assert {(name, event["epoch"]) for name in event["values"]} <= there
    for event in trial.events("steps"):
        assert {(f"step/{name}", step) for name in event["columns"] for step in event["step"]} <= there
    (test,) = trial.events("test")
    assert {(f"test_{name}", test["epoch"]) for name in test["values"]} <= there | {
        (f"test_{name}", test["epoch"])
        for name, value in test["values"].items()
        if not isinstance(value, float | int)
    }
    assert len(flatten(trial.record.conf())) == asked(house, "select count(*) from params")[0][0]


def test_one_run_through_kill_and_stop(house: House, tmp_path: Path) -> None:
    trial = house.train(kill=[("update", 15, 0.0)], code=-signal.SIGKILL)
    # at once: the replicator of the first attempt is still at work
    trial.resume(before=STOP, code=85)
    tracked = json.loads((trial.run.path / "mlflow.json").read_text())
    assert (tracked["closed"], status(house)) == ("stopped", "KILLED")
    go = tmp_path / "go"
    engine = house.start("resume", trial.run.run_id, before=HOLD.format(go=str(go)))
    wait_for(lambda: status(house) == "RUNNING", 60)
    go.touch()
    assert engine.wait(120) == 0, engine.said
    assert f"run {tracked['run_id']}" in engine.said
    assert status(house) == "FINISHED"
    every_point_once(house, trial)


# Has the lock until it is told to let go.
HOLDER = """
import fcntl, sys
with open(sys.argv[1], "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_replicator_leaves_a_run_to_the_first(house: House) -> None:
    """A store that keeps every point it is given would have them twice."""
    run = house.train("tracking.enabled=false").run
    command = [sys.executable, "-c", HOLDER, str(run.tracking_lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin is not None and first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(BusyError):
            replicate.replicate(house.workspace, run)
        first.stdin.close()
        first.wait(30)
    assert replicate.replicate(house.workspace, run) == run.read_json(run.tracking)["run_id"]


def test_killed_while_it_is_tested(house: House) -> None:
    """Closed as KILLED by whoever is left; opened again, and the test errors are there once."""
    trial = house.train(kill=[("export", 1, 0.0)], code=-signal.SIGKILL)
    wait_for(lambda: status(house) == "KILLED", 60)
    trial.resume()
    assert status(house) == "FINISHED"
    every_point_once(house, trial)
