"""Which process a run is: real children, killed, reaped late, and pids that another process took."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.runs.process import Identity, hold_lock, identify, is_alive

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
HOLD = (
    "import sys; from pathlib import Path; from engine.runs.process import hold_lock; "
    "print(hold_lock(Path(sys.argv[1])) is not None, flush=True); {then}"
)


def test_this_process_is_alive_and_reads_back() -> None:
    me = identify()
    assert me.pid == os.getpid()
    assert is_alive(me) is True
    assert Identity.read(me.plain()) == me


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(SLEEP)
    identity = identify(child.pid)
    assert is_alive(identity) is True
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    os.kill(child.pid, 0)  # a zombie answers: what fools everybody who asks like this
    assert is_alive(identity) is False
    child.wait()
    assert is_alive(identity) is False


def test_a_pid_that_another_process_took_is_dead() -> None:
    assert is_alive(replace(identify(), start_time="12345")) is False


def test_a_process_of_another_boot_is_dead_and_of_another_host_unknown() -> None:
    me = identify()
    assert is_alive(replace(me, boot_id="another")) is False
    assert is_alive(replace(me, host=f"not-{socket.gethostname()}")) is None


def test_a_child_that_was_gone_before_it_could_be_asked_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert is_alive(identify(child.pid)) is False


def hold(path: Path, then: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then=then), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    return child


def test_one_engine_holds_the_lock_and_a_kill_frees_it(tmp_path: Path, until: Callable[..., Any]) -> None:
    path = tmp_path / "lock"
    # The engine has a forked child that lives on: with flock it would keep the lock.
    fork = "import os, time; os.fork() or time.sleep(60); time.sleep(60)"
    with hold(path, fork) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "True\n"
            assert hold_lock(path) is None
            with hold(path, "pass") as second:
                assert second.stdout is not None
                assert second.stdout.read() == "False\n"
            children = until(lambda: Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split())
            first.kill()
            first.wait()
            handle = hold_lock(path)
            assert handle is not None
            os.close(handle)
            os.kill(int(children[0]), signal.SIGKILL)
        finally:
            first.kill()


@pytest.mark.parametrize("name", ["a b) c", "x (y"])
def test_a_command_with_brackets_in_its_name_is_read_right(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.symlink_to(Path("/bin/sleep").resolve())
    child = subprocess.Popen([str(program), "60"])
    try:
        identity = identify(child.pid)
        assert identity.start_time.isdigit()
        assert is_alive(identity) is True
    finally:
        child.kill()
        child.wait()
