"""Training through `engine.train.loop` against a raw PyTorch loop of a dozen lines, bit by bit and timed.

    python tests/benchmarks/bench_step.py [--points 4700] [--batch 64] [--steps 2] [--rounds 9] [--threads 1]

The raw loop takes rows by `index_select` of the same tensors, and has the same network, loss, clipping and
learning rates; it records nothing. Ours is all that a run does, with a real Recorder, EventLog and
Checkpoints in a scratch folder: the checkpoint at the end of training is counted, evaluation (which the raw
loop does not have) gives a constant. Both begin anew in every round from the same weights and seeds, and
alternate. Judged by the ratio of the medians of CPU time on one thread, which other work on the machine
changes less than the clock; the raw loop runs twice a round, and its ratio to itself says how much still.
Samples per second of the clock stand beside it.

1. FreqInceptionLNet as published, dropout and all. Wanted: at least 0.97x of the samples a second.
2. A network of one hidden layer on 64 points, batch 32, where nothing but overhead shows: at least 0.90x.

Wanted of both in every round: weights, buffers, state of the optimizer and of the random generator equal to
the last bit.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engine.conf.schema import Training
from engine.runs.events import EventLog, Tail
from engine.schedules import factor_of
from engine.train import loop
from engine.train.batches import Batches
from engine.train.checkpoint import Checkpoints
from engine.train.evaluate import Evaluation
from engine.train.learn import Arithmetic, Learner
from engine.train.losses import build_loss
from engine.train.optim import Rate, build_optimizer
from engine.train.recorder import Recorder
from engine.train.report import Report
from engine.train.rows import Resident, Rows
from engine.train.state import Randomness, State
from engine.train.stop import Stop
from models import contract
from models.spectral_prediction.freq_inception_l_net import FreqInceptionLNet

CPU = torch.device("cpu")
LABELS = 4
AGAIN = "raw loop again"
MISSING = 0.05
"""Share of the labels that are missing."""


class OneHidden(nn.Module):
    def __init__(self, points: int, labels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(points, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, labels))

    def forward(self, normalized_BL: Tensor) -> Tensor:
        y_BT: Tensor = self.layers(normalized_BL)
        return y_BT


@dataclass(frozen=True)
class Task:
    """What both ways train: a network as it begins, rows in memory, and a conf."""

    network: nn.Module
    training: Training
    continuum_SL: Tensor
    normalized_SL: Tensor
    labels_ST: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.continuum_SL, self.normalized_SL, self.labels_ST

    @property
    def steps(self) -> int:
        return self.training.epochs * -(-len(self.labels_ST) // self.training.batch_size)


@dataclass(frozen=True)
class End:
    """Where training ended, and how long it took."""

    cpu: float
    seconds: float
    network: nn.Module
    optimizer: torch.optim.Optimizer
    random: Tensor


def raw(task: Task) -> End:
    """Train as one would without a framework."""
    training, network = task.training, copy.deepcopy(task.network)
    forward, loss_of = contract.adapter(network), build_loss(training)
    per_epoch = task.steps // training.epochs
    factor = factor_of(training, task.steps, per_epoch)
    rates = iter([training.learning_rate * factor(step) for step in range(task.steps)])
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    torch.manual_seed(training.seed)
    began = time.process_time(), time.perf_counter()
    network.train()
    for epoch in range(1, training.epochs + 1):
        generator = torch.Generator().manual_seed(training.seed * 1_000_003 + epoch)
        for index_B in torch.randperm(len(task.labels_ST), generator=generator).split(training.batch_size):
            optimizer.param_groups[0]["lr"] = next(rates)
            x_BL, z_BL, y_BT = (rows.index_select(0, index_B) for rows in task.tensors)
            loss, _ = loss_of(forward(x_BL, z_BL), y_BT)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), training.gradient_clip_val)
            optimizer.step()
    return End(*since(began), network, optimizer, torch.get_rng_state())


def ours(task: Task, folder: Path) -> End:
    """Train as a run does, recording into `folder`."""
    training, network = task.training, copy.deepcopy(task.network)
    count, stars = len(task.labels_ST), [str(n) for n in range(len(task.labels_ST))]
    source = Resident(task.continuum_SL, task.normalized_SL, torch.arange(count), CPU)
    batches = Batches(Rows(source, task.labels_ST, stars), training.batch_size, training.seed)
    optimizer = build_optimizer(network.parameters(), training)
    rate = Rate(optimizer, training, task.steps, batches.steps_per_epoch)
    state = State(network, optimizer, rate, batches, Randomness(CPU))
    how = Arithmetic(training.precision, training.gradient_clip_val, training.gradient_clip)
    learner = Learner(state, contract.adapter(network), build_loss(training), how)
    (folder / "checkpoints").mkdir()
    report = Report(stream=io.StringIO())
    report.keep_in(folder / "log.txt")
    events = EventLog(folder / "events.jsonl")
    recorder = Recorder(
        events, report, epochs=training.epochs, total_steps=task.steps, seconds=training.record_seconds
    )
    recorder.parts = loop.norms_by_part(learner)
    nothing = np.zeros((0, LABELS), np.float32)
    seen = Evaluation(1.0, nothing, nothing, {})
    run = loop.Run(events, recorder, Checkpoints(folder / "checkpoints", {}), lambda: seen, Stop())
    plan = loop.Plan(task.steps, save_seconds=training.save_seconds)
    torch.manual_seed(training.seed)
    began = time.process_time(), time.perf_counter()
    outcome = loop.train(state, plan, learner, run)
    took = since(began)
    random = torch.get_rng_state()
    events.close()
    assert outcome is loop.Outcome.DONE
    told = [s for event in Tail(events.path).poll() if event["kind"] == "steps" for s in event["step"]]
    assert told == list(range(1, task.steps + 1)), "recording was really on"
    assert (folder / "checkpoints" / "last.pt").exists()
    return End(*took, network, optimizer, random)


def since(began: tuple[float, float]) -> tuple[float, float]:
    """Return CPU seconds and seconds of the clock."""
    return time.process_time() - began[0], time.perf_counter() - began[1]


def differences(one: End, other: End) -> list[str]:
    """Return what is not equal to the last bit."""
    found = []
    theirs = other.network.state_dict()
    found += [
        name for name, value in one.network.state_dict().items() if not torch.equal(value, theirs[name])
    ]
    for number, state in one.optimizer.state_dict()["state"].items():
        same = other.optimizer.state_dict()["state"][number]
        found += [f"optimizer {number} {key}" for key in state if not torch.equal(state[key], same[key])]
    return found + ([] if torch.equal(one.random, other.random) else ["random numbers drawn"])


def compare(name: str, task: Task, rounds: int, wanted: float) -> dict[str, bool]:
    """Train both ways in turn, print what came out; return the bars."""
    samples = len(task.labels_ST) * task.training.epochs
    ended: dict[str, list[End]] = {"raw loop": [], "engine": [], AGAIN: []}
    unequal: list[str] = []
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as scratch:
            ways: list[tuple[str, Callable[[], End]]] = [
                ("raw loop", lambda: raw(task)), ("engine", lambda folder=Path(scratch): ours(task, folder)),
                (AGAIN, lambda: raw(task)),
            ]  # fmt: skip
            first = number % len(ways)
            ends = {way: train() for way, train in (ways[first:] + ways[:first])}
        unequal += differences(ends["engine"], ends["raw loop"])
        if number:  # the round before the first warms up
            for way, end in ends.items():
                ended[way].append(dataclasses.replace(end, network=nn.Identity()))
    print(f"{name}: {task.steps} steps of {task.training.batch_size}, medians of {rounds} (A B C B C A ...)")
    cpu = {way: [end.cpu for end in ends] for way, ends in ended.items()}
    clock = {way: [end.seconds for end in ends] for way, ends in ended.items()}
    for way in ended:
        middle, wall = statistics.median(cpu[way]), statistics.median(clock[way])
        each = [f"{1e6 * value / task.steps:,.0f}" for value in (middle, min(cpu[way]), max(cpu[way]))]
        print(f"  {way:<15} {samples / middle:>9,.1f} samples per CPU second, {each[0]} us a step "
              f"({each[1]} to {each[2]}); {samples / wall:,.1f} samples/s by the clock")  # fmt: skip
    ratio = statistics.median(cpu["raw loop"]) / statistics.median(cpu["engine"])
    least = min(cpu["raw loop"]) / min(cpu["engine"])
    wall = statistics.median(clock["raw loop"]) / statistics.median(clock["engine"])
    print(f"  engine / raw loop: {ratio:.3f} by CPU time ({least:.3f} of minima), {wall:.3f} by the clock")
    control = statistics.median(cpu["raw loop"]) / statistics.median(cpu[AGAIN])
    least = min(cpu["raw loop"]) / min(cpu[AGAIN])
    print(f"  raw loop / itself:  {control:.3f} by CPU time ({least:.3f} of minima): the noise here")
    if unequal:
        print("  not equal: " + ", ".join(dict.fromkeys(unequal)))
    return {
        f"{name}: engine / raw loop = {ratio:.3f} >= {wanted:g}": ratio >= wanted,
        f"{name}: weights, buffers, optimizer and random numbers bit-equal": not unequal,
    }


def task(make: Callable[[], nn.Module], points: int, stars: int, batch: int, epochs: int) -> Task:
    """Make up stars for a network."""
    generator = torch.Generator().manual_seed(1)
    continuum_SL = torch.randn(stars, points, generator=generator)
    normalized_SL = torch.randn(stars, points, generator=generator) * 0.1 + 1
    labels_ST = torch.randn(stars, LABELS, generator=generator)
    labels_ST[torch.rand(stars, LABELS, generator=generator) < MISSING] = torch.nan
    training = Training(epochs=epochs, batch_size=batch, optimizer="adamw", learning_rate=1e-3,
                        weight_decay=1e-2, gradient_clip_val=1.0, schedule="cosine")  # fmt: skip
    torch.manual_seed(0)
    return Task(make(), training, continuum_SL, normalized_SL, labels_ST)


def main() -> int:
    """Measure and say whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (
        ("points", 4700), ("batch", 64), ("steps", 2), ("rounds", 9), ("tiny-steps", 1000),
        ("tiny-rounds", 25), ("threads", 1),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    tiny = task(lambda: OneHidden(64, LABELS), 64, 32 * a.tiny_steps, 32, 1)
    bars = compare("one hidden layer, 64 points", tiny, a.tiny_rounds, 0.90)
    net = task(lambda: FreqInceptionLNet(labels=LABELS), a.points, a.batch * a.steps, a.batch, 1)
    bars |= compare(f"FreqInceptionLNet, {a.points} points", net, a.rounds, 0.97)
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
