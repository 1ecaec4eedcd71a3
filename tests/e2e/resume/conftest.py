"""Engines that are killed, stopped, starved and poisoned; and what a run that was never disturbed gives.

`engine` starts the real command line from a process that has torch loaded already, which saves seconds a
start. Comparisons are of bits.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import presets_folder
from engine.runs import find
from engine.runs.events import Tail
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.workspace import Workspace

ROOT = Path(__file__).resolve().parents[3]

CONF = """\
# Dropout, so that the generators matter; saved every few steps, so that a kill finds something mid-epoch.
version: 1
name: tiny
model:
  name: MLP
  hidden: [16]
  dropout: 0.2
training:
  epochs: 6
  batch_size: 8
  learning_rate: 3e-3
  record_seconds: 0.005
  save_steps: 4
  device: cpu
  threads: 1
tracking:
  enabled: false
"""


class Forks:
    """Starts engines quickly and waits for them."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forks.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "SPECTUI_LANG": "en"},
        )
        self._read()

    def ask(self, **asked: Any) -> dict[str, Any]:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.server.stdout is not None
        answer: dict[str, Any] = json.loads(self.server.stdout.readline())
        return answer

    def end(self) -> None:
        self.server.kill()
        self.server.communicate()


@dataclass
class Engine:
    """One engine process: its pid and its words."""

    forks: Forks
    pid: int
    log: Path

    def wait(self, seconds: float = 60) -> int:
        """Return its exit code, or minus the signal that ended it."""
        code = self.forks.ask(wait=self.pid, seconds=seconds)["code"]
        assert code is not None, f"it went on and on: {self.said}"
        return int(code)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[str]:
        return self.said.splitlines()


@dataclass
class House:
    """A workspace with a tiny conf, and engines on it."""

    forks: Forks
    workspace: Workspace
    scratch: Path
    _count: int = 0
    _known: set[Path] = field(default_factory=set)
    """The runs that there were when the last `spectui train` began."""

    def start(
        self,
        *words: str,
        kill: Sequence[tuple[str, int, float]] = (),
        before: str = "",
        figures: bool = False,
    ) -> Engine:
        """Start a verb; see `forks.py` for what may happen to it."""
        self._count += 1
        if words[0] == "train":
            self._known = set(find.folders(self.workspace))
        log = self.scratch / f"{self._count}.log"
        log.touch()
        whole = ["--root", str(self.workspace.root), *words]
        pid = self.forks.ask(words=whole, kill=list(kill), before=before, log=str(log), figures=figures)[
            "pid"
        ]
        return Engine(self.forks, pid, log)

    def run(self, *words: str, code: int = 0, **how: Any) -> Engine:
        """Run a verb to its end, which must have this exit code (or minus the signal)."""
        engine = self.start(*words, **how)
        ended = engine.wait()
        assert ended == code, f"{ended} instead of {code}: {engine.said}"
        return engine

    def new(self) -> Trial:
        """Return the run that the last `spectui train` made."""
        (path,) = set(find.folders(self.workspace)) - self._known
        return Trial(self, RunFolder(path))

    def train(self, *sets: str, code: int = 0, **how: Any) -> Trial:
        """Train conf/tiny.yaml with overrides to the end, in whatever way it ends."""
        self.run(*words_of(sets), code=code, **how)
        return self.new()


def words_of(sets: Sequence[str]) -> list[str]:
    return ["train", "tiny", *(word for one in sets for word in ("--set", one))]


@dataclass
class Trial:
    """A run and what it left."""

    house: House
    run: RunFolder

    def resume(self, code: int = 0, **how: Any) -> Engine:
        return self.house.run("resume", self.run.run_id, code=code, **how)

    @property
    def record(self) -> Record:
        record = Record(self.run.path)
        record.refresh()
        return record

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in Tail(self.run.events).poll() if event["kind"] == kind]

    def checkpoint(self, name: str = "last.pt") -> dict[str, Any]:
        loaded: dict[str, Any] = torch.load(self.run.checkpoints / name, weights_only=True)
        return loaded


def same(one: Any, other: Any, where: str = "") -> None:
    """Check that two checkpoints are one to the bit."""
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}/{place}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    else:
        assert one == other, f"{where}: {one!r} and {other!r}"


def as_if_never_disturbed(trial: Trial, straight: Trial) -> None:
    """Check that a run ended as the one that nothing happened to: weights, optimizer, curves, predictions."""
    ended, expected = trial.record, straight.record
    assert ended.state == "finished"
    for name in ("last.pt", "best.pt"):
        same(trial.checkpoint(name), straight.checkpoint(name), name)
    # pace: when, not what
    timed = ("samples_per_second", "data_wait", "memory_mb", "cpu_percent", "gpu_", "gradient_norm/")
    for name, curve in expected.curves.items():
        if not name.startswith(timed):
            assert ended.curves[name].steps == curve.steps, name
            assert np.array_equal(ended.curves[name].values, curve.values, equal_nan=True), name
    steps = [step for event in trial.events("steps") for step in event["step"]]
    if not trial.events("rewind"):
        assert steps == list(range(1, expected.step + 1)), "every step once, in order"
    assert [e["epoch"] for e in trial.events("epoch")] == [e["epoch"] for e in straight.events("epoch")]
    assert (ended.best_epoch, ended.best_value) == (expected.best_epoch, expected.best_value)
    assert ended.test == expected.test
    assert len(trial.events("test")) == 1
    for name in ("predictions/test.csv", "predictions/val.csv", "metrics.csv", "split.csv"):
        assert (trial.run.path / name).read_bytes() == (straight.run.path / name).read_bytes(), name
    exported = Path("export") / "best.safetensors"
    assert (trial.run.path / exported).read_bytes() == (straight.run.path / exported).read_bytes()
    left = [p.name for p in trial.run.path.rglob(".*")]
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.end()


@pytest.fixture(scope="session")
def build(tables: Path, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., House]:
    """`build()` is a new workspace with the sixty stars and conf/tiny.yaml."""

    def build(conf: str = CONF) -> House:
        root = tmp_path_factory.mktemp("house")
        shutil.copytree(presets_folder(), root / "conf")
        (root / "conf" / "tiny.yaml").write_text(conf, encoding="utf-8")
        shutil.copytree(tables, root / "dataset" / "spectral")
        for place in ("models/spectral_prediction", "runs", "scratch"):
            (root / place).mkdir(parents=True)
        return House(forks, Workspace(root.resolve()), root / "scratch")

    return build


@pytest.fixture(scope="module")
def house(build: Callable[..., House]) -> House:
    """The workspace of a module."""
    return build()


@pytest.fixture(scope="module")
def straight(house: House) -> Trial:
    """The run of conf/tiny.yaml that nothing happens to."""
    return house.train()


def wait_for(happened: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return what `happened()` returns as soon as it is true."""
    until = time.monotonic() + seconds
    while not (answer := happened()):
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.002)
    return answer
