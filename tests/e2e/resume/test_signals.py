"""Asked to stop, at any time, by any signal: exit code 85, a truthful end, and the same bits after resume."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from engine.conf.load import resolve
from engine.runs import launch
from engine.runs.folder import create
from engine.runs.record import Record

from .conftest import House, Trial, as_if_never_disturbed, wait_for

pytestmark = pytest.mark.e2e

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# Where the process sends itself a signal: a place in the engine (see forks.py), its n-th visit.
ASK = """
import importlib, os
place, visit, numbers = {asked!r}
import __main__ as forks
def strike(after):
    for number in numbers:
        os.kill(os.getpid(), number)
forks.strike = strike
forks.mine(place, visit, 0.0)
"""


def asking(place: str, visit: int, *numbers: int) -> str:
    return ASK.format(asked=(place, visit, tuple(int(n) for n in numbers)))


def stopped(trial: Trial, by: signal.Signals) -> None:
    record = trial.record
    assert record.state == "stopped" and record.end is not None
    assert (record.end["exit_code"], record.end["outcome"]) == (85, "stopped")
    assert f"stopped by {by.name}" in record.end["message"]
    if record.checkpoints:
        assert f"spectui resume {trial.run.run_id}" in record.end["message"]
        assert trial.checkpoint()["step"] == record.step == record.checkpoints[-1]["step"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("place", "visit"),
    [("update", 9), ("evaluation", 2), ("epoch", 2), ("save", 3), ("preparing", 1), ("forward", 1)],
)
def test_stopped_here_and_there(
    house: House, straight: Trial, number: signal.Signals, place: str, visit: int
) -> None:
    trial = house.train(before=asking(place, visit, number), code=85)
    stopped(trial, number)
    if place == "evaluation":
        assert [event["epoch"] for event in trial.events("epoch")] == [1], "it was not looked at to its end"
    trial.resume()
    as_if_never_disturbed(trial, straight)


def test_stopped_twice_in_a_row(house: House, straight: Trial) -> None:
    """Two signals at once are one wish; and a run that was resumed can be stopped again."""
    trial = house.train(before=asking("update", 9, signal.SIGINT, signal.SIGTERM), code=85)
    stopped(trial, signal.SIGTERM)
    trial.resume(before=asking("evaluation", 1, signal.SIGTERM, signal.SIGTERM), code=85)
    stopped(trial, signal.SIGTERM)
    trial.resume(before=asking("update", 5, signal.SIGUSR1), code=85)
    trial.resume()
    as_if_never_disturbed(trial, straight)


def test_stopped_at_the_end_of_an_epoch_that_is_not_evaluated(house: House) -> None:
    rarely = ("training.evaluate_every=3", "training.save_steps=null")
    straight = house.train(*rarely)
    trial = house.train(*rarely, before=asking("update", 12, signal.SIGTERM), code=85)
    stopped(trial, signal.SIGTERM)
    assert trial.checkpoint()["step"] == 12
    trial.resume()
    as_if_never_disturbed(trial, straight)


def test_stopped_while_it_is_tested(house: House, straight: Trial) -> None:
    """What is left takes no time: it is done to its end."""
    trial = house.train(before=asking("tables", 1, signal.SIGTERM), code=0)
    as_if_never_disturbed(trial, straight)


def test_stopped_while_tables_are_read_nothing_is_written(house: House) -> None:
    before = set(house.workspace.runs.iterdir())
    engine = house.run("train", "tiny", before=asking("reading", 1, signal.SIGTERM), code=85)
    assert engine.lines[-1] == "stopped by SIGTERM before training began; nothing was written"
    assert set(house.workspace.runs.iterdir()) == before


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1, 0.3, 0.6])
def test_a_launched_run_is_stopped_at_birth(build: Callable[..., House], after: float) -> None:
    """Python is starting, or the engine is being imported: the wish waits for the run to hear it."""
    house = build()
    run = create(house.workspace, resolve(house.workspace, "tiny", sets=["training.epochs=100000"]))
    pid = launch.start(house.workspace, run)
    time.sleep(after)
    assert launch.ask_to_stop(run)
    _, status = os.waitpid(pid, 0)
    record = Record(run.path)
    record.refresh()
    assert os.waitstatus_to_exitcode(status) == 85, run.log.read_text()
    assert record.state == "stopped" and record.end is not None and record.end["exit_code"] == 85
    assert "Traceback" not in run.log.read_text()


def test_a_launched_run_is_stopped_while_torch_is_loaded(house: House) -> None:
    run = create(house.workspace, resolve(house.workspace, "tiny", sets=["training.epochs=100000"]))
    pid = launch.start(house.workspace, run)
    record = Record(run.path)
    wait_for(lambda: record.refresh() and record.phase == "loading")
    assert launch.ask_to_stop(run)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 85
    record.refresh()
    assert record.state == "stopped"
    # it can go on like any other
    house.run("resume", run.run_id, before=asking("update", 3, signal.SIGTERM), code=85)
    stopped(Trial(house, run), signal.SIGTERM)
