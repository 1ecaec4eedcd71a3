"""From tensors in the loop to lines of the event log, with as few device-to-host copies as possible.

Steps are kept on the device and copied once per record; a record is written at least every `record_seconds`,
every `_MOST_STEPS` steps, and at the end of each epoch. Steps that an earlier attempt recorded are not
written again.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.runs.events import EventLog
from engine.train.batches import Batches
from engine.train.learn import Gradient
from engine.train.report import Report
from engine.train.rows import Batch
from engine.train.usage import Usage
from engine.words import say

_MOST_STEPS = 4096


@dataclass(frozen=True)
class Flushed:
    """The bad steps, and losses and weights of all that were written."""

    bad: list[int]
    losses: list[float]
    weights: list[float]


class Recorder:
    """Records the steps of one run."""

    def __init__(
        self, events: EventLog, report: Report, *, epochs: int, total_steps: int, seconds: float,
        device: torch.device | None = None, written: int = 0, told: int = 0,
    ) -> None:  # fmt: skip
        """Write into `events` the steps after `written` and the epochs that end after step `told`."""
        self.events = events
        self.report = report
        self.epochs = epochs
        self.total_steps = total_steps
        self.seconds = seconds
        self.device = device or torch.device("cpu")
        self.written = written
        self.told = told
        self.last_finite_loss: float | None = None
        self.overflows = 0
        self.parts: Callable[[], dict[str, float]] = dict
        """Gradient norms by part of the network, of the step that was just made."""
        self._steps: list[int] = []
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._weights: list[Tensor] = []
        self._rates: list[float] = []
        self._began: tuple[float, int] | None = None
        self._usage = Usage(self.device)
        self._restart()

    def fetched(self, batches: Batches) -> Iterator[Batch]:
        """Give the batches, and take the time that it took to wait for each."""
        source = iter(batches)
        while True:
            began = time.perf_counter()
            batch = next(source)
            self._waited += time.perf_counter() - began
            self._rows += len(batch.index_B)
            yield batch

    def step(self, step: int, gradient: Gradient, rate: float) -> bool:
        """Keep one step (1-based); tell whether it is time to write."""
        if self._began is None:
            self._began = (time.monotonic(), step - 1)
        self._steps.append(step)
        self._losses.append(gradient.loss)
        self._norms.append(gradient.norm)
        self._weights.append(gradient.weight)
        self._rates.append(rate)
        return time.perf_counter() - self._flushed_at >= self.seconds or len(self._steps) >= _MOST_STEPS

    def flush(self, epoch: int, *, up_to_bad: bool = False) -> Flushed:
        """Write what was kept as one event; with `up_to_bad` only what came before the first bad step.

        A step is bad when its loss is no finite number, with `up_to_bad` also when its gradient is none.
        """
        if not self._steps:
            return Flushed([], [], [])
        kept = (self._losses, self._norms, self._weights)
        losses, norms, weights = torch.stack([torch.stack(one).float() for one in kept]).tolist()
        steps, rates = self._steps, self._rates
        watched = [loss + norm for loss, norm in zip(losses, norms, strict=True)] if up_to_bad else losses
        bad = [step for step, value in zip(steps, watched, strict=True) if not math.isfinite(value)]
        if up_to_bad and bad:
            upto = steps.index(bad[0])
            steps, losses, norms, weights = steps[:upto], losses[:upto], norms[:upto], weights[:upto]
        finite = next((v for v in reversed(losses) if math.isfinite(v)), None)
        self.last_finite_loss = self.last_finite_loss if finite is None else _short([finite])[0]
        known = zip(losses, norms, strict=True)
        self.overflows += sum(math.isfinite(loss) and not math.isfinite(norm) for loss, norm in known)
        first = next((i for i, step in enumerate(steps) if step > self.written), len(steps))
        if first < len(steps):
            columns = {
                "batch_loss": _short(losses[first:]), "learning_rate": _short(rates[first : len(steps)]),
                "gradient_norm": _short(norms[first:]),
            }  # fmt: skip
            self.events.append("steps", epoch=epoch, step=steps[first:], columns=columns)
            self.events.append("pace", step=steps[-1], values=self._pace())
            left = self._seconds_left()
            self.report.step(steps[-1], self.total_steps, losses[-1], rates[len(steps) - 1], left)
        self._restart()
        return Flushed(bad, losses, weights)

    def epoch(self, epoch: int, step: int, values: dict[str, float]) -> None:
        """Write what an epoch that ended with `step` gave, and say it."""
        if step > self.told:
            self.told = step
            self.events.append("epoch", epoch=epoch, step=step, values=values)
        names = ("train_loss", "val_loss")
        shown = {name: f"{values[name]:.5g}" if name in values else "-" for name in names}
        rate = f"{values['learning_rate']:.3g}"
        text = say(
            "train.epoch_line", epoch=epoch, epochs=self.epochs, train=shown["train_loss"],
            val=shown["val_loss"], rate=rate,
        )  # fmt: skip
        self.report.line(text)

    def rewound(self, step: int) -> None:
        """Go back to `step`: what comes after it is written anew."""
        self.written, self.told = step, min(step, self.told)
        self._restart()

    def _restart(self) -> None:
        self._steps, self._losses, self._norms, self._weights, self._rates = [], [], [], [], []
        self._waited, self._rows = 0.0, 0
        self._flushed_at = time.perf_counter()

    def _pace(self) -> dict[str, float]:
        """Return throughput, the share of time waited for data, memory, CPU, GPU, and norms by part."""
        seconds = max(1e-9, time.perf_counter() - self._flushed_at)
        parts = {f"gradient_norm/{part}": norm for part, norm in self.parts().items()}
        return {
            name: float(f"{value:.5g}")
            for name, value in {
                "samples_per_second": self._rows / seconds,
                "data_wait": min(1.0, self._waited / seconds),
                "memory_mb": memory(self.device) / 1e6,
                **self._usage.read(),
                **({"skipped_steps": float(self.overflows)} if self.overflows else {}),
                **parts,
            }.items()
        }

    def _seconds_left(self) -> float | None:
        if self._began is None or not self._steps:
            return None
        began_at, began_step = self._began
        done = self._steps[-1] - began_step
        return (time.monotonic() - began_at) / done * (self.total_steps - self._steps[-1]) if done else None


def memory(device: torch.device) -> int:
    """Return the memory in bytes that training holds: of the GPU, or of the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_reserved(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak(device)
    return pages * resource.getpagesize()


def peak(device: torch.device) -> int:
    """Return the most memory in bytes that training has held."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    kilo = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo


def _short(values: list[float]) -> list[float]:
    """Return the values with the digits that float32 has: half the bytes on disk."""
    return [float(f"{value:.7g}") for value in values]
