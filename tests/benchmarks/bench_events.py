"""What recording a step costs, and what a run of a million steps does to memory.

    python tests/benchmarks/bench_events.py [--steps 1000000] [--rounds 9] [--baseline-steps 100]

1. `Recorder.step`, `Recorder.flush` and `EventLog.append` as a run calls them, 500 steps to a record (half a
   second at 1 ms a step), against a JSON line a step (json.dumps, write, flush) and mlflow's `log_metric` of
   the same three quantities into a SQLite store. A B C A B C ...; medians. CPU time, the fsync of SQLite is
   not counted. Wanted: at most 20 microseconds a step.
2. `loop.train` for `--steps` steps that fetch a batch and learn nothing, recording on: resident memory after
   a tenth of the steps and at the end. Wanted: within 4 MB.
3. The end of that run, in a process of its own: all events read piece by piece, with and without curves, and
   the curves drawn. Wanted: at most 150 MB more than before; the curves themselves are 48
   bytes a step.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.conf.schema import Training
from engine.runs.events import EventLog
from engine.train import loop
from engine.train.batches import Batches
from engine.train.checkpoint import Checkpoints
from engine.train.evaluate import Evaluation
from engine.train.learn import Arithmetic, Gradient, Learner
from engine.train.losses import build_loss
from engine.train.optim import Rate, build_optimizer
from engine.train.recorder import Recorder, memory
from engine.train.report import Report
from engine.train.rows import Batch, Resident, Rows
from engine.train.state import Randomness, State
from engine.train.stop import Stop

CPU = torch.device("cpu")
PER_RECORD = 500
RUN = "model-20260101-000000-0000"
OURS, LINES, MLFLOW = "Recorder and EventLog", "a JSON line a step", "mlflow log_metric, SQLite"


def gradients(count: int) -> list[Gradient]:
    """Return what steps came to, made before the clock runs."""
    values = torch.rand(3, count)
    return [Gradient(values[0, n].clone(), values[1, n].clone(), values[2, n].clone()) for n in range(count)]


def recorder(folder: Path, steps: int, seconds: float) -> Recorder:
    report = Report(stream=io.StringIO())
    report.keep_in(folder / "log.txt")
    return Recorder(EventLog(folder / "events.jsonl"), report, epochs=1, total_steps=steps, seconds=seconds)


def ours(folder: Path, steps: int) -> Iterator[float]:
    """Yield the CPU seconds of a step; the network and its gradients are no part of it."""
    writer, kept = recorder(folder, steps, 1e9), gradients(steps)
    started = time.process_time()
    for step, gradient in enumerate(kept, start=1):
        if writer.step(step, gradient, 1e-3) or step % PER_RECORD == 0:
            writer.flush(1)
    writer.flush(1)
    yield (time.process_time() - started) / steps
    writer.events.close()


def lines(folder: Path, steps: int) -> Iterator[float]:
    kept = gradients(steps)
    with (folder / "lines.jsonl").open("w") as file:
        started = time.process_time()
        for step, gradient in enumerate(kept, start=1):
            values = {"batch_loss": float(gradient.loss), "learning_rate": 1e-3}
            values["gradient_norm"] = float(gradient.norm)
            file.write(json.dumps({"kind": "step", "time": time.time(), "step": step, **values}) + "\n")
            file.flush()
        yield (time.process_time() - started) / steps


def mlflow_store(folder: Path) -> Callable[[Path, int], Iterator[float]]:
    """Return how mlflow logs into a new SQLite store."""
    import logging

    logging.disable(logging.WARNING)  # the migrations of an empty store
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("bench")

    def log(_: Path, steps: int) -> Iterator[float]:
        kept = gradients(steps)
        with mlflow.start_run():
            started = time.process_time()
            for step, gradient in enumerate(kept, start=1):
                mlflow.log_metric("batch_loss", float(gradient.loss), step=step)
                mlflow.log_metric("learning_rate", 1e-3, step=step)
                mlflow.log_metric("gradient_norm", float(gradient.norm), step=step)
            yield (time.process_time() - started) / steps

    return log


def cost(rounds: int, steps: int, baseline_steps: int) -> dict[str, bool]:
    """Print microseconds a step of each way; return the bar."""
    took: dict[str, list[float]] = {OURS: [], LINES: [], MLFLOW: []}
    with tempfile.TemporaryDirectory() as store:
        ways = {
            OURS: (ours, steps), LINES: (lines, steps),
            MLFLOW: (mlflow_store(Path(store)), baseline_steps),
        }  # fmt: skip
        for number in range(rounds + 1):
            for name, (way, count) in ways.items():
                with tempfile.TemporaryDirectory() as folder:
                    for seconds in way(Path(folder), count):
                        took[name] += [1e6 * seconds] * (number > 0)  # the first round warms up
    middle = {name: statistics.median(values) for name, values in took.items()}
    print(f"{steps:,} steps ({baseline_steps:,} for mlflow), medians of {rounds} (A B C A B C ...):")
    for name, values in took.items():
        print(f"  {name:<26} {middle[name]:>9.2f} us of CPU a step ({min(values):.2f} to {max(values):.2f})"
              f"  {middle[name] / middle[OURS]:>7.1f}x ours")  # fmt: skip
    return {f"recording {middle[OURS]:.2f} us a step <= 20": middle[OURS] <= 20.0}


class Idle(Learner):
    """Learns nothing: what a step comes to is made up."""

    def add(self, batch: Batch) -> None:
        """Let the batch go."""

    def gradient(self) -> Gradient:
        """Return numbers of a step's own, as a network would."""
        loss = torch.rand(())
        return Gradient(loss, torch.tensor(2), loss + 1.0)

    def update(self, gradient: Gradient) -> None:
        """Leave the weights as they are."""


