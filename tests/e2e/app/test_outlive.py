"""Three runs that outlive the app and the connection, and are whole when they are looked at again."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("outlive")]

ENTER, ESC, CTRL_K, CTRL_S = "\r", "\x1b", "\x0b", "\x13"


def runs_of(workspace: Path) -> list[Path]:
    return sorted(p for p in (workspace / "runs").iterdir() if (p / "run.json").is_file())


def events_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def steps_of(run: Path) -> list[int]:
    """The steps that are recorded, in the order of the log."""
    return [step for event in events_of(run) if event["kind"] == "steps" for step in event["step"]]


def alive(run: Path) -> bool:
    pid = json.loads((run / "process.json").read_text())["pid"]
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def trains(shown: Any, run: Path, since: int) -> None:
    """Wait until a run has made steps that it had not made before."""
    shown.until(lambda: (steps_of(run) or [0])[-1] > since)


def launch(shown: Any) -> None:
    """Start an endless run from the form, and come back to the list."""
    shown.open_form("demo")
    shown.fill_in("training.epochs", "9000")
    shown.press(CTRL_S)
    shown.sees("loss", "esc back")
    shown.press(ESC)
    shown.sees("n new")


def test_three_runs_go_on_whatever_ends_the_app_and_no_event_is_lost(
    terminal: Callable[..., Any], workspace: Path
) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    for _ in range(3):
        launch(shown)
    shown.sees("3 live")
    runs = runs_of(workspace)
    assert len(runs) == 3
    for run in runs:
        trains(shown, run, 0)

    for end in ("hang-up", "TERM", "KILL"):
        before = {run: steps_of(run)[-1] for run in runs}
        if end == "hang-up":
            shown.hang_up()
        else:
            shown.process.send_signal(getattr(signal, f"SIG{end}"))
        shown.process.wait(timeout=20)
        shown = terminal()
        shown.sees("3 live")
        for run in runs:
            assert alive(run), end
            trains(shown, run, before[run])

    # All of them at once, by their marks.
    shown.press("g", " ", " ", " ", CTRL_K)
    shown.sees("Stop 3 runs?", *(run.name[-11:] for run in runs))
    shown.press("y")
    shown.until(lambda: shown.text().count("■ stopped") == 3)
    shown.press("q")
    assert shown.ends() == 0
    for run in runs:
        events = events_of(run)
        assert [e["kind"] for e in events].count("attempt") == 1
        assert events[-1]["kind"] == "end" and events[-1]["outcome"] == "stopped"
        steps = steps_of(run)
        assert steps == list(range(1, steps[-1] + 1))
        assert steps[-1] == [e for e in events if e["kind"] == "checkpoint"][-1]["step"]


def test_whoever_looks_has_mlflow_told_of_a_death(
    terminal: Callable[..., Any], workspace: Path, spectui: Any
) -> None:
    here = spectui.at(workspace)
    started = here("launch", "demo", "--train_epochs", "9000")
    assert started.code == 0, started.err
    run = workspace / "runs" / started.out.strip()
    deadline = time.monotonic() + 90
    while "closed" in tracked(run) or not tracked(run).get("run_id") or not (steps_of(run) or [0])[-1]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # The machine loses power: everything that belongs to the run is gone at once.
    for pid in processes_of(workspace):
        os.kill(pid, signal.SIGKILL)
    shown = terminal()
    shown.sees("† died")
    shown.until(lambda: status(workspace, tracked(run)["run_id"]) == "KILLED")
    shown.press("q")
    assert shown.ends() == 0


def processes_of(workspace: Path) -> list[int]:
    found = []
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(workspace).encode() in words.read_bytes():
                found.append(int(words.parent.name))
        except OSError:
            continue
    return found


def tracked(run: Path) -> dict[str, Any]:
    path = run / "mlflow.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def status(workspace: Path, mlflow_run_id: str) -> str:
    with closing(sqlite3.connect(workspace / "mlflow.db")) as connection:
        ask = "select status from runs where run_uuid = ?"
        return str(connection.execute(ask, (mlflow_run_id,)).fetchone()[0])


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[list[str]]:
    """The words of an ssh client that reaches a real sshd of this test on loopback."""
    server = shutil.which("sshd") or next((p for p in ("/usr/sbin/sshd",) if os.access(p, os.X_OK)), None)
    if server is None or shutil.which("ssh") is None:
        assert not os.environ.get("CI"), ".ci/run installs openssh-server and openssh-client"
        pytest.skip("no openssh-server or openssh-client here")
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True, timeout=60
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen(
        [
            server, "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", str(keys / "host"),
            "-o", "ListenAddress=127.0.0.1", "-o", f"AuthorizedKeysFile={keys / 'user.pub'}",
            "-o", "StrictModes=no", "-o", f"PidFile={tmp_path / 'sshd.pid'}", "-o", "PermitRootLogin=yes",
            "-o", "UsePAM=no", "-o", "ClientAliveInterval=2", "-o", "ClientAliveCountMax=2",
        ],
        stdout=subprocess.DEVNULL, stderr=(tmp_path / "sshd.log").open("wb"),
    )  # fmt: skip
    client = [
        "ssh", "-F", "/dev/null", "-tt", "-p", str(port), "-i", str(keys / "user"),
        "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={keys / 'known'}",
        "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", f"{getpass.getuser()}@127.0.0.1",
    ]  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while True:
            assert daemon.poll() is None and time.monotonic() < deadline, (tmp_path / "sshd.log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield client
    finally:
        daemon.kill()
        daemon.wait()


def test_a_lost_ssh_connection_costs_no_run_anything(
    terminal: Callable[..., Any], workspace: Path, spectui: Any, ssh: list[str]
) -> None:
    there = f"cd {workspace} && exec env LANG=C.UTF-8 OMP_NUM_THREADS=1 {spectui.program[0]}"
    shown = terminal(command=[*ssh, there])
    shown.sees("no runs yet")
    launch(shown)
    (run,) = runs_of(workspace)
    trains(shown, run, 0)
    app = [pid for pid in apps(spectui.program[0]) if Path(f"/proc/{pid}/cwd").readlink() == workspace]
    assert len(app) == 1
    # The laptop is gone: no goodbye is sent.
    shown.process.kill()
    shown.process.wait(timeout=10)
    shown.until(lambda: not Path(f"/proc/{app[0]}").exists(), seconds=60)
    before = steps_of(run)[-1]
    assert alive(run)
    trains(shown, run, before)
    # Another connection, another app, the same run.
    shown = terminal(command=[*ssh, there])
    shown.sees("1 live", "● running")
    shown.press(CTRL_K)
    shown.sees("Stop demo-")
    shown.press("y")
    shown.sees("■ stopped")
    shown.press("q")
    assert shown.ends() == 0
    steps = steps_of(run)
    assert steps == list(range(1, steps[-1] + 1))


def apps(program: str) -> list[int]:
    """The processes of the app itself: `spectui` without a verb."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        if words[-1] == program.encode():
            found.append(int(entry.parent.name))
    return found
