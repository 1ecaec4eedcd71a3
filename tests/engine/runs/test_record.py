"""What a record derives from a run folder: every state, progress, and the same read at once or bit by bit."""

from __future__ import annotations

import json
import math
import shutil
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.runs import record as records
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process, write_json
from engine.runs.process import identify
from engine.runs.record import STATES, Record

DEAD = replace(identify(), start_time="1")
AWAY = replace(identify(), host="another-host")


def told(run: RunFolder, *events: tuple[str, dict[str, Any]]) -> None:
    log = EventLog(run.events)
    for kind, fields in events:
        log.append(kind, **fields)
    log.close()


def aged(run: RunFolder, seconds: float) -> None:
    """Make the run's folder look that much older."""
    identity = json.loads(run.identity.read_text())
    write_json(run.identity, identity | {"created_at": identity["created_at"] - seconds})


def state_of(run: RunFolder) -> str:
    record = Record(run.path)
    record.refresh()
    return record.state


TRAINING = ("phase", {"phase": "training"})
NEVER = {"time": 0.0}


def test_the_state_is_derived_from_process_and_events(new_run: Callable[..., RunFolder]) -> None:
    seen = set()

    def check(state: str, run: RunFolder) -> None:
        assert state_of(run) == state
        seen.add(state)

    run = new_run()
    check("starting", run)  # the launcher has not said yet who runs it
    aged(run, 60)
    check("died", run)  # and never will
    note_process(run)
    check("starting", run)  # alive, loading torch
    told(run, ("phase", {"phase": "loading"}))
    check("starting", run)
    told(run, TRAINING)
    check("running", run)
    note_process(run, identity=DEAD)
    check("died", run)
    note_process(run, identity=AWAY)
    check("running", run)  # another host: its events are fresh
    for outcome in ("finished", "stopped", "failed", "diverged"):
        other = new_run()
        told(other, TRAINING, ("end", {"outcome": outcome, "exit_code": 0, "message": ""}))
        check(outcome, other)
    # Nothing queues yet; `queued` is a state of the MLflow store and of a later queue.
    assert seen | {"queued"} == set(STATES)


