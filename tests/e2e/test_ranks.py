"""`--nproc` and `--nnodes`: real commands, real torchrun, gloo on the CPU."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import presets_folder
from engine.runs.process import Identity

pytestmark = pytest.mark.e2e

TINY = """\
name: tiny
model: {name: MLP, hidden: [8], dropout: 0.2}
training: {epochs: 2, batch_size: 16, record_seconds: 0, device: cpu, threads: 1}
tracking: {enabled: false}
"""
SLOW = '''
import time
import torch
from torch import nn
from models import register_model


@register_model("Slow")
class Slow(nn.Module):
    """A line that takes its time."""

    def __init__(self, points: int, labels: int) -> None:
        super().__init__()
        self.line, self.drop = nn.Linear(points, labels), nn.Dropout(0.2)

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return self.drop(self.line(normalized))
'''
ENDLESS = ("--set", "model={name: Slow}", "--train_epochs", "500")


class Site:
    """A workspace of its own and the commands that run in it."""

    def __init__(self, root: Path, tables: Path, environment: dict[str, str]) -> None:
        self.root = root
        shutil.copytree(presets_folder(), root / "conf")
        (root / "conf" / "tiny.yaml").write_text(TINY, encoding="utf-8")
        shutil.copytree(tables, root / "dataset" / "spectral")
        (root / "models" / "spectral_prediction").mkdir(parents=True)
        (root / "models" / "spectral_prediction" / "slow.py").write_text(SLOW)
        # Figures take longer than training here; a run does without them where they cannot be drawn.
        (root / "without" / "matplotlib").mkdir(parents=True)
        (root / "without" / "matplotlib" / "__init__.py").write_text("raise ImportError('left out')")
        home = Path(engine.__file__).parents[1]
        self.environment = environment | {"PYTHONPATH": f"{home}{os.pathsep}{root / 'without'}"}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine", "--root", str(self.root), *words], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment,
        )  # fmt: skip
        self.started.append(process)
        return process

    def ended(self, process: subprocess.Popen[str], seconds: float = 90) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=seconds)
        return process.returncode, out, err

    def run(self, *words: str) -> tuple[int, str, str]:
        return self.ended(self.start(*words))

    @property
    def folder(self) -> Path:
        (folder,) = (self.root / "runs").glob("tiny-*")
        return folder

    def events(self, kind: str) -> list[dict[str, Any]]:
        try:
            lines = (self.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
        except (ValueError, FileNotFoundError):
            return []
        return [
            e for e in map(json.loads, (line for line in lines if line.endswith("}"))) if e["kind"] == kind
        ]

    def trains(self, attempt: int = 1) -> None:
        """Wait until a checkpoint of this attempt is there."""
        deadline = time.monotonic() + 60
        while len(begun := self.events("attempt")) < attempt or not any(
            saved["time"] > begun[-1]["time"] for saved in self.events("checkpoint")
        ):
            assert time.monotonic() < deadline and self.started[-1].poll() is None, self.ended(
                self.started[-1]
            )
            time.sleep(0.05)

    def ranks(self) -> list[int]:
        """Return the pids of the processes of the run, in their order."""
        found: dict[int, int] = {}
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                words = dict(w.partition("=")[::2] for w in environ.read_text().split("\0"))
            except OSError:
                continue
            if words.get("SPECTUI_ROOT") == str(self.root) and "RANK" in words:
                found.setdefault(int(words["RANK"]), int(environ.parent.name))
        return [found[rank] for rank in sorted(found)]

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for pid in self.ranks():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def site(tmp_path: Path, tables: Path, clean_environment: Callable[..., dict[str, str]]) -> Iterator[Site]:
    made = Site(tmp_path / "workspace", tables, clean_environment())
    yield made
    made.end()


def quiet(err: str) -> bool:
    """Tell whether a person sees our words only: nothing of torchrun's and no traceback."""
    return not any(word in err for word in ("Traceback", "torch", "elastic", "W1", "E1", "gloo", "Warning"))


def test_two_processes_train_and_say_everything_once(site: Site) -> None:
    code, out, err = site.run("train", "tiny", "--nproc", "2")
    assert code == 0, err
    assert quiet(err.replace("loading PyTorch", "")), err
    assert out.count("test errors") == 1 and err.count("epoch 2/2") == 1 and err.count("60 stars") == 1
    log = (site.folder / "log.txt").read_text()
    for line in (*out.splitlines(), *err.splitlines()):
        assert log.count(line) == 1, line
    for kind in ("attempt", "data", "plan", "test", "end"):
        assert len(site.events(kind)) == 1
    assert site.events("end")[0]["outcome"] == "finished" and site.events("machine")[0]["processes"] == 2


