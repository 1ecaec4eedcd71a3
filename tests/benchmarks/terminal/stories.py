"""Runs to look at, made the same for both programs: folders of ours, and offline runs of wandb.

Each run has four quantities a step. Ours are written by `EventLog`, as the engine does, and count as
replicated, so that opening the app starts no MLflow. Of wandb one real offline run is recorded and its
records are written again with other numbers: a hundred thousand calls of `log` would take minutes.
"""

from __future__ import annotations

import json
import math
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from engine.conf.load import resolve
from engine.runs import folder as folders
from engine.runs.events import EventLog
from engine.runs.locks import locked
from engine.runs.process import identify
from engine.track.follow import stamp_of
from engine.workspace import Workspace

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("batch_loss", "learning_rate", "gradient_norm", "update_ratio")
PER_RECORD = 500


def workspace(root: Path) -> Workspace:
    """Return an empty workspace with the preset confs."""
    shutil.copytree(ROOT / "conf", root / "conf")
    for name in ("models/spectral_prediction", "dataset", "runs"):
        (root / name).mkdir(parents=True)
    return Workspace(root)


def columns(first: int, count: int, seed: float = 0.0) -> dict[str, list[float]]:
    """Return four curves of so many steps: noise over a decay, a wave, a noise, a ramp."""
    steps = range(first, first + count)
    noise = random.Random(f"{seed}-{first}")
    return {
        "batch_loss": [0.02 + math.exp(-s / 20_000) * (1 + seed + 0.3 * noise.random()) for s in steps],
        "learning_rate": [1e-3 * (1 + math.cos(s / 9_000)) / 2 + 1e-6 for s in steps],
        "gradient_norm": [1.0 + noise.random() / (1 + s / 5_000) for s in steps],
        "update_ratio": [1e-3 + 1e-8 * s for s in steps],
    }