def test_a_run_on_another_host_that_fell_silent_has_died(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    note_process(run, identity=AWAY)
    told(run, ("phase", {"phase": "training", "time": time.time() - 1000}))
    assert state_of(run) == "died"


def test_process_json_that_makes_no_sense_means_dead(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    write_json(run.process, {"pid": "many"})
    assert state_of(run) == "died"


def test_an_engine_that_ends_between_two_looks_never_seems_to_have_died(
    new_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    note_process(run)
    told(run, TRAINING)
    record = Record(run.path)
    record.refresh()

    def dead(_: Any) -> bool:
        # The engine wrote its end and was gone while we looked.
        told(run, ("end", {"outcome": "finished", "exit_code": 0, "message": ""}))
        return False

    monkeypatch.setattr(records, "is_alive", dead)
    record.refresh()
    assert record.state == "finished"


def many_events(run: RunFolder) -> None:
    told(
        run,
        ("phase", {"phase": "reading"}),
        ("data", {"stars": 60, "train": 48}),
        ("machine", {"device": "cpu", "parameters": 10}),
        ("plan", {"epochs": 4, "total_steps": 40, "steps_per_epoch": 10}),
        TRAINING,
    )
    for epoch in range(1, 4):
        steps = list(range(10 * epoch - 9, 10 * epoch + 1))
        columns = {
            "batch_loss": [1 / s for s in steps],
            "learning_rate": [1e-3] * 10,
            "gradient_norm": ["nan"] * 10,
        }
        values = {
            "train_loss": 1 / epoch,
            "val_loss": abs(2.1 - epoch),
            "learning_rate": 1e-3,
            "val_FeH_bias": -5.0,
        }
        told(
            run,
            ("steps", {"epoch": epoch, "step": steps, "columns": columns}),
            ("epoch", {"epoch": epoch, "step": 10 * epoch, "values": values}),
            ("checkpoint", {"step": 10 * epoch, "epoch": epoch, "file": "step.pt", "best": epoch < 3}),
        )
    told(run, ("message", {"text": "hm"}), ("a_kind_of_a_later_version", {"x": 1}))


def seen(record: Record) -> dict[str, Any]:
    """Everything a record knows, comparable (NaN is not equal to itself)."""

    def plain(value: Any) -> Any:
        if isinstance(value, array):
            return value.tolist()
        return vars(value) if hasattr(value, "__dict__") else sorted(value)

    own = ("folder", "_tail", "_behind", "_process_stamp")
    kept = {name: value for name, value in vars(record).items() if name not in own}
    return json.loads(json.dumps(kept, default=plain))  # type: ignore[no-any-return]


@pytest.mark.parametrize("limit", [1, 200, None])
def test_reading_bit_by_bit_is_reading_at_once(new_run: Callable[..., RunFolder], limit: int | None) -> None:
    run = new_run()
    note_process(run, identity=DEAD)
    many_events(run)
    told(run, ("end", {"outcome": "stopped", "exit_code": 85, "message": "x"}))
    whole = run.events.read_bytes()
    at_once = Record(run.path)
    at_once.refresh()
    run.events.write_bytes(b"")
    growing = Record(run.path)
    for end in [*range(0, len(whole), 97), len(whole)]:
        run.events.write_bytes(whole[:end])
        while growing.refresh(limit):
            pass
    assert json.dumps(seen(growing)) == json.dumps(seen(at_once))
    assert at_once.curves["batch_loss"].steps.tolist() == list(range(1, 31))
    assert at_once.curves["val_loss"].steps.tolist() == [10, 20, 30]
    assert "learning_rate" not in [k for k, c in at_once.curves.items() if len(c.steps) == 3]
    assert math.isnan(at_once.last["gradient_norm"])
    assert at_once.best["val_loss"] == pytest.approx(0.1)
    assert "val_FeH_bias" not in at_once.best
    assert (at_once.best_epoch, at_once.best_step, at_once.epoch, at_once.step) == (2, 20, 3, 30)


def test_a_long_log_read_in_turns_does_not_pass_for_dead(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    note_process(run, identity=DEAD)
    many_events(run)
    told(run, ("end", {"outcome": "finished", "exit_code": 0, "message": ""}))
    record = Record(run.path)
    states = []
    while record.refresh(100):
        states.append(record.state)
    assert "died" not in states
    assert states[-1] == "finished"
    assert len(states) > 5


def test_a_log_that_was_made_anew_is_read_anew(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    many_events(run)
    record = Record(run.path)
    record.refresh()
    run.events.write_bytes(b"")
    told(run, ("plan", {"epochs": 9, "total_steps": 9, "steps_per_epoch": 1}))
    assert record.refresh()
    assert (record.epochs, record.step, record.curves) == (9, 0, {})


def test_a_run_that_ended_changes_no_more(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    told(run, ("end", {"outcome": "finished", "exit_code": 0, "message": ""}))
    record = Record(run.path)
    assert record.refresh()
    assert not record.refresh()


def test_without_curves_a_record_keeps_only_the_last_and_best(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    many_events(run)
    record = Record(run.path, keep_curves=False)
    record.refresh()
    assert record.curves == {}
    assert record.last["batch_loss"] == pytest.approx(1 / 30)
    assert record.best["train_loss"] == pytest.approx(1 / 3)


def test_eta_is_what_is_left_at_the_pace_of_the_last_steps(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    note_process(run)
    now = time.time()
    told(run, ("plan", {"epochs": 1, "total_steps": 100, "steps_per_epoch": 100}), TRAINING)
    record = Record(run.path)
    record.refresh()
    assert record.eta is None, "nothing is known before two records"
    for step in (10, 20, 30):
        told(run, ("steps", {"epoch": 1, "step": [step], "columns": {}, "time": now - 30 + step}))
    record.refresh()
    assert record.eta == pytest.approx(70, abs=1)
    told(run, ("end", {"outcome": "stopped", "exit_code": 85, "message": ""}))
    record.refresh()
    assert record.eta is None
    assert record.duration is not None


def test_where_a_run_stopped_being_numbers_is_kept(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    fields = {
        "step": 7, "epoch": 1, "what": "loss", "value": math.inf, "last_finite_loss": 2.5,
        "learning_rate": 1.0, "gradient_norm": math.nan, "obsids": ["11", "12"], "parameter": "a.weight",
    }  # fmt: skip
    told(run, ("nonfinite", fields))
    record = Record(run.path)
    record.refresh()
    bad = record.nonfinite
    assert bad is not None
    assert (bad.step, bad.value, bad.last_finite_loss, bad.parameter) == (7, math.inf, 2.5, "a.weight")
    assert bad.gradient_norm is not None
    assert math.isnan(bad.gradient_norm)
    assert bad.obsids == ["11", "12"]


def test_a_folder_that_was_removed_while_watched_does_no_harm(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    many_events(run)
    record = Record(run.path)
    record.refresh()
    shutil.rmtree(run.path)
    record.refresh()
    assert record.conf() == {}
    assert record.mlflow_run_id() is None


def test_name_note_and_tags_can_change_and_a_waiting_run_is_queued(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    record = Record(run.path)
    record.refresh()
    assert record.name == "tiny" and record.note == "" and record.tags == {}
    write_json(run.about, {"name": "other", "note": "why", "tags": {"paper": "1"}})
    write_json(run.queued, {})
    assert record.refresh() and not record.refresh()
    assert (record.name, record.note, record.tags) == ("other", "why", {"paper": "1"})
    assert Record(run.path).name == "other"
    assert record.state == "queued" and record.live
    log = EventLog(run.events)
    log.append("end", outcome="stopped", exit_code=85, message="")
    log.close()
    assert record.refresh() and record.state == "queued"  # it waits to go on
    run.queued.unlink()
    assert record.refresh() and record.state == "stopped"


def test_the_clock_tells_when_steps_were_done_and_leaves_out_what_lay_between_attempts(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run()
    step = {"epoch": 1, "columns": {}}
    told(
        run,
        ("attempt", {"time": 100.0}),
        ("phase", {"phase": "training", "time": 110.0}),
        ("steps", step | {"step": [1, 2, 3, 4], "time": 120.0}),
        ("steps", step | {"step": [5, 6], "time": 130.0}),
        ("attempt", {"time": 1130.0}),
        ("rewind", {"step": 4, "time": 1131.0}),
        ("phase", {"phase": "training", "time": 1140.0}),
        ("steps", step | {"step": [5, 6], "time": 1150.0}),
    )
    clock = Record(run.path)
    clock.refresh()
    assert list(clock.clock.steps) == [0, 4, 4, 6]
    assert list(clock.clock.times) == [110, 120, 1140, 1150]
    assert list(clock.clock.work) == [10, 20, 40, 50], "the thousand seconds of nothing are no work"
    frugal = Record(run.path, keep_curves=False)
    frugal.refresh()
    assert not frugal.clock.steps
