"""A launched engine outlives whoever launched it, and stops when asked. Real processes throughout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.runs.folder import RunFolder, note_process
from engine.runs.launch import ask_to_stop, child_environment
from engine.runs.process import Identity, identify, is_alive
from engine.runs.record import Record

LAUNCHER = """
import sys, time
from pathlib import Path
from engine.runs import launch
from engine.runs.folder import RunFolder
from engine.workspace import Workspace
print(launch.start(Workspace(Path(sys.argv[1])), RunFolder(Path(sys.argv[2]))), flush=True)
time.sleep(60)
"""


@pytest.mark.e2e
def test_a_launched_run_outlives_its_launcher_and_stops_when_asked(
    new_run: Callable[..., RunFolder], until: Callable[..., Any]
) -> None:
    run = new_run("training.epochs=100000")
    root = run.path.parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(root), str(run.path)], stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        assert os.getsid(pid) == pid, "a session of its own"
        launcher.kill()  # SIGKILL: as a terminal that crashes
    record = Record(run.path)
    try:

        def trains() -> bool:
            record.refresh()
            assert record.live, run.log.read_text()
            return record.state == "running" and record.step > 5

        until(trains)
        assert record.pid == pid
        assert ask_to_stop(run) is True

        def over() -> bool:
            record.refresh()
            return not record.live

        until(over)
    finally:
        if record.live:
            os.kill(pid, signal.SIGKILL)
    assert record.state == "stopped"
    assert record.end is not None
    assert record.end["exit_code"] == 85
    assert f"saved at step {record.step}" in record.end["message"]
    assert (run.checkpoints / "last.pt").is_file()
    assert record.checkpoints[-1]["step"] == record.step
    gone = Identity.read(run.read_json(run.process))
    until(lambda: not is_alive(gone))
    assert ask_to_stop(run) is False, "nobody is there any more"


def test_only_a_living_process_of_this_host_is_asked(
    new_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda handle, number: asked.append(number))
    run = new_run()
    assert ask_to_stop(run) is False
    note_process(run, identity=replace(identify(), start_time="1"))
    assert ask_to_stop(run) is False, "a pid that another process took: this one would be hit"
    note_process(run, identity=replace(identify(), host="another-host"))
    assert ask_to_stop(run) is False
    assert asked == []
    note_process(run)
    assert ask_to_stop(run) is True
    assert asked == [signal.SIGTERM]


def test_a_process_that_is_not_ours_is_left_alone(
    new_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, number: int) -> None:
        raise PermissionError

    run = new_run()
    note_process(run)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    assert ask_to_stop(run) is False


def test_the_child_imports_this_engine_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    say = "import engine, json, os; print(json.dumps([engine.__file__, os.environ['PYTHONPATH']]))"
    out = subprocess.run(
        [sys.executable, "-c", say], cwd=tmp_path, env=child_environment(), capture_output=True, check=True
    ).stdout
    file, path = json.loads(out)
    import engine

    assert Path(file) == Path(engine.__file__)
    assert path.split(os.pathsep)[1:] == ["/somewhere/else"]