def test_a_signal_to_the_command_stops_all_and_resume_goes_on(site: Site) -> None:
    parent = site.start("train", "tiny", "--nproc", "2", *ENDLESS)
    site.trains()
    noted = Identity.read(json.loads((site.folder / "process.json").read_text()))
    assert noted.pid == site.ranks()[0]
    parent.send_signal(signal.SIGINT)
    code, _, err = site.ended(parent)
    assert code == 85 and quiet(err), err
    assert "go on with: spectui resume" in err
    (end,) = site.events("end")
    assert end["outcome"] == "stopped" and end["exit_code"] == 85
    assert not site.ranks()
    again = site.start("resume", "@last", "--nproc", "2")
    site.trains(attempt=2)
    again.terminate()
    code, _, err = site.ended(again)
    assert code == 85 and "going on from step" in err and "not bit by bit" not in err, err


def test_a_signal_before_there_is_a_process_leaves_a_run_that_was_stopped(site: Site) -> None:
    parent = site.start("train", "tiny", "--nproc", "2")
    deadline = time.monotonic() + 60
    while not list((site.root / "runs").glob("tiny-*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.terminate()
    code, _, err = site.ended(parent)
    assert code == 85 and quiet(err), err
    assert [end["outcome"] for end in site.events("end")] == ["stopped"]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 0])
def test_a_killed_process_ends_the_run_with_words_and_a_restart_goes_on(site: Site, rank: int) -> None:
    parent = site.start("train", "tiny", "--nproc", "2", *ENDLESS[:2], "--train_epochs", "60")
    site.trains()
    os.kill(site.ranks()[rank], signal.SIGKILL)
    code, _, err = site.ended(parent)
    assert code == 1 and quiet(err.replace("torchrun says 1", "")), err
    (end,) = site.events("end")
    assert end["outcome"] == "failed" and f"spectui resume {site.folder.name}" in end["message"]
    assert end["message"] in err and not site.ranks()
    again = site.start("resume", site.folder.name, "--nproc", "2", "--restarts", "1")
    site.trains(attempt=2)
    os.kill(site.ranks()[rank], signal.SIGKILL)
    code, out, err = site.ended(again)
    assert code == 0 and "test errors" in out, err
    assert "starting again from the last checkpoint (1 of 1)" in err and quiet(
        err.replace("torchrun says 1", "")
    )
    assert site.events("end")[-1]["outcome"] == "finished"
    assert [attempt["number"] for attempt in site.events("attempt")] == [1, 2, 3]


@pytest.mark.slow
def test_torchrun_itself_killed_leaves_no_process_behind(site: Site) -> None:
    parent = site.start("train", "tiny", "--nproc", "2", *ENDLESS)
    site.trains()
    (torchrun,) = (
        int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline")
        if p.parent.joinpath("stat").exists() and b"engine.train.torchrun" in p.read_bytes()
        and str(site.root).encode() in p.read_bytes()
    )  # fmt: skip
    os.kill(torchrun, signal.SIGKILL)
    code, _, err = site.ended(parent)
    assert code == 1 and not site.ranks(), err
    assert [end["outcome"] for end in site.events("end")] == ["failed"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tiny", "--set", "training.batch_sise=3"), "training.batch_sise"),
        (("tiny", "--set", "data.path=nowhere"), "data.path"),
        (("tiny", "--model", "Nothing"), "Nothing"),
        (("tiny", "--set", "data.resample={strategy: balanced, column: Age}"), "Age"),
        (("tiny", "--device", "cuda"), "training.device"),
        (("tiny", "--device", "cuda:0"), "training.device"),
        (("tiny", "--nnodes", "2"), "--rdzv_endpoint"),
        (("tiny", "--nnodes", "2", "--node_rank", "2", "--rdzv_endpoint", "127.0.0.1:1"), "--node_rank 2"),
    ],
)
def test_bad_input_is_a_line_and_leaves_nothing(site: Site, words: tuple[str, ...], expected: str) -> None:
    code, out, err = site.run("train", *words, "--nproc", "2")
    assert code == 2 and not out and expected in err and quiet(err), err
    assert len(err.splitlines()) <= 2
    assert not list((site.root / "runs").glob("*"))


@pytest.fixture
def meeting() -> str:
    """A place where two machines, both of them this one, can meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.slow
def test_two_machines_make_one_run(site: Site, meeting: str) -> None:
    where = ("--nnodes", "2", "--rdzv_endpoint", meeting)
    second = site.start("train", "tiny", *where, "--node_rank", "1")
    first = site.start("train", "tiny", *where, "--node_rank", "0")
    code, out, err = site.ended(first)
    assert code == 0 and "test errors" in out and quiet(err), err
    code, out, err = site.ended(second)
    assert code == 0 and not out and err == f"this machine takes part in run {site.folder.name}\n", err
    assert len(site.events("end")) == 1 and site.events("machine")[0]["processes"] == 2


@pytest.mark.slow
def test_a_wish_to_stop_on_the_second_machine_stops_both(site: Site, meeting: str) -> None:
    where = ("--nnodes", "2", "--rdzv_endpoint", meeting)
    second = site.start("train", "--run", "-", *where, "--node_rank", "1")
    first = site.start("train", "tiny", *where, "--node_rank", "0", *ENDLESS)
    site.trains()
    second.terminate()
    assert site.ended(first)[0] == site.ended(second)[0] == 85
