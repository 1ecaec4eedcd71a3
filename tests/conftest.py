"""What most tests share: a small workspace that trains in a second, English words, one thread."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine.words
from engine import presets_folder
from engine.conf.load import Resolved, resolve
from engine.runs.folder import RunFolder, create
from engine.workspace import Workspace

# Before numpy and torch are loaded here or in any process that a test starts: two cores, many workers.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.update(LANG="C.UTF-8", TEXTUAL_ANIMATIONS="none", MLFLOW_DISABLE_TELEMETRY="true")
for _name in ("LC_ALL", "LC_MESSAGES", "SPECTUI_LANG", "SPECTUI_ROOT", "MLFLOW_TRACKING_URI"):
    os.environ.pop(_name, None)

TINY = """\
# The least that trains: a perceptron of a few thousand parameters on sixty made-up stars.
version: 1
name: tiny
model:
  name: MLP
  hidden: [8]
  dropout: 0.0
training:
  epochs: 2
  batch_size: 16
  learning_rate: 1e-3
  record_seconds: 0
  device: cpu
  threads: 1
tracking:
  enabled: false
"""


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are English unless a test chooses otherwise; the choice is put back after it."""
    monkeypatch.setattr(engine.words, "_chosen", "en")


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three tables of sixty made-up stars, written once a session; to be copied."""
    from engine.spectra.synthetic import write_demo

    folder = tmp_path_factory.mktemp("tables")
    write_demo(folder, stars=60, points=64)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, tables: Path) -> Workspace:
    """A workspace with every preset, conf/tiny.yaml and a small data set."""
    root = tmp_path / "workspace"
    shutil.copytree(presets_folder(), root / "conf")
    (root / "conf" / "tiny.yaml").write_text(TINY, encoding="utf-8")
    shutil.copytree(tables, root / "dataset" / "spectral")
    for place in ("models/spectral_prediction", "runs"):
        (root / place).mkdir(parents=True)
    return Workspace(root.resolve())


@pytest.fixture
def tiny(workspace: Workspace) -> Callable[..., Resolved]:
    """`tiny('training.epochs=3')` is the resolved conf/tiny.yaml with overrides."""
    return lambda *sets: resolve(workspace, "tiny", sets=sets)


@pytest.fixture
def new_run(workspace: Workspace, tiny: Callable[..., Resolved]) -> Callable[..., RunFolder]:
    """`new_run('training.epochs=3')` is a fresh run folder of conf/tiny.yaml."""
    return lambda *sets: create(workspace, tiny(*sets))


class Processes:
    """Real engine processes of one test; none of them outlives it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._started: list[subprocess.Popen[str]] = []

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "engine", "--root", str(self.workspace.root), *words]

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a verb; its words can be read from stdout and stderr."""
        process = subprocess.Popen(
            self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, **options,
        )  # fmt: skip
        self._started.append(process)
        return process

    def run(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@pytest.fixture
def processes(workspace: Workspace) -> Iterator[Processes]:
    """Start real engine processes on the workspace."""
    made = Processes(workspace)
    yield made
    made.end()


def wait_until(happened: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Return what `happened()` returns as soon as it is true; fail when it never is."""
    deadline = time.monotonic() + seconds
    while not (answer := happened()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return answer


@pytest.fixture
def until() -> Callable[..., Any]:
    """`until(lambda: …)` waits for something to become true."""
    return wait_until


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty MLflow database, made once for all workers: the migrations take seconds."""
    place = tmp_path_factory.getbasetemp()
    place = place.parent if os.environ.get("PYTEST_XDIST_WORKER") else place
    database = place / "mlflow-template" / "mlflow.db"
    database.parent.mkdir(exist_ok=True)
    with (database.parent / "lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not (database.parent / "done").exists():
            make = (
                f"from mlflow import MlflowClient; MlflowClient('sqlite:///{database}').search_experiments()"
            )
            subprocess.run([sys.executable, "-c", make], check=True, cwd=database.parent, capture_output=True)
            (database.parent / "done").touch()
    return database


@pytest.fixture
def mlflow_store(workspace: Workspace, mlflow_template: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace with a real MLflow store in it; the test is inside the folder, as MLflow wants."""
    shutil.copy(mlflow_template, workspace.mlflow_db)
    monkeypatch.chdir(workspace.root)
    return workspace