def resident() -> float:
    return memory(CPU) / 1e6


def million(folder: Path, steps: int) -> None:
    """Train for so many steps into a run folder, and print resident MB at a tenth and at the end."""
    torch.set_num_threads(1)
    per_epoch = min(1000, steps // 10)
    stars = 2 * per_epoch
    flux_SL, labels_ST = torch.rand(stars, 1), torch.rand(stars, 1)
    training = Training(epochs=steps // per_epoch, batch_size=2, optimizer="sgd", learning_rate=1e-3)
    network = nn.Linear(1, 1)
    source = Resident(flux_SL, flux_SL, torch.arange(stars), CPU)
    batches = Batches(Rows(source, labels_ST, [str(n) for n in range(stars)]), 2, training.seed)
    optimizer = build_optimizer(network.parameters(), training)
    state = State(network, optimizer, Rate(optimizer, training, steps, per_epoch), batches, Randomness(CPU))
    learner = Idle(
        state, lambda continuum, normalized: network(continuum), build_loss(training), Arithmetic()
    )
    writer = recorder(folder, steps, training.record_seconds)
    writer.parts = loop.norms_by_part(learner)
    writer.events.append("plan", epochs=training.epochs, total_steps=steps, steps_per_epoch=per_epoch)
    nothing = np.zeros((0, 1), np.float32)
    seen: list[float] = []

    def look() -> Evaluation:
        seen.append(resident())
        return Evaluation(1.0, nothing, nothing, {})

    (folder / "checkpoints").mkdir()
    run = loop.Run(writer.events, writer, Checkpoints(folder / "checkpoints", {}), look, Stop())
    started = time.perf_counter()
    assert loop.train(state, loop.Plan(steps), learner, run) is loop.Outcome.DONE
    writer.events.close()
    print(json.dumps({"seen": seen, "seconds": time.perf_counter() - started}))


def end(folder: Path) -> None:
    """Do what is done at the end of a run, and print the MB that each part took at its peak."""
    from matplotlib.backends import backend_pdf  # noqa: F401 - what it takes to be imported is not the curves'

    from engine.figures import draw_curves
    from engine.runs.folder import RunFolder
    from engine.train.attempt import whole_record

    run, took = RunFolder(folder), {}

    Path("/proc/self/clear_refs").write_text("5")  # the most so far is what is held now
    before = resident()

    def peak() -> float:
        (most,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return int(most) * 1024 / 1e6

    assert not whole_record(run).curves
    took["last words"] = peak() - before
    record = whole_record(run, keep_curves=True)
    took["curves"] = peak() - before
    drawn = draw_curves(record)
    took["drawing"] = peak() - before
    assert len(drawn) == 2
    assert len(record.curves["batch_loss"].steps) == record.total_steps, "every step is on record"
    sizes = {path.name: path.stat().st_size / 1e3 for path in drawn}
    print(json.dumps({"took": took, "sizes": sizes}))


def constant(steps: int) -> dict[str, bool]:
    """Make the long run and end it, each in a process of its own; return the bars."""
    root = Path(tempfile.mkdtemp(prefix="events-"))
    folder = root / RUN
    folder.mkdir()
    try:
        told = []
        for part in ("million", "end"):
            command = [
                sys.executable,
                __file__,
                "--only",
                part,
                "--folder",
                str(folder),
                "--steps",
                str(steps),
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            told.append(json.loads(done.stdout.splitlines()[-1]))
        size = (folder / "events.jsonl").stat().st_size
    finally:
        shutil.rmtree(root)
    trained, ended = told
    seen, took = trained["seen"], ended["took"]
    early = seen[len(seen) // 10 - 1]
    print(f"{steps:,} steps in {trained['seconds']:.0f} s, {size / 1e6:,.0f} MB of events; resident memory "
          f"{early:.1f} MB after {steps // 10:,} steps, {seen[-1]:.1f} MB after {steps:,}")  # fmt: skip
    print("the end of that run, most memory above what was imported: " + ", ".join(
        f"{name} {value:.0f} MB" for name, value in took.items()) + "; " + ", ".join(
        f"{name} {value:.0f} kB" for name, value in ended["sizes"].items()))  # fmt: skip
    grown = seen[-1] - early
    return {
        f"memory grew by {grown:.1f} MB <= 4 from step {steps // 10:,} to {steps:,}": grown <= 4.0,
        f"the end of the run took {took['drawing']:.0f} MB <= 150": took["drawing"] <= 150.0,
    }


def main() -> int:
    """Measure and say whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (("steps", 1_000_000), ("rounds", 9), ("recorded", 20_000), ("baseline-steps", 100)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only", choices=("million", "end"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(1)
    if a.only == "million":
        million(a.folder, a.steps)
        return 0
    if a.only == "end":
        end(a.folder)
        return 0
    bars = cost(a.rounds, a.recorded, a.baseline_steps) | constant(a.steps)
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
