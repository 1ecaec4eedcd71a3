"""Eight real runs on two slots, with the owner of the queue killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from engine.runs import queue
from engine.runs.events import Tail
from engine.runs.folder import RunFolder
from engine.workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_eight_runs_on_two_slots_whose_owner_is_killed_twice(
    workspace: Workspace, new_run: Callable[..., RunFolder], until: Callable[..., Any]
) -> None:
    runs = [new_run() for _ in range(8)]
    queue.set_slots(workspace, "2")
    queue.add(workspace, [run.run_id for run in runs])

    def events(kind: str) -> list[list[float]]:
        return [[e["time"] for e in Tail(run.events).poll() if e["kind"] == kind] for run in runs]

    killed = []
    for ended in (1, 4):
        until(lambda ended=ended: sum(map(len, events("end"))) >= ended, 200)
        [owner] = until(lambda: queue.listing(workspace).owners)
        os.kill(owner.pid, signal.SIGKILL)
        killed.append(owner.pid)
        until(lambda: not queue.listing(workspace).owners)
        queue.ensure_owner(workspace)
    until(lambda: sum(map(len, events("end"))) == 8, 200)
    begins, ends = events("attempt"), events("end")
    assert [len(times) for times in begins] == [1] * 8, "each began once"
    assert [len(times) for times in ends] == [1] * 8
    assert len(set(killed)) == 2
    spans = [(begin[0], end[0]) for begin, end in zip(begins, ends, strict=True)]
    for begin, _ in spans:
        assert sum(b <= begin < e for b, e in spans) <= 2, "never more than two at once"
    noted = [run.read_json(run.process)["noted"] for run in runs]
    # two that start within one look may come to their first event in either order
    assert all(noted[n] <= noted[n + 2] for n in range(6)), "in the order of the queue"
    for run in runs:
        assert Tail(run.events).poll()[-1]["outcome"] == "finished"
        assert not run.queued.exists()
    until(lambda: not queue.listing(workspace).running)
    until(lambda: not queue.listing(workspace).owners)