class Story:
    """One run of ours being written."""

    def __init__(self, place: Workspace, name: str, steps: int, seed: float = 0.0) -> None:
        conf = resolve(place, "demo", flags={"model_id": name})
        self.folder = folders.create(place, conf, command=["spectui"])
        self.total, self.seed, self.step = steps, seed, 0
        self.log = EventLog(self.folder.events)

    def begin(self, alive: bool, pid: int | None = None) -> Story:
        """Say who runs it (this process, or another, or one that is gone) and take it to its first step."""
        me = identify(pid)
        folders.note_process(self.folder, identity=me if alive else replace(me, start_time="1"), attempt=1)
        self.log.append(
            "machine", device="cpu", device_name="CPU", threads=2, cpus=2, torch="2", parameters=9
        )
        per_epoch = max(1, self.total // 10)
        self.log.append("plan", epochs=10, total_steps=self.total, steps_per_epoch=per_epoch,
                        monitor="val_loss", monitored="val")  # fmt: skip
        self.log.append("phase", phase="training")
        return self

    def steps(self, count: int) -> None:
        first = self.step + 1
        self.step += count
        epoch = min(10, 1 + 10 * first // self.total)
        self.log.append("steps", epoch=epoch, step=list(range(first, first + count)),
                        columns=columns(first, count, self.seed))  # fmt: skip

    def epoch(self) -> None:
        """What an evaluation finds, once an epoch."""
        loss = 0.05 + math.exp(-self.step / 20_000) * (1 + self.seed)
        self.log.append("epoch", epoch=round(10 * self.step / self.total), step=self.step,
                        values={"train_loss": 0.9 * loss, "val_loss": loss})  # fmt: skip

    def whole(self) -> None:
        """All steps, the epochs between, and the end."""
        per_epoch = max(1, self.total // 10)
        while self.step < self.total:
            self.steps(min(PER_RECORD, self.total - self.step, per_epoch - self.step % per_epoch))
            if self.step % per_epoch == 0:
                self.epoch()
        self.end()

    def end(self) -> None:
        self.log.append("end", outcome="finished", exit_code=0, message="")
        self.log.close()
        size = self.folder.events.stat().st_size
        folders.write_json(
            self.folder.tracking,
            {"run_id": secrets.token_hex(16), "closed": "FINISHED", "cursor": size,
             "about": stamp_of(self.folder)},
        )  # fmt: skip


def ours(place: Workspace, runs: int, steps: int, name: str = "run") -> None:
    """Make finished runs."""
    for number in range(runs):
        Story(place, f"{name}-{number:03}", steps, seed=number / 10).begin(alive=False).whole()


def many(place: Workspace, runs: int) -> None:
    """Make thousands of finished runs: copies of a short one with an id and a loss of their own."""
    model = Story(place, "many-model", 20).begin(alive=False)
    model.whole()
    source = model.folder.path
    parts = {p.name: p.read_bytes() for p in source.iterdir() if p.is_file() and not p.name.startswith(".")}
    identity = json.loads(parts["run.json"])
    for number in range(runs - 1):
        path = place.runs / f"many-{number:05}-20260101-000000-{number:04x}"
        path.mkdir()
        at = identity["created_at"] - 60.0 * number
        told = identity | {"run_id": path.name, "name": f"many-{number:05}", "created_at": at}
        for name, data in (parts | {"run.json": json.dumps(told).encode()}).items():
            (path / name).write_bytes(data)


# -- wandb -----------------------------------------------------------------------------------------

_RECORD = """
import sys, wandb
run = wandb.init(project="bench", dir=sys.argv[1], config={"learning_rate": 0.1, "seed": 0},
                 settings=wandb.Settings(x_disable_stats=True, console="off"))
for step in range(3):
    run.log({"batch_loss": 1.0, "learning_rate": 1e-3, "gradient_norm": 1.0, "update_ratio": 0.5})
run.finish()
"""

_AGAIN = """
import json, pathlib, struct, sys, zlib
from wandb.proto import wandb_internal_pb2 as pb
source, target, runs, steps = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
def scan(data):
    at, part = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield part
            part = b""
class Log:
    def __init__(self, path):
        self.file, self.at = path.open("wb"), 7
        self.file.write(struct.pack("<4sHB", b":W&B", 0xBEE1, 0))
    def add(self, data):
        first = True
        while True:
            left = 32768 - self.at % 32768
            if left < 7:
                self.file.write(bytes(left))
                self.at += left
                continue
            piece, data = data[: left - 7], data[left - 7 :]
            kind = (1 if not data else 2) if first else (4 if not data else 3)
            check = zlib.crc32(piece, zlib.crc32(bytes([kind]))) & 0xFFFFFFFF
            self.file.write(struct.pack("<IHB", check, len(piece), kind) + piece)
            self.at += 7 + len(piece)
            first = False
            if not data:
                return
records = []
for data in scan(open(source, "rb").read()):
    record = pb.Record()
    record.ParseFromString(data)
    records.append(record)
history = next(r for r in records if r.WhichOneof("record_type") == "history")
head = [r for r in records if r.WhichOneof("record_type") in ("header", "run", "environment", "telemetry")]
tail = [r for r in records if r.WhichOneof("record_type") in ("exit", "footer", "final")]
for number in range(runs):
    name = f"r{number:07}"
    folder = target / f"offline-run-20260101_{number // 3600:02}{number // 60 % 60:02}{number % 60:02}-{name}"
    folder.mkdir(parents=True)
    log = Log(folder / f"run-{name}.wandb")
    for record in head:
        if record.WhichOneof("record_type") == "run":
            record.run.run_id = name
            record.run.display_name = f"run-{number:03}"
        log.add(record.SerializeToString())
    curves = json.loads(sys.stdin.readline())
    for step in range(steps):
        for item in history.history.item:
            key = item.nested_key[0] if item.nested_key else item.key
            if key in curves:
                item.value_json = repr(curves[key][step])
            elif key == "_step":
                item.value_json = str(step)
            elif key == "_runtime":
                item.value_json = str(step / 50)
        history.history.step.num = step
        history.num = 10 + step
        log.add(history.SerializeToString())
    for record in tail:
        log.add(record.SerializeToString())
    log.file.close()
"""


def offline_environment() -> dict[str, str]:
    """Return an environment in which wandb asks no server and tells nobody."""
    return os.environ | {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false",
    }  # fmt: skip


def theirs(python: Path, root: Path, runs: int, steps: int) -> Path:
    """Make offline runs of wandb; return the `wandb` folder."""
    record = root / "recorded"
    record.mkdir(parents=True)
    subprocess.run([str(python), "-c", _RECORD, str(record)], check=True, env=offline_environment(),
                   stdout=subprocess.DEVNULL)  # fmt: skip
    (source,) = record.glob("wandb/offline-run-*/*.wandb")
    target = root / "wandb"
    lines = "".join(json.dumps(columns(1, steps, number / 10)) + "\n" for number in range(runs))
    subprocess.run(
        [str(python), "-c", _AGAIN, str(source), str(target), str(runs), str(steps)], check=True, text=True,
        input=lines, env=offline_environment(),
    )  # fmt: skip
    shutil.rmtree(record)
    return target


_LIVE = """
import random, sys, time, wandb
run = wandb.init(project="bench", dir=sys.argv[1],
                 settings=wandb.Settings(x_disable_stats=True, console="off"))
rate, until, step = float(sys.argv[2]), time.time() + float(sys.argv[3]), 0
began = time.time()
while time.time() < until:
    step += 1
    run.log({"batch_loss": 0.02 + random.random() / (1 + step / 300), "learning_rate": 1e-3 / step,
             "gradient_norm": 1 + random.random(), "update_ratio": float(step)})
    time.sleep(max(0.0, began + step / rate - time.time()))
"""


def live_theirs(python: Path, root: Path, rate: float, seconds: float) -> subprocess.Popen[bytes]:
    """Start a run of wandb that logs at a rate."""
    root.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen([str(python), "-c", _LIVE, str(root), str(rate), str(seconds)],
                            env=offline_environment(), stdout=subprocess.DEVNULL)  # fmt: skip


def live_ours(place: Workspace, rate: float, seconds: float) -> None:
    """Write a run of ours, one event a step, at a rate; meant for a process of its own.

    It holds what the replicator of a real run holds: else the app would start one, which is none of its cost.
    """
    story = Story(place, "live", 10 * int(rate * seconds))
    with locked(story.folder.tracking_lock):
        story.begin(alive=True)
        began = time.time()
        while time.time() < began + seconds:
            story.steps(1)
            time.sleep(max(0.0, began + story.step / rate - time.time()))
        story.end()


if __name__ == "__main__":
    live_ours(Workspace(Path(sys.argv[1])), float(sys.argv[2]), float(sys.argv[3]))
