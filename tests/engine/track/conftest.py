"""A real PostgreSQL and a real MLflow server on it, and a door before it that can be shut in every way."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process
from engine.track import replicate
from engine.workspace import Workspace

from ...conftest import wait_until

READY_SECONDS = 150


@pytest.fixture(autouse=True)
def no_replicator_stays(tmp_path: Path) -> Iterator[None]:
    """End the replicators that a test left at work: they are in its workspaces alone."""
    yield
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"engine.track.replicate" in words and any(os.fsencode(tmp_path) in word for word in words):
            os.kill(int(folder.name), signal.SIGKILL)


@pytest.fixture
def told(new_run: Callable[..., RunFolder]) -> Callable[..., RunFolder]:
    """`told(epochs=3)` is a run that an engine has told about and ended (`outcome=None`: goes on)."""

    def make(*sets: str, epochs: int = 3, outcome: str | None = "finished") -> RunFolder:
        run = new_run("tracking.enabled=true", *sets)
        note_process(run)
        tell(run, 1, epochs)
        if outcome is not None:
            end(run, outcome)
        return run

    return make


def tell(run: RunFolder, first: int, last: int) -> None:
    """Append what an engine says of some epochs of four steps."""
    log = EventLog(run.events)
    if first == 1:
        log.append("attempt", number=1)
        log.append("phase", phase="training")
    for epoch in range(first, last + 1):
        steps = list(range(epoch * 4 - 3, epoch * 4 + 1))
        columns = {"batch_loss": [1 / step for step in steps], "learning_rate": [1e-3] * 4}
        log.append("steps", epoch=epoch, step=steps, columns=columns)
        log.append(
            "epoch", epoch=epoch, step=steps[-1], values={"train_loss": 1 / epoch, "val_loss": 2 / epoch}
        )
    log.close()


def end(run: RunFolder, outcome: str = "finished") -> None:
    log = EventLog(run.events)
    log.append("end", outcome=outcome, exit_code=0, message="")
    log.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's own programs: Debian keeps them off the path."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    onpath = shutil.which("initdb")
    if onpath:
        places.append(Path(onpath).parent)
    return next((place for place in places if (place / "postgres").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URI of a database of a PostgreSQL cluster of our own, on a free port of this machine."""
    programs = postgres_programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no PostgreSQL here: .ci/run installs it")
        pytest.skip("no PostgreSQL here (Debian: apt-get install postgresql)")
    # It refuses to run as root. Its folder is where another user can come: pytest's is closed to others.
    other = "postgres" if any(user.pw_name == "postgres" for user in pwd.getpwall()) else "nobody"
    became = ["runuser", "-u", other, "--"] if os.getuid() == 0 else []
    home = Path(tempfile.mkdtemp(prefix="spectui-postgres-"))
    if became:
        shutil.chown(home, other)
    data, port = home / "data", free_port()
    environment = {**os.environ, "LC_ALL": "C"}

    def run(*words: str) -> None:
        subprocess.run([*became, *words], check=True, cwd=home, env=environment, capture_output=True)

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    try:
        run(str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "spectui", "-E", "UTF8")
        run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(home / "log"), "-o", options, "start")
        run(str(programs / "createdb"), "-h", str(home), "-p", str(port), "-U", "spectui", "mlflow")
        yield f"postgresql+psycopg://spectui@127.0.0.1:{port}/mlflow"
    finally:
        subprocess.run(
            [*became, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"],
            cwd=home, env=environment, capture_output=True, check=False,
        )  # fmt: skip
        shutil.rmtree(home, ignore_errors=True)


class MlflowServer:
    """A real `mlflow server` that can be killed and started again on its port."""

    def __init__(self, backend: str, home: Path) -> None:
        self.backend, self.home, self.port = backend, home, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> MlflowServer:
        environment = {
            **os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
        }  # fmt: skip
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--backend-store-uri", self.backend,
            "--artifacts-destination", str(self.home / "artifacts"),
        ]  # fmt: skip
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home, env=environment,
                start_new_session=True,
            )  # fmt: skip
        wait_until(self._ready, READY_SECONDS)
        return self

    def _ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, (self.home / "log").read_text()[
            -3000:
        ]
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.read() == b"OK")
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to it and its workers."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture(scope="session")
def mlflow_server(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server on a real PostgreSQL."""
    server = MlflowServer(postgres, tmp_path_factory.mktemp("mlflow-server"))
    try:
        yield server.start()
    finally:
        server.kill()


class Door:
    """A server in front of another, that answers as it is told: good, error (500), silent."""

    def __init__(self, behind: str) -> None:
        self.behind, self.mode = behind, "good"
        self.asked = 0
        self.opened = threading.Event()
        door = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                door.asked += 1
                if door.mode == "silent":
                    door.opened.wait(120)
                    self.close_connection = True
                    return
                if door.mode == "error":
                    self.send_error(500)
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                skip = ("host", "connection")
                headers = {k: v for k, v in self.headers.items() if k.lower() not in skip}
                request = urllib.request.Request(
                    door.behind + self.path, data=body or None, method=self.command, headers=headers
                )
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        status, data = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, data = error.code, error.read()
                except OSError:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.opened.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def door(mlflow_server: MlflowServer) -> Iterator[Door]:
    """A door to the MLflow server."""
    made = Door(mlflow_server.uri)
    yield made
    made.close()


def server_of(workspace: Workspace, uri: str) -> int | None:
    """Return the pid of the replicator that serves a store of a workspace."""
    place = replicate.place(workspace, uri)
    return int((place / "lock").read_text() or 0) if replicate.is_served(place) else None
