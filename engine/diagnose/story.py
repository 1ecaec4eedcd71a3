"""What a rule reads of a run, made from its record when it is asked for. Plain Python: no numpy, no torch.

Curves come in at most `MOST_BLOCKS` blocks of steps, so that a rule takes as long for a million steps as for
a thousand; a block keeps its lowest and highest value, so that a spike survives. Never writes.
"""

from __future__ import annotations

import math
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from engine.conf.tree import get
from engine.runs.points import Curve
from engine.runs.record import Record
from engine.workspace import Workspace

MOST_BLOCKS = 1000
_NO_CURVE = Curve()
_TAIL_BYTES = 8000


class Trace:
    """A recorded quantity over steps, in blocks; non-finite values are counted and left out."""

    def __init__(self, curve: Curve, most: int = MOST_BLOCKS) -> None:
        self._curve = curve
        self.count = len(curve.steps)
        self.bad = 0
        self.first: list[int] = []
        self.last: list[int] = []
        self.mean: list[float] = []
        self.low: list[float] = []
        self.high: list[float] = []
        width = max(1, math.ceil(self.count / most))
        for begin in range(0, self.count, width):
            self._add(begin, min(begin + width, self.count))

    def _add(self, begin: int, end: int) -> None:
        values: array[float] | list[float] = self._curve.values[begin:end]
        mean = sum(values) / len(values)
        if not math.isfinite(mean):
            finite = [value for value in values if math.isfinite(value)]
            self.bad += len(values) - len(finite)
            if not finite:
                return
            values = finite
            mean = math.fsum(value / len(finite) for value in finite)
        self.first.append(int(self._curve.steps[begin]))
        self.last.append(int(self._curve.steps[end - 1]))
        self.mean.append(mean)
        self.low.append(min(values))
        self.high.append(max(values))

    def __len__(self) -> int:
        return len(self.mean)

    def __bool__(self) -> bool:
        return bool(self.mean)

    def step_of_high(self, block: int) -> int:
        """Return the step at which a block has its highest value."""
        steps, values = self._curve.steps, self._curve.values
        begin, end = bisect_left(steps, self.first[block]), bisect_right(steps, self.last[block])
        best = max(range(begin, end), key=lambda i: values[i] if math.isfinite(values[i]) else -math.inf)
        return int(steps[best])

    def at(self, step: float) -> float | None:
        """Return the last finite value at or before a step."""
        for place in range(bisect_right(self._curve.steps, step) - 1, -1, -1):
            if math.isfinite(self._curve.values[place]):
                return self._curve.values[place]
        return None

    def share(self, begin: float, end: float) -> list[float]:
        """Return the block means between two shares of the blocks."""
        return self.mean[int(begin * len(self)) : max(int(begin * len(self)) + 1, round(end * len(self)))]

    def points(self) -> list[tuple[int, float]]:
        """Return (last step, mean) of each block."""
        return list(zip(self.last, self.mean, strict=True))

    def tail(self, count: int, upto: float = math.inf) -> list[tuple[int, float]]:
        """Return the last recorded values up to a step, exactly as they came."""
        end = bisect_right(self._curve.steps, upto)
        begin = max(0, end - count)
        pairs = zip(self._curve.steps[begin:end], self._curve.values[begin:end], strict=True)
        return [(int(step), value) for step, value in pairs]


class Story:
    """One run, as the rules read it."""

    def __init__(
        self, workspace: Workspace, record: Record, *, now: float | None = None, state: str | None = None
    ) -> None:
        """Tell of `record`; `now` and `state` may be given where the clock and the process are not asked."""
        self.workspace = workspace
        self.record = record
        self.conf: dict[str, Any] = record.conf()
        self.now = time.time() if now is None else now
        self.state = record.state if state is None else state
        self.live = self.state in ("starting", "running")
        self.over = self.state in ("finished", "stopped", "failed", "diverged", "died")
        self._traces: dict[str, Trace] = {}

    # -- curves over steps ---------------------------------------------------------------------------------

    def trace(self, name: str) -> Trace:
        """Return a quantity in blocks; an empty one when the run does not record it."""
        if name not in self._traces:
            self._traces[name] = Trace(self.record.curves.get(name, _NO_CURVE))
        return self._traces[name]

    @property
    def loss(self) -> Trace:
        return self.trace("batch_loss")

    @property
    def rate(self) -> Trace:
        return self.trace("learning_rate")

    @property
    def norm(self) -> Trace:
        return self.trace("gradient_norm")

    def parts(self, what: str = "gradient_norm") -> dict[str, Trace]:
        """Return `what` by part of the network."""
        names = [name for name in self.record.curves if name.startswith(f"{what}/")]
        return {name.partition("/")[2]: self.trace(name) for name in names}

    # -- curves over epochs --------------------------------------------------------------------------------

    def epochs(self, name: str) -> list[tuple[int, float]]:
        """Return (step, value) of a quantity of the epochs, the finite ones."""
        curve = self.record.curves.get(name, _NO_CURVE)
        return [(int(s), v) for s, v in zip(curve.steps, curve.values, strict=True) if math.isfinite(v)]

    @cached_property
    def train(self) -> list[tuple[int, float]]:
        """The mean loss of each epoch."""
        return self.epochs("train_loss")

    @cached_property
    def val(self) -> list[tuple[int, float]]:
        """The validation loss at each evaluation; none when the training rows stand in for them."""
        return [] if self.data and not self.data.get("val") else self.epochs("val_loss")

    def epoch_of(self, step: float) -> int:
        """Return the number of the epoch that a step is in, 1-based."""
        curve = self.record.curves.get("train_loss", _NO_CURVE)
        return bisect_left(curve.steps, step) + 1

    def of_labels(self, kind: str) -> dict[str, list[tuple[int, float]]]:
        """Return an error of each label at each evaluation, such as `r2`."""
        found = {label: self.epochs(f"val_{label}_{kind}") for label in self.targets}
        return {label: points for label, points in found.items() if points}

    # -- facts ---------------------------------------------------------------------------------------------

    @property
    def targets(self) -> list[str]:
        given = self.data.get("targets") or get(self.conf, "data.targets")
        return [str(label) for label in given] if isinstance(given, list) else []

    @property
    def data(self) -> Mapping[str, Any]:
        return self.record.data

    def signs(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind that are recorded for the advisor alone."""
        return self.record.signs.get(kind, [])

    def setting(self, key: str, default: Any = None) -> Any:
        """Return the value of a key of the conf, or `default`."""
        found = get(self.conf, key)
        return default if found is None else found

    def number(self, key: str, default: float = math.nan) -> float:
        """Return a conf key as a number; `default` where it is none."""
        found = get(self.conf, key)
        good = isinstance(found, int | float) and not isinstance(found, bool)
        return float(found) if good else default

    @cached_property
    def log(self) -> list[str]:
        """The last lines of the log, without control characters."""
        if self.record.stored is not None:
            return []
        try:
            with self.record.folder.log.open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        lines = ("".join(c for c in line if c.isprintable()).strip() for line in text.splitlines())
        return [line for line in lines if line]
