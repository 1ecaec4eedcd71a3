"""What a run measured: curves over steps, and the place where it stopped being numbers. Plain data."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Curve:
    """One recorded quantity over global steps."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))
    """When each point came, in seconds of Unix time, where the source tells it; else the run's clock does."""

    def add(self, step: float, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)


@dataclass
class Clock:
    """When the steps of a run were done: anchors between which time passed evenly.

    `work` are seconds since the run began without those between attempts, when nothing was at work.
    """

    steps: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))
    work: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: float, time: float, work: float) -> None:
        """Add an anchor; one that would go back is left out."""
        if self.steps and (step < self.steps[-1] or time < self.times[-1]):
            return
        self.steps.append(step)
        self.times.append(time)
        self.work.append(work)

    def cut(self, step: float) -> None:
        """Forget what came after a step: it is done again."""
        keep = bisect_right(self.steps, step)
        del self.steps[keep:], self.times[keep:], self.work[keep:]


@dataclass
class NonFinite:
    """Where a run stopped being numbers."""

    step: int
    epoch: int
    what: str
    value: float
    last_finite_loss: float | None
    learning_rate: float | None
    gradient_norm: float | None
    obsids: list[str]
    parameter: str | None
    module: str | None = None
    direction: str | None = None
    input_low: float | None = None
    input_high: float | None = None
    extremes: list[dict[str, Any]] = field(default_factory=list)
