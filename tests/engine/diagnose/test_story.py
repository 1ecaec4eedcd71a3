"""What a rule reads: blocks that keep spikes, bounded whatever the length, cheap on a long run."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from engine.diagnose import of_run
from engine.diagnose.measure import median, median_before, running_median, scatter
from engine.diagnose.rules import of_story
from engine.diagnose.rules.fit import jumpiness
from engine.diagnose.story import MOST_BLOCKS, Story, Trace
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.runs.points import Curve
from engine.runs.record import Record
from engine.workspace import Workspace


def curve(values: list[float], first: int = 1) -> Curve:
    made = Curve()
    for step, value in enumerate(values, first):
        made.add(step, value)
    return made


def test_a_short_curve_has_a_block_a_step() -> None:
    trace = Trace(curve([3.0, 2.0, math.nan, 1.0]))
    assert (trace.first, trace.mean, trace.bad) == ([1, 2, 4], [3.0, 2.0, 1.0], 1)
    assert (trace.at(3), trace.at(0), trace.tail(2)) == (
        2.0,
        None,
        [(3, pytest.approx(math.nan, nan_ok=True)), (4, 1.0)],
    )


def test_a_spike_survives_in_its_block_and_keeps_its_step() -> None:
    values = [1.0] * 50_000
    values[31_415] = 77.0
    values[31_416] = math.inf
    trace = Trace(curve(values))
    assert len(trace) <= MOST_BLOCKS
    block = max(range(len(trace)), key=trace.high.__getitem__)
    assert (trace.high[block], trace.step_of_high(block), trace.bad) == (77.0, 31_416, 1)
    assert trace.mean[block] < 3


def test_means_of_huge_numbers_stay_numbers() -> None:
    trace = Trace(curve([1e308] * 4000))
    assert all(math.isfinite(value) for value in trace.mean)


def test_measures() -> None:
    assert (median([3.0, 1.0, 2.0]), median([1.0, 2.0]), math.isnan(median([]))) == (2.0, 1.5, True)
    assert scatter([1.0, 1.0, 1.0, 9.0]) == 0.0
    assert running_median([1.0, 1.0, 9.0, 1.0, 1.0], 3) == [1.0] * 5
    assert median_before([1.0, 2.0, 3.0, 50.0], 25) == [1.0, 2.0, 3.0, 2.0]
    assert (jumpiness([5.0, 4.0, 3.0, 2.0]), jumpiness([1.0, 3.0, 1.0, 3.0, 1.0])) == (0.0, 2.0)


def test_a_long_healthy_run_is_judged_by_its_blocks_and_once(
    workspace: Workspace, new_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run("training.epochs=100")
    log = EventLog(run.events)
    log.append("plan", epochs=100, total_steps=100_000, steps_per_epoch=1000)
    for epoch in range(100):
        steps = list(range(1 + 1000 * epoch, 1001 + 1000 * epoch))
        loss = [math.exp(-step / 40_000) * (1 + 0.1 * math.sin(step * 1.7)) for step in steps]
        columns = {"batch_loss": loss, "learning_rate": [1e-3 * (1 - s / 1e5) for s in steps],
                   "gradient_norm": [1 + math.cos(s * 2.3) / 3 for s in steps]}  # fmt: skip
        log.append("steps", epoch=epoch + 1, step=steps, columns=columns)
        values = {"train_loss": loss[-1], "val_loss": 1.1 * loss[-1], "learning_rate": 1e-3}
        log.append("epoch", epoch=epoch + 1, step=steps[-1], values=values)
    log.append("end", outcome="finished", exit_code=0, message="")
    log.close()
    record = Record(run.path)
    record.refresh()
    story = Story(workspace, record)
    assert of_story(story) == []
    assert all(len(story.trace(name)) <= MOST_BLOCKS for name in record.curves)

    assert of_run(workspace, record) == []
    monkeypatch.setattr(Story, "trace", lambda *_: 1 / 0)
    assert of_run(workspace, record) == [], "nothing new was read: nothing is judged again"
