"""Real runs, healthy and sick, made by the engine and kept as events: what the rules are tried on.

`python -m tests.engine.diagnose.gallery OUT [NAME…]` makes them again: one `NAME.jsonl.gz` each, whose first
line has the conf (YAML) and the last lines of the log. GALLERY_SEED=N makes them of other stars and weights.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.conf.load import resolve
from engine.conf.tree import to_yaml
from engine.diagnose.story import Story
from engine.runs.events import Tail, writable
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.spectra.synthetic import write_demo
from engine.workspace import Workspace
from tests.engine.diagnose import gallery_sabotage as sabotage
from tests.engine.diagnose.gallery_cases import CASES, Case
from tests.engine.diagnose.gallery_networks import NETWORKS

KEPT = Path(__file__).with_name("gallery")
STARS, POINTS = 400, 100
_LOG_LINES = 12
_CONF = """\
version: 1
name: {name}
model:
  name: MLP
  hidden: [64, 32]
  dropout: 0.0
training:
  epochs: 20
  batch_size: 32
  learning_rate: 1e-3
  schedule: warmup_cosine
  record_seconds: 0.05
  device: cpu
  threads: 1
tracking:
  enabled: false
"""


def main(words: list[str]) -> int:
    """Make all runs, or those that are named."""
    out = Path(words[0])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "tables"
        seed = int(os.environ.get("GALLERY_SEED", "0"))
        write_demo(base, stars=STARS, points=POINTS, **({"seed": seed} if seed else {}))
        for case in CASES:
            if not words[1:] or case.name in words[1:]:
                began = time.monotonic()
                size = make(case, Path(scratch) / case.name, base, out)
                print(f"{case.name:<28} {time.monotonic() - began:5.1f} s {size / 1000:6.1f} kB", flush=True)
    return 0


def make(case: Case, root: Path, tables: Path, out: Path) -> int:
    """Make one run for real and keep it; return the bytes that it takes."""
    workspace = place(case, root, tables)
    seed = os.environ.get("GALLERY_SEED")
    sets = (*((f"training.seed={seed}",) if seed else ()), *case.sets)
    if case.kill_at:
        _train_and_kill(workspace, sets, case)
    else:
        _train(workspace, sets, case)
    (folder,) = [path for path in workspace.runs.iterdir() if path.is_dir()]
    run = RunFolder(folder)
    log = run.log.read_text(encoding="utf-8", errors="replace").splitlines() if run.log.exists() else []
    record = Record(folder)
    head: dict[str, Any] = {"conf": to_yaml(record.conf()), "log": log[-_LOG_LINES:]}
    path = out / f"{case.name}.jsonl.gz"
    kept = (head, *(_short(event) for event in Tail(run.events).poll()))
    lines = [json.dumps(writable(one), separators=(",", ":")) for one in kept]
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed:
        packed.write("\n".join(lines).encode())
    shutil.rmtree(root)
    return path.stat().st_size


def _short(value: Any) -> Any:
    """Return an event with numbers of six digits: half the bytes; times keep their milliseconds."""
    if isinstance(value, float):
        return value if abs(value) > 1e9 or not math.isfinite(value) else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value


def place(case: Case, root: Path, tables: Path) -> Workspace:
    """Make the workspace that a case trains in."""
    workspace = Workspace(root.resolve())
    shutil.copytree(tables, workspace.dataset / "spectral")
    for folder in (workspace.conf, workspace.networks, workspace.runs):
        folder.mkdir(parents=True)
    (workspace.conf / "sick.yaml").write_text(_CONF.format(name=case.name), encoding="utf-8")
    for name, text in NETWORKS.items():
        (workspace.networks / f"{name.lower()}.py").write_text(text, encoding="utf-8")
    for change in case.tables:
        change(workspace)
    return workspace


def _train(workspace: Workspace, sets: Iterable[str], case: Case) -> None:
    """Train in this process, without figures."""
    from unittest import mock

    from engine.train import attempt, outputs

    sabotage.STOP.asked = False
    with contextlib.ExitStack() as around:
        around.enter_context(mock.patch.object(attempt, "draw_curves", lambda record: []))
        around.enter_context(mock.patch.object(outputs, "draw", lambda *_: None))
        for context in case.around:
            around.enter_context(context())
        if not os.environ.get("GALLERY_LOUD"):
            quiet = around.enter_context(Path(os.devnull).open("w"))
            around.enter_context(contextlib.redirect_stderr(quiet))
            around.enter_context(contextlib.redirect_stdout(quiet))
        conf = resolve(workspace, "sick", sets=[*sets], flags=case.flags)
        attempt.foreground(workspace, conf, sabotage.STOP)


def _train_and_kill(workspace: Workspace, sets: Iterable[str], case: Case) -> None:
    """Train in a process, which is killed at a step, as often as the case says."""
    words = [word for one in sets for word in ("--set", one)]
    command = [sys.executable, "-m", "engine", "--root", str(workspace.root)]
    for number in range(case.kills):
        known = [path.name for path in workspace.runs.iterdir() if path.is_dir()]
        verb = ["resume", known[0]] if number else ["train", "sick", *words]
        process = subprocess.Popen([*command, *verb], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _wait_for_step(workspace, process, case.kill_at * (number + 1))
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait_for_step(workspace: Workspace, process: subprocess.Popen[bytes], step: int) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        for path in workspace.runs.iterdir():
            if path.is_dir() and not path.name.startswith("."):
                record = Record(path, keep_curves=False)
                record.refresh()
                if record.step >= step:
                    return
        time.sleep(0.02)
    raise AssertionError(f"the run ended ({process.poll()}) before it could be killed")


def opened(path: Path, root: Path, **given: Any) -> Story:
    """Return the story of a kept run, read from a run folder under `root` that says what it said."""
    case = next(case for case in CASES if case.name == path.name.partition(".")[0])
    workspace = Workspace(root.resolve())
    workspace.networks.mkdir(parents=True, exist_ok=True)
    for name, text in NETWORKS.items():
        file = workspace.networks / f"{name.lower()}.py"
        if not file.exists():
            file.write_text(text, encoding="utf-8")
    head, *events = gzip.decompress(path.read_bytes()).decode().split("\n")
    about = json.loads(head)
    run = RunFolder(workspace.runs / case.name)
    run.path.mkdir(parents=True)
    run.conf.write_text(about["conf"], encoding="utf-8")
    run.log.write_text("\n".join(about["log"]) + "\n", encoding="utf-8")
    lines = [line for line in events if '"kind":"end"' not in line] if case.alive_after else events
    run.events.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run.identity.write_text(json.dumps({"run_id": case.name, "name": case.name, "created_at": 1.0}))
    record = Record(run.path)
    record.refresh()
    if case.alive_after:
        given = {"state": "running", "now": (record.last_event_at or 0.0) + case.alive_after} | given
    return Story(workspace, record, **given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
