"""From tensors in the loop to lines of the event log, with as few device-to-host copies as possible.

Steps are kept on the device and copied once per record; a record is written at least every
`record_seconds` and at the end of each epoch.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from engine.runs.events import EventLog
from engine.train.report import Report
from engine.words import say

Columns = dict[str, list[float]]


class Recorder:
    """Records the steps of one run."""

    def __init__(
        self, events: EventLog, report: Report, *, epochs: int, total_steps: int, seconds: float
    ) -> None:
        self.events = events
        self.report = report
        self.epochs = epochs
        self.total_steps = total_steps
        self.seconds = seconds
        self.last_finite_loss: float | None = None
        self._steps: list[int] = []
        self._tensors: list[Tensor] = []
        self._rates: list[float] = []
        self._last_step = 0
        self._flushed_at = time.monotonic()
        self._began: tuple[float, int] | None = None

    def step(self, step: int, epoch: int, loss: Tensor, norm: Tensor, rate: float) -> None:
        """Keep one step (1-based); write a record when it is time."""
        if self._began is None:
            self._began = (time.monotonic(), step - 1)
        self._steps.append(step)
        self._last_step = step
        self._tensors.append(torch.stack((loss.detach().float(), norm.detach().float())))
        self._rates.append(rate)
        if time.monotonic() - self._flushed_at >= self.seconds:
            self.flush(epoch)

    def flush(self, epoch: int) -> None:
        """Write what was kept as one event."""
        if not self._steps:
            return
        losses, norms = torch.stack(self._tensors).T.tolist()
        columns: Columns = {"batch_loss": losses, "learning_rate": self._rates, "gradient_norm": norms}
        self.events.append("steps", epoch=epoch, step=self._steps, columns=columns)
        self.last_finite_loss = losses[-1]
        self.report.step(self._steps[-1], self.total_steps, losses[-1], self._rates[-1], self._seconds_left())
        self._steps, self._tensors, self._rates = [], [], []
        self._flushed_at = time.monotonic()

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Write what an epoch gave, and say it."""
        step = self._last_step
        self.events.append("epoch", epoch=epoch, step=step, values=values)
        shown = {
            name: f"{values[name]:.5g}" if name in values else "-" for name in ("train_loss", "val_loss")
        }
        self.report.line(
            say(
                "train.epoch_line",
                epoch=epoch,
                epochs=self.epochs,
                train=shown["train_loss"],
                val=shown["val_loss"],
                rate=f"{values['learning_rate']:.3g}",
            )
        )

    def _seconds_left(self) -> float | None:
        if self._began is None or not self._steps:
            return None
        began_at, began_step = self._began
        done = self._steps[-1] - began_step
        return (time.monotonic() - began_at) / done * (self.total_steps - self._steps[-1]) if done else None
