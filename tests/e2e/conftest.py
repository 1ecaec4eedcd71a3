"""Real commands for the end-to-end tests: the installed `spectui`, in an environment of its own.

What costs seconds (a workspace with trained runs) is made once and shared by all xdist workers; tests that
take it must not write into it.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPECTUI = Path(sys.executable).with_name("spectui")
# Not the tester's: his language, his workspace, his MLflow server, and a PYTHONPATH that shows the checkout.
_FOREIGN = re.compile(r"^(SPECTUI_|MLFLOW_|LC_|LANG|PYTHON|TERM|COLUMNS|LINES|TQDM_)")


@dataclass(frozen=True)
class Ended:
    """A command that has ended: exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Spectui:
    """Runs `spectui` (or another command) as a person's shell would."""

    program: Sequence[str]
    root: Path | None = None

    def __call__(
        self,
        *words: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 240,
    ) -> Ended:
        """Run to the end without a terminal."""
        done = subprocess.run(
            self.command(*words),
            cwd=cwd or self.root or Path("/"),
            env=environment(env),
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(
        self, *words: str | Path, log: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start in a session of its own, so that all of it can be ended at once; its words go to `log`."""
        with log.open("wb") as file:
            return subprocess.Popen(
                self.command(*words),
                cwd=self.root or Path("/"),
                env=environment(env),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def at(self, root: Path) -> Spectui:
        """Return the same command in the workspace `root`."""
        return Spectui(self.program, root)

    def command(self, *words: str | Path) -> list[str]:
        return [*self.program, *(str(word) for word in words)]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a plain environment: English, no workspace chosen, the checkout not on the path, one thread."""
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    plain = {"LANG": "C.UTF-8", "TERM": "xterm-256color", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return kept | plain | dict(changes or {})


@dataclass(frozen=True)
class Trained:
    """A workspace with four runs that ended, each in its way; only `finished` is in MLflow."""

    root: Path
    finished: str
    mlp: str
    diverged: str
    stopped: str

    def folder(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def events(self, run_id: str) -> list[dict[str, Any]]:
        lines = (self.folder(run_id) / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def checkout() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def clean_environment() -> Callable[..., dict[str, str]]:
    return environment


@pytest.fixture(scope="session")
def spectui() -> Spectui:
    return Spectui([str(SPECTUI)])


@pytest.fixture(scope="session")
def shared_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], Any]], Any]:
    """Return once(name, make): calls make(folder) in one worker only; every worker gets its JSON result."""
    base = tmp_path_factory.getbasetemp()
    top = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], Any]) -> Any:
        result = top / f"{name}.json"
        with (top / f"{name}.lock").open("w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            if not result.exists():
                shutil.rmtree(top / name, ignore_errors=True)
                result.write_text(json.dumps(make(top / name)))
        return json.loads(result.read_text())

    return once


@pytest.fixture(scope="session")
def demo_set(shared_once: Callable[..., Any], spectui: Spectui) -> Path:
    """A fresh workspace with the demo set; never trained in, to be copied."""

    def make(folder: Path) -> str:
        made = spectui("init", folder)
        assert made.code == 0, made.err
        return str(folder)

    return Path(shared_once("demo-set", make))


@pytest.fixture
def workspace(demo_set: Path, tmp_path: Path) -> Path:
    """A workspace of the test's own, with the demo set."""
    return Path(shutil.copytree(demo_set, tmp_path / "workspace"))


@pytest.fixture(scope="session")
def trained(shared_once: Callable[..., Any], spectui: Spectui, demo_set: Path) -> Trained:
    """The workspace that every reading test shares."""

    def make(folder: Path) -> dict[str, str]:
        shutil.copytree(demo_set, folder)
        here = spectui.at(folder)
        names = {"finished": "demo", "mlp": "small", "diverged": "hot", "stopped": "long"}
        codes = {"finished": 0, "mlp": 0, "diverged": 87, "stopped": 85}
        untracked = ("--set", "tracking.enabled=false")
        words = {
            "finished": ("conf/demo.yaml", "--train_epochs", "4"),
            "mlp": ("mlp", "--train_epochs", "3", *untracked),
            "diverged": ("demo", "--learning_rate", "1e12", "--gradient_clip_val", "null", *untracked),
            "stopped": ("demo", "--train_epochs", "5000", *untracked),
        }
        logs = {key: folder / f"{key}.out" for key in words}
        processes = {
            key: here.start("train", *words[key], "--model_id", names[key], log=logs[key]) for key in words
        }
        try:
            wait_for_event(folder, "long-*", '"kind":"epoch"')
            processes["stopped"].send_signal(signal.SIGTERM)
            for key, process in processes.items():
                assert process.wait(timeout=180) == codes[key], logs[key].read_text()
        finally:
            for process in processes.values():
                end_session(process)
        return {key: next((folder / "runs").glob(f"{name}-*")).name for key, name in names.items()}

    made = shared_once("trained", lambda folder: {"root": str(folder), **make(folder)})
    return Trained(Path(made.pop("root")), **made)


def wait_for_event(folder: Path, pattern: str, text: str, seconds: float = 90) -> Path:
    """Return the run folder whose name matches once its event log holds `text`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for events in (folder / "runs").glob(f"{pattern}/events.jsonl"):
            if text in events.read_text(encoding="utf-8"):
                return events.parent
        time.sleep(0.1)
    raise AssertionError(f"no run {pattern} said {text} in {seconds} s")


@pytest.fixture(scope="session")
def once_said() -> Callable[..., Path]:
    """Return wait_for_event."""
    return wait_for_event


def end_session(process: subprocess.Popen[Any]) -> None:
    """End a process and everything of its session, the hard way if it must be."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        time.sleep(0.2)
    process.wait(timeout=10)


@pytest.fixture(scope="session")
def ended() -> Callable[[subprocess.Popen[Any]], None]:
    """Return end_session."""
    return end_session


@pytest.fixture
def background() -> Iterator[Callable[[subprocess.Popen[Any]], subprocess.Popen[Any]]]:
    """Return keep(process): whatever happens in the test, it is ended with all its children."""
    kept: list[subprocess.Popen[Any]] = []

    def keep(process: subprocess.Popen[Any]) -> subprocess.Popen[Any]:
        kept.append(process)
        return process

    yield keep
    for process in kept:
        end_session(process)


@pytest.fixture(scope="session")
def on_terminal() -> Callable[..., Ended]:
    """Return run(command, ...): stdin, stdout and stderr are terminals where they are named in `which`."""

    def run(
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        which: Sequence[str] = ("stdin", "stdout", "stderr"),
        timeout: float = 90,
    ) -> Ended:
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(env),
            start_new_session=True,
            **streams | dict.fromkeys(which, theirs),
        )
        os.close(theirs)
        shown = bytearray()
        try:
            deadline = time.monotonic() + timeout
            while time.monotonic() < deadline:
                ready, _, _ = select.select([mine], [], [], 0.1)
                try:
                    data = os.read(mine, 65536) if ready else None
                except OSError:  # Linux says EIO when the last one who had the terminal is gone
                    break
                if data is not None:
                    shown += data
                elif process.poll() is not None:
                    break
            out, err = process.communicate(timeout=max(1, deadline - time.monotonic()))
        finally:
            end_session(process)
            os.close(mine)
        text = shown.decode("utf-8", "replace")
        said = {"stdout": out, "stderr": err}
        out, err = (text if name in which else (said[name] or b"").decode("utf-8") for name in said)
        return Ended(process.returncode, out, err)

    return run
