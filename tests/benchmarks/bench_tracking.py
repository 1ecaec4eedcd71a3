"""Sixteen engines into one SQLite: is every point there, and what does it cost their steps?

    python tests/benchmarks/bench_tracking.py [--engines 16] [--seconds 60] [--rounds 2] [--work-ms 2]

An engine here is a process that makes 20 steps a second, each of some milliseconds of work, and tells of them
as the real one does: one `steps` and one `pace` event a second (three columns, five values), an `epoch` event
every five seconds. They run without and with replication into one SQLite, A B A B. Taken are the wall time of
a step's work and of its telling, of every step of all engines but those of the first five seconds, in which
the replicator loads MLflow; that time is told beside it.
Wanted: every point of the events in the store; the median step changed by less than 2 %. The mean is told
beside it: on two cores it is that of the host's other guests as well, and moves by a quarter of itself.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.conf.load import resolve
from engine.runs.events import EventLog, Tail
from engine.runs.folder import RunFolder, create, note_process
from engine.track import facts, replicate, store
from engine.track.follow import is_whole
from engine.workspace import Workspace

STEPS_A_SECOND = 20
LOADING_SECONDS = 5.0
BAR = 0.02


def engine(folder: RunFolder, seconds: float, work: float) -> None:
    """Be one engine; print the wall seconds of each step."""
    note_process(folder)
    log = EventLog(folder.events)
    log.append("attempt", number=1)
    log.append("phase", phase="training")
    began = time.perf_counter()
    times: list[float] = []
    kept: list[int] = []
    spun = 0
    for step in range(1, int(seconds * STEPS_A_SECOND) + 1):
        due = began + step / STEPS_A_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        started = time.perf_counter()
        cpu = time.thread_time()
        while time.thread_time() - cpu < work:
            spun += 1
        kept.append(step)
        if step % STEPS_A_SECOND == 0:
            columns = {
                name: [1 / s for s in kept] for name in ("batch_loss", "learning_rate", "gradient_norm")
            }
            log.append("steps", epoch=1, step=kept, columns=columns)
            values = {f"gradient_norm/part{i}": i / step for i in range(2)}
            pace = {"samples_per_second": 1e4 / step, "data_wait": 0.01, "memory_mb": 500.0, **values}
            log.append("pace", step=step, values=pace)
            kept = []
        if step % (5 * STEPS_A_SECOND) == 0:
            epoch = step // (5 * STEPS_A_SECOND)
            log.append(
                "epoch", epoch=epoch, step=step, values={"train_loss": 1 / epoch, "val_loss": 2 / epoch}
            )
        times.append(time.perf_counter() - started)
    log.append("end", outcome="finished", exit_code=0, message="")
    log.close()
    print(json.dumps(times))


def run(workspace: Workspace, engines: int, seconds: float, work: float, *, tracked: bool) -> dict[str, Any]:
    """Let engines work side by side; return their step times, and whether the store has every point."""
    resolved = resolve(workspace, "demo", sets=["tracking.enabled=true"])
    folders = [create(workspace, resolved) for _ in range(engines)]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--engine", str(folder.path), "--seconds", str(seconds),
             "--work-ms", str(work * 1000)],
            stdout=subprocess.PIPE, text=True,
        )
        for folder in folders
    ]  # fmt: skip
    trackers = [replicate.start(workspace, folder) for folder in folders] if tracked else []
    times = [json.loads(process.communicate()[0]) for process in started]
    ended = time.monotonic()
    skip = int(LOADING_SECONDS * STEPS_A_SECOND) if seconds > 2 * LOADING_SECONDS else 0
    answer: dict[str, Any] = {
        "steps": [t for one in times for t in one[skip:]],
        "loading": [t for one in times for t in one[:skip]],
    }
    if tracked:
        while not all(is_whole(folder) for folder in folders):
            assert all(tracker.poll() != 1 for tracker in trackers), "nobody replicates any more"
            time.sleep(0.1)
        answer["after"] = time.monotonic() - ended
        answer["missing"], answer["points"] = missing(workspace, folders)
    return answer


def missing(workspace: Workspace, folders: list[RunFolder]) -> tuple[int, int]:
    """Return how many points of the events the store has not (or has twice), and how many there are."""
    wrong = total = 0
    with sqlite3.connect(f"file:{workspace.mlflow_db}?mode=ro", uri=True) as connection:
        for folder in folders:
            wanted = [
                (facts.key(name), int(step), float(value))
                for event in Tail(folder.events).poll()
                for name, value, step in facts._points(event)
            ]
            name = folder.read_json(folder.tracking)["run_id"]
            rows = connection.execute(
                "select key, step, value from metrics where run_uuid = ?", (name,)
            ).fetchall()
            wrong += len(set(wanted) ^ set(rows)) + abs(len(rows) - len(wanted))
            total += len(wanted)
    return wrong, total


def _await_replicators(home: Path, seconds: float = 30.0) -> None:
    """Let the replicator linger to its end: it would write into a folder that is being removed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(replicate.is_served(lock.parent) for lock in home.glob(".cache/mlflow/*/lock")):
            return
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engines", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work-ms", type=float, default=2.0)
    parser.add_argument("--engine", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.engine:
        engine(RunFolder(a.engine), a.seconds, a.work_ms / 1000)
        return
    home = Path(tempfile.mkdtemp(prefix="spectui-tracking-"))
    try:
        shutil.copytree(Path(__file__).parents[2] / "conf", home / "conf")
        (home / "runs").mkdir()
        workspace = Workspace(home)
        store.ensure_experiment(workspace, store.tracking_uri(workspace, None), "spectral_prediction")
        taken: dict[bool, list[float]] = {False: [], True: []}
        loading: dict[bool, list[float]] = {False: [], True: []}
        wrong = points = 0
        for _ in range(a.rounds):
            for tracked in (False, True):
                answer = run(workspace, a.engines, a.seconds, a.work_ms / 1000, tracked=tracked)
                taken[tracked] += answer["steps"]
                loading[tracked] += answer["loading"]
                if tracked:
                    wrong, points = wrong + answer["missing"], points + answer["points"]
                    print(f"whole {answer['after']:.1f} s after the last engine ended")
        mean = {tracked: statistics.fmean(values) for tracked, values in taken.items()}
        middle = {tracked: statistics.median(values) for tracked, values in taken.items()}
        change = middle[True] / middle[False] - 1
        print(f"{a.engines} engines, {STEPS_A_SECOND} steps/s, {a.seconds:g} s, {a.rounds} rounds A B")
        for tracked, name in ((False, "without"), (True, "with")):
            print(f"{name:<8} mean {mean[tracked] * 1e3:.3f} ms, median {middle[tracked] * 1e3:.3f} ms")
        if loading[False]:
            first = statistics.fmean(loading[True]) / statistics.fmean(loading[False]) - 1
            print(f"first {LOADING_SECONDS:g} s, MLflow is loaded: {first:+.1%}")
        print(f"{'met' if not wrong else 'MISSED':<6} {points} points, {wrong} missing or twice")
        print(f"{'met' if change < BAR else 'MISSED':<6} median step {change:+.2%} < {BAR:.0%}")
        sys.exit(bool(wrong))
    finally:
        _await_replicators(home)
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
