"""What a run measured: curves over steps, and the place where it stopped being numbers. Plain data."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Curve:
    """One recorded quantity over global steps."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: float, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)


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
