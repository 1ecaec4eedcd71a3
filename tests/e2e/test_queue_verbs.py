"""The queue from the shell: every word of it, what it prints, and runs that it really starts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("queue")]


@pytest.fixture
def here(spectui: Any, workspace: Path) -> Iterator[Any]:
    yield spectui.at(workspace)
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(workspace).encode() in words.read_bytes():
                os.kill(int(words.parent.name), signal.SIGKILL)


def said(here: Any, *words: str) -> str:
    done = here(*words)
    assert done.code == 0, done.err
    return str(done.out)


def states(here: Any) -> dict[str, str]:
    return {row["run_id"]: row["state"] for row in json.loads(said(here, "runs", "--json"))}


def waiting(here: Any) -> list[str]:
    listing = json.loads(said(here, "queue", "list", "--json"))
    return [row["run_id"] for row in listing["waiting"]]


def test_runs_wait_are_moved_taken_out_put_back_and_run(here: Any) -> None:
    said(here, "queue", "pause")
    more = ("--train_epochs", "1", "--set", "tracking.enabled=false")
    first, second = said(here, "launch", "--queue", "demo", "mlp", *more).split()
    (third,) = said(here, "launch", "--queue", "demo", "--model_id", "third", *more).split()
    assert waiting(here) == [first, second, third]
    assert states(here) == dict.fromkeys((first, second, third), "queued")
    shown = said(here, "queue")
    assert all(run in shown for run in (first, second, third)) and "paused" in shown

    said(here, "queue", "move", "third", "first")
    assert waiting(here) == [third, first, second]
    said(here, "queue", "remove", second)
    assert waiting(here) == [third, first] and states(here)[second] == "stopped"
    said(here, "queue", "add", second)
    assert waiting(here) == [third, first, second]
    # Stopping a run that waits takes it out as well.
    assert first in said(here, "stop", first)
    assert waiting(here) == [third, second]
    said(here, "queue", "slots", "1")
    said(here, "queue", "policy", "pause")
    listing = json.loads(said(here, "queue", "--json"))
    assert (listing["slots"], listing["policy"], listing["paused"]) == ("1", "pause", True)

    said(here, "queue", "resume")
    deadline = time.monotonic() + 120
    while (now := states(here))[second] != "finished" or now[third] != "finished":
        assert time.monotonic() < deadline, now
        time.sleep(0.2)
    assert states(here)[first] == "stopped"
    events = {
        run: [json.loads(line) for line in (here.root / "runs" / run / "events.jsonl").open()]
        for run in (second, third)
    }
    ends = {run: [e["time"] for e in log if e["kind"] == "end"][-1] for run, log in events.items()}
    begins = {run: [e["time"] for e in log if e["kind"] == "attempt"] for run, log in events.items()}
    assert [len(times) for times in begins.values()] == [1, 1]
    assert ends[third] <= begins[second][0], "one slot, in order"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("queue", "move", "nobody", "first"), "nobody"),
        (("queue", "remove", "nobody"), "nobody"),
        (("queue", "slots", "many"), "many"),
        (("queue", "policy", "shrug"), "shrug"),
        (("queue", "pauze"), "did you mean 'pause'"),
    ],
)
def test_a_wrong_word_is_one_line(here: Any, words: tuple[str, ...], why: str) -> None:
    done = here(*words)
    assert done.code == 2 and done.out == ""
    assert len(done.err.splitlines()) == 1 and why in done.err, done.err
