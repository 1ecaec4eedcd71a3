"""What is known of a run that died unseen: each reason from what is really left in the folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.runs import death
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process
from engine.runs.process import identify
from engine.runs.record import Record

GONE = replace(identify(), start_time="1")


@pytest.fixture
def died(new_run: Callable[..., RunFolder]) -> Callable[..., RunFolder]:
    """`died()` is a run whose process is gone without an end event; facts go to process.json."""

    def make(identity: Any = GONE, **facts: Any) -> RunFolder:
        run = new_run()
        note_process(run, identity=identity, **facts)
        events = EventLog(run.events)  # never closed: as a kill leaves it
        events.append("attempt", number=1)
        events.append("steps", step=[1], columns={"batch_loss": [1.0]}, epoch=1)
        return run

    return make


def known(run: RunFolder) -> death.Death:
    record = Record(run.path)
    record.refresh()
    assert record.state == "died"
    found = death.what_is_known(record)
    assert found is not None
    assert len(found.line().splitlines()) == 1
    return found


def test_a_run_that_lives_or_told_its_end_is_no_death(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    note_process(run)
    record = Record(run.path)
    record.refresh()
    assert death.what_is_known(record) is None
    EventLog(run.events).append("end", outcome="failed", exit_code=1, message="")
    record.refresh()
    assert death.what_is_known(record) is None


def test_the_last_words_are_there_without_control_sequences(died: Callable[..., RunFolder]) -> None:
    run = died()
    run.log.write_text("one\n\x1b[31mred\x1b[0m\n 10%\r 20%\r 30%\n" + "x" * 20_000 + "\nlast\x07\n")
    with run.events.open("a") as file:
        file.write('{"kind":"epo')  # torn
    found = known(run)
    assert (found.reason, found.last_event) == ("unknown", "steps")
    assert found.last_event_at == pytest.approx(time.time(), abs=60)
    assert found.log == ["last"] or found.log[-1] == "last"
    run.log.write_text("one\n\x1b[31mred\x1b[0m\n 10%\r 20%\r 30%\n")
    assert known(run).log == ["one", "red", " 30%"]
    assert json.loads(json.dumps(known(run).plain()))["reason"] == "unknown"


def test_another_boot_is_a_restart(died: Callable[..., RunFolder]) -> None:
    found = known(died(replace(identify(), boot_id="another")))
    assert found.reason == "restarted"
    assert "restarted at 20" in found.line()


def test_a_full_disk_is_told_by_the_room_that_was_used(died: Callable[..., RunFolder]) -> None:
    run = died()
    (run.path / ".room-for-the-end").unlink()
    assert known(run).reason == "disk_full"


def test_a_crash_is_told_by_the_log(died: Callable[..., RunFolder]) -> None:
    run = died()
    run.log.write_text(
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x0 (most recent call first):\n"
    )
    found = known(run)
    assert (found.reason, found.detail) == ("crash", "Segmentation fault")


def test_the_kernel_is_believed_for_this_pid_and_this_time(
    died: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = died()
    pid = GONE.pid
    now = time.time()
    said: list[tuple[float, str]] = []
    monkeypatch.setattr(death, "kernel_log", lambda: said)
    said.append((now, f"Out of memory: Killed process {pid}1 (python) total-vm:1kB"))
    said.append((now - 86400, f"Out of memory: Killed process {pid} (python) total-vm:1kB"))
    assert known(run).reason == "unknown", "another pid, and another day"
    said.append((now, f"Memory cgroup out of memory: Killed process {pid} (python) total-vm:1kB"))
    found = known(run)
    assert found.reason == "oom" and f"Killed process {pid} " in found.line()


def test_the_kernels_log_is_read_or_is_empty() -> None:
    for when, text in death.kernel_log():
        assert when <= time.time() + 1 and "\n" not in text


@pytest.mark.parametrize("name", ["memory.events", "memory.oom_control"])
def test_the_control_group_counts_its_dead(died: Callable[..., RunFolder], tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("low 0\noom_kill 3\n")
    assert known(died(memory_group=str(tmp_path), oom_kills=3)).reason == "unknown"
    found = known(died(memory_group=str(tmp_path), oom_kills=2))
    assert (found.reason, found.detail) == ("oom_group", "1")


def test_a_run_whose_launcher_was_killed_never_began(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    identity = run.read_json(run.identity)
    run.identity.write_text(json.dumps(identity | {"created_at": identity["created_at"] - 3600}))
    assert known(run).reason == "never_began"
