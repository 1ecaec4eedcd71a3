"""What keys do with runs: rename, note, tag, remove and bring back, stop several, run again, the queue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.runs import queue, trash
from engine.runs.folder import note_process
from engine.runs.process import identify
from engine.runs.record import Record
from engine.spectra.synthetic import write_demo
from engine.workspace import Workspace
from tui.screens.launch import LaunchScreen
from tui.widgets.form import FieldRow
from tui.widgets.run_list import RunList


@pytest.fixture(autouse=True)
def no_owner(workspace: Workspace) -> Iterator[None]:
    """A queue with something in it keeps its owner: it goes when nothing waits any more."""
    yield
    for owner in queue.owners(workspace):
        os.kill(owner.pid, signal.SIGKILL)


ALONE = ("tracking.enabled=false",)
"""Without MLflow, which would be told of each change by a process of its own."""


def about(run: Any) -> dict[str, Any]:
    path = run.folder.about
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def names(glass: Any) -> list[str]:
    return [row.name for row in glass.app.screen.query_one(RunList).rows]


async def clear(glass: Any, count: int) -> None:
    await glass.press(*["backspace"] * count)


async def test_name_note_and_tags_are_typed(make_run: Any, opened: Any) -> None:
    run = make_run("finished", name="old", sets=ALONE)
    async with opened() as glass:
        await glass.press("N")
        await glass.sees(f"New name of {run.run_id}", "old")
        await clear(glass, 3)
        await glass.type("best")
        await glass.press("enter")
        await glass.until(lambda: about(run) != {})

        await glass.until(lambda: names(glass) == ["best"])
        await glass.press("e")
        await glass.sees("Note on")
        await glass.type("for")
        await glass.press("enter")
        await glass.until(lambda: about(run).get("note") == "for")
        await glass.press("t")
        await glass.sees("Tags of")
        await glass.type("paper=1 who=me")
        await glass.press("enter")
        await glass.until(lambda: about(run).get("tags") == {"paper": "1", "who": "me"})
        # What is there can be edited: what is taken out of the line is taken away.
        await glass.until(lambda: glass.app.feed.rows[0].tags.get("who") == "me")
        await glass.press("t")
        await glass.sees("paper=1 who=me")
        await clear(glass, len("who=me"))
        await glass.press("enter")
        await glass.until(lambda: about(run).get("tags") == {"paper": "1"})
        # Escape leaves it as it is.
        await glass.press("N")
        await glass.sees("New name of")
        await glass.type("x")
        await glass.press("escape")
        assert about(run)["name"] == "best" and names(glass) == ["best"]


async def test_a_bad_tag_is_one_line_and_changes_nothing(make_run: Any, opened: Any) -> None:
    run = make_run("finished", name="old", sets=ALONE)
    async with opened() as glass:
        await glass.press("t")
        await glass.type("mlflow.x=1")
        await glass.press("enter")
        await glass.sees("mlflow.x")
        assert about(run) == {}


async def test_removed_runs_are_in_the_trash_and_come_back(
    make_run: Any, opened: Any, workspace: Any
) -> None:
    runs = [make_run("finished", name=f"run-{n}", ago=n, sets=ALONE) for n in (1, 2, 3)]
    async with opened() as glass:
        await glass.press("X")
        await glass.sees(f"Move {runs[0].run_id} to the trash?", "default")
        await glass.press("enter")
        assert names(glass) == ["run-1", "run-2", "run-3"]
        await glass.press("space", "space", "X")
        await glass.sees("Move 2 runs to the trash?", runs[0].run_id, runs[1].run_id)
        await glass.press("y")
        await glass.until(lambda: names(glass) == ["run-3"])
        assert glass.app.marked == set()
        assert {one.run_id for one in trash.listing(workspace)} == {run.run_id for run in runs[:2]}
        await glass.press("ctrl+t")
        await glass.until(lambda: sorted(names(glass)) == ["run-1", "run-2"])
        back = names(glass)[0]
        await glass.press("R")
        await glass.until(lambda: len(names(glass)) == 1)
        await glass.press("E")
        await glass.sees("for good?")
        await glass.press("y")
        await glass.sees("the trash is empty")
        await glass.press("escape")
        await glass.until(lambda: sorted(names(glass)) == sorted([back, "run-3"]))
    assert trash.listing(workspace) == []


async def test_a_live_run_is_not_removed(make_run: Any, opened: Any) -> None:
    make_run("running", name="busy", sets=ALONE)
    async with opened() as glass:
        await glass.press("X")
        await glass.sees("still at")
        assert names(glass) == ["busy"]


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, {what}); print('up', flush=True); time.sleep(60)"
)


@pytest.fixture
def engine_of() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return engine(run, stubborn): a process that stands for the engine of a run."""
    started: list[subprocess.Popen[str]] = []

    def engine(run: Any, *, stubborn: bool = False) -> subprocess.Popen[str]:
        words = STUBBORN.format(what="signal.SIG_IGN" if stubborn else "signal.SIG_DFL")
        process = subprocess.Popen(
            [sys.executable, "-c", words], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        note_process(run.folder, identity=identify(process.pid))
        return process

    yield engine
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def test_several_runs_are_stopped_by_one_answer(make_run: Any, opened: Any, engine_of: Any) -> None:
    runs = [make_run("running", name=f"run-{n}", ago=n, sets=ALONE) for n in (1, 2)]
    engines = [engine_of(run) for run in runs]
    async with opened() as glass:
        await glass.press("space", "space", "ctrl+k")
        await glass.sees("Stop 2 runs?", runs[0].run_id, runs[1].run_id, "k end it now")
        await glass.press("n")
        assert [engine.poll() for engine in engines] == [None, None]
        await glass.press("ctrl+k", "y")
        await glass.until(lambda: all(engine.poll() == -signal.SIGTERM for engine in engines), 30)


async def test_a_run_that_does_not_listen_is_ended_now(make_run: Any, opened: Any, engine_of: Any) -> None:
    run = make_run("running", name="deaf", sets=ALONE)
    engine = engine_of(run, stubborn=True)
    async with opened() as glass:
        await glass.press("ctrl+k", "k")
        await glass.until(lambda: engine.poll() == -signal.SIGKILL, 60)
        await glass.sees("† died")


@pytest.mark.usefixtures("counted")
async def test_a_run_is_run_again_as_its_own_child(make_run: Any, opened: Any, workspace: Any) -> None:
    run = make_run("diverged", name="hot", sets=("training.learning_rate=0.5", *ALONE))
    write_demo(workspace.root / "dataset" / "spectral", stars=20, points=64)
    async with opened() as glass:
        await glass.press("x")
        await glass.until(lambda: isinstance(glass.app.screen, LaunchScreen))
        await glass.sees(f"Run {run.run_id} again")
        rows = {row.field.key: row.text for row in glass.app.screen.query(FieldRow)}
        assert rows["training.learning_rate"] == "0.5"
        queue.pause(workspace)
        await glass.press("f3")
        await glass.until(lambda: not isinstance(glass.app.screen, LaunchScreen), 30)
        child = next(Record(p) for p in runs_in(workspace) if p.name != run.run_id)
        assert child.parent == run.run_id
        child.refresh()
        assert child.state == "queued"


def runs_in(workspace: Any) -> list[Path]:
    return [p for p in workspace.runs.iterdir() if (p / "run.json").is_file()]


async def test_the_queue_is_seen_reordered_and_emptied_by_keys(
    make_run: Any, opened: Any, workspace: Any
) -> None:
    runs = [make_run("stopped", name=f"run-{n}", ago=n, sets=ALONE) for n in (1, 2, 3)]
    queue.pause(workspace)
    queue.add(workspace, [run.run_id for run in runs])
    async with opened() as glass:
        await glass.press("Q")
        await glass.sees("0 at work, 3 waiting", "paused")
        await glass.until(lambda: names(glass) == ["run-1", "run-2", "run-3"])
        await glass.press("J")
        await glass.until(lambda: names(glass) == ["run-2", "run-1", "run-3"])
        await glass.press("K")
        await glass.until(lambda: names(glass) == ["run-1", "run-2", "run-3"])
        await glass.press("f")
        await glass.sees("failures: pause")
        await glass.press("s")
        await glass.sees("How many runs")
        await glass.type("5")
        await glass.press("enter")
        await glass.sees("slots 5")
        await glass.press("X")
        await glass.sees(f"Take {runs[0].run_id} out of the queue?")
        await glass.press("y")
        await glass.until(lambda: names(glass) == ["run-2", "run-3"])
        glass.fits()
        await glass.press("escape")
        await glass.sees("… queued")


@pytest.mark.parametrize("place", ["Q", "ctrl+t"])
async def test_an_empty_queue_and_an_empty_trash_say_so(place: str, opened: Any) -> None:
    async with opened() as glass:
        await glass.press(place)
        await glass.sees("nothing waits" if place == "Q" else "the trash is empty")
        for key in ("enter", "R", "E", "J", "K", "X", "space", "f"):
            await glass.press(key)
        glass.fits()
