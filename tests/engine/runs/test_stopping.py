"""The ladder of stopping, on real processes that obey, take their time, or are deaf; all write events."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.runs import acts, crew, death, stopping
from engine.runs.folder import RunFolder, note_process
from engine.runs.process import identify, is_alive
from engine.runs.record import Record

ENGINE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process
from engine.runs.process import hold_lock

how, run = sys.argv[1], RunFolder(Path(sys.argv[2]))
asked = []
signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
hold_lock(run.lock)
others = []
if how == "crew":
    # as torchrun does: a process in a session of its own, which is deaf too; and one in this session
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    sleep = f"{deaf}; print(1, flush=True); time.sleep(300)"
    marked = os.environ | {"SPECTUI_RANKED": run.run_id, "SPECTUI_ROOT": str(run.path.parent.parent)}
    for words in ({"env": marked, "start_new_session": True}, {}):
        others.append(subprocess.Popen([sys.executable, "-c", sleep], stdout=subprocess.PIPE, **words))
    for one in others:
        one.stdout.readline()
note_process(run, others=[one.pid for one in others])
events = EventLog(run.events)
events.append("attempt", number=1)
events.append("phase", phase="training")
step = 0
while True:
    step += 1
    events.append("steps", step=[step], columns={"batch_loss": [1.0]}, epoch=1)
    time.sleep(0.02)
    if asked and how == "slow":
        for at in range(4):
            time.sleep(0.3)
            events.append("checkpoint", step=step + at, epoch=1, file=f"step-{at}.pt")
            (run.checkpoints / f"step-{at}.pt").touch()
    if asked and how in ("good", "slow"):
        events.append("end", outcome="stopped", exit_code=85, message="saved")
        break
"""


@pytest.fixture
def started(
    new_run: Callable[..., RunFolder], until: Callable[..., Any]
) -> Iterator[Callable[..., tuple[Record, subprocess.Popen[bytes]]]]:
    """`started('deaf')` is a run with a process of its own, which is ended after the test."""
    children: list[subprocess.Popen[bytes]] = []
    strays: list[int] = []

    def start(how: str, **options: Any) -> tuple[Record, subprocess.Popen[bytes]]:
        run = new_run()
        words = [sys.executable, "-c", ENGINE, how, str(run.path)]
        child = subprocess.Popen(words, **{"start_new_session": True, **options})
        children.append(child)
        record = Record(run.path)
        until(lambda: record.refresh() and record.step > 2)
        strays.extend(run.read_json(run.process)["others"])
        return record, child

    yield start
    for child in children:
        child.kill()
        child.wait()
    for pid in strays:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_a_run_that_obeys_is_only_asked(started: Callable[..., Any]) -> None:
    record, child = started("good")
    done = acts.stop(record)
    assert (done.rung, done.stopped, done.state) == ("ask", True, "stopped")
    assert child.wait(10) == 0
    assert done.step == record.step > 2
    assert not done.resumable and "starts over" in done.lines()[1], "nothing was saved"
    again = acts.stop(record)
    assert (again.rung, again.stopped) == ("none", True)


def test_a_run_that_saves_for_longer_than_the_grace_is_waited_for(started: Callable[..., Any]) -> None:
    record, _ = started("slow")
    done = acts.stop(record, grace=0.7)  # it takes 1.2 s, and says every 0.3 s that it is at it
    assert (done.rung, done.state, done.resumable) == ("ask", "stopped", True)
    assert f"spectui resume {record.run_id}" in done.lines()[1]


def test_a_deaf_run_is_killed_with_all_that_it_started(
    started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_SHORT_SECONDS", 0.3)
    record, child = started("crew")
    others = [identify(pid) for pid in record.folder.read_json(record.folder.process)["others"]]
    assert {one.pid for one in crew.crew(record.folder)} == {child.pid, *(one.pid for one in others)}
    heard: list[str] = []
    done = acts.stop(record, grace=0.3, tell=heard.append)
    assert (done.rung, done.stopped, done.state) == ("kill", True, "died")
    assert [is_alive(one) for one in others] == [False, False]
    assert crew.crew(record.folder) == []
    assert child.wait(10) == -signal.SIGKILL
    assert len(heard) == 3 and "KILL" in heard[2]
    known = death.what_is_known(record)
    assert known is not None and known.reason == "killed" and "spectui stop" in known.line()


def test_now_leaves_the_asking_out(started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_SHORT_SECONDS", 0.3)
    record, _ = started("deaf")
    heard: list[str] = []
    done = acts.stop(record, now=True, grace=600, tell=heard.append)
    assert (done.rung, done.stopped) == ("kill", True)
    assert len(heard) == 2


def test_a_run_in_a_shell_never_costs_the_shell(
    started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    monkeypatch.setattr(stopping, "_SHORT_SECONDS", 0.3)
    shell = subprocess.Popen(
        ["bash", "-c", "sleep 300 & echo $!; wait"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert shell.stdout is not None
        neighbour = identify(int(shell.stdout.readline()))

        def join() -> None:
            os.setpgid(0, 0)

        # in a session with somebody else, as a foreground run is with its shell: here with this test
        record, child = started("deaf", start_new_session=False, preexec_fn=join)
        assert os.getsid(child.pid) == os.getsid(0)
        assert [one.pid for one in crew.crew(record.folder)] == [child.pid]
        assert acts.stop(record, now=True).rung == "kill"
        assert child.wait(10) == -signal.SIGKILL
        assert is_alive(neighbour)
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.communicate()


def test_nobody_is_signalled_for_a_run_that_is_not_theirs(new_run: Callable[..., RunFolder]) -> None:
    """A live pid with another start time, one of another boot, one of another host."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    try:
        me = identify(child.pid)
        for other, state in (
            (replace(me, start_time="1"), "died"),
            (replace(me, boot_id="another"), "died"),
            (replace(me, host="elsewhere"), "starting"),
        ):
            run = new_run()
            note_process(run, identity=other)
            record = Record(run.path)
            record.refresh()
            assert record.state == state
            done = acts.stop(record, now=True)
            assert (done.rung, done.stopped) == (
                ("elsewhere", False) if other.host != me.host else ("none", True)
            )
        assert "elsewhere" in done.lines()[0]
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_who_no_longer_waits_leaves_the_wish(started: Callable[..., Any]) -> None:
    record, child = started("deaf")
    done = acts.stop(record, enough=lambda: True)
    assert (done.rung, done.stopped) == ("left", False)
    assert child.poll() is None


def test_another_users_run_is_told(started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, number: int) -> None:
        raise PermissionError

    record, _ = started("good")
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    done = acts.stop(record)
    assert (done.rung, done.stopped) == ("denied", False)


def test_a_child_that_died_before_it_took_the_lock_is_dead(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    child = subprocess.Popen([sys.executable, "-c", ""])
    note_process(run, identity=identify(child.pid))
    child.wait()
    record = Record(run.path)
    record.refresh()
    assert record.state == "died", "it is not waited for as one that is just made"
    known = death.what_is_known(record)
    assert known is not None and known.reason == "early"
    assert acts.stop(record).rung == "none"


def test_the_supervisor_is_asked_and_not_a_rank(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    ours = identify()
    note_process(run, identity=replace(ours, pid=1), supervisor=ours.plain())
    assert crew.named(run)[0] == ours
    assert Path(f"/proc/{ours.pid}").exists()
