"""The loss of a run in a few cells: thinned while it is read, so that any number of steps costs the same.

Pure and small: one of these stands in every row of the run list. Reads no file.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
BAD = "!"
"""Stands where a value was no finite number."""
GAP = "·"
"""Stands where steps have no value."""
LOSSES = ("batch_loss", "train_loss", "loss", "val_loss")
"""The quantities that a sparkline may be of; the first that a run has counts."""
CELLS = 10
_SLOTS = 40
# A loss that falls this much is told by its orders of magnitude: else all but its first steps are flat.
_DECADES = 10.0


class Spark:
    """Means of a quantity over spans of steps of one width, which doubles when the steps outgrow it."""

    def __init__(self) -> None:
        self.width = 1
        self.sums = array("d")
        self.counts = array("L")
        self.bad: set[int] | None = None
        """Spans with a value that was no finite number; most runs have none."""

    def add(self, steps: Sequence[float], values: Sequence[float]) -> None:
        """Take values at steps that grow."""
        if not steps:
            return
        self._reach(int(steps[-1]))
        first, total = int(steps[0]) // self.width, sum(values)
        if int(steps[-1]) // self.width == first and math.isfinite(total):
            self._put(first, total, len(values))
            return
        if math.isfinite(total):  # so every value is: those of one span are added up in one go
            at, count = 0, min(len(steps), len(values))
            while at < count:
                slot = int(steps[at]) // self.width
                end = max(at + 1, bisect_left(steps, (slot + 1) * self.width, at, count))
                self._put(slot, sum(values[at:end]), end - at)
                at = end
            return
        for step, value in zip(steps, values, strict=False):
            if math.isfinite(value):
                self._put(int(step) // self.width, value, 1)
            else:
                self.mark(step)

    def mark(self, step: float) -> None:
        """Note that at a step there was no finite number."""
        self._reach(int(step))
        self._put(int(step) // self.width, 0.0, 0)
        self.bad = (self.bad or set()) | {int(step) // self.width}

    def cut(self, step: int) -> None:
        """Forget what came after a step: it is done again."""
        keep = step // self.width + 1
        del self.sums[keep:], self.counts[keep:]
        self.bad = {slot for slot in self.bad or () if slot < keep} or None

    def _reach(self, step: int) -> None:
        while step // self.width >= _SLOTS:
            self.width *= 2
            half = (len(self.sums) + 1) // 2
            for slot in range(half):
                pair = slice(2 * slot, 2 * slot + 2)
                self.sums[slot], self.counts[slot] = sum(self.sums[pair]), sum(self.counts[pair])
            del self.sums[half:], self.counts[half:]
            self.bad = {slot // 2 for slot in self.bad} if self.bad else None

    def _put(self, slot: int, total: float, count: int) -> None:
        missing = slot + 1 - len(self.sums)
        if missing > 0:
            self.sums.extend([0.0] * missing)
            self.counts.extend([0] * missing)
        self.sums[slot] += total
        self.counts[slot] += count

    def cells(self, most: int = CELLS) -> str:
        """Return at most so many characters: the higher the block, the greater the loss."""
        # Copies: another thread may read on meanwhile.
        sums, counts, bad = self.sums[:], self.counts[:], self.bad or ()
        wide = max(1, math.ceil(len(sums) / most))
        starts = range(0, len(sums), wide)
        means = [_mean(sums[at : at + wide], counts[at : at + wide]) for at in starts]
        return draw(means, [any(at <= slot < at + wide for slot in bad) for at in starts]).strip(GAP)


def draw(means: Sequence[float | None], bad: Sequence[bool]) -> str:
    """Return one character a value: a block by its height, `!` where one was no finite number."""
    finite = [mean for mean in means if mean is not None]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    by_order = low > 0 and high / low > _DECADES
    if by_order:
        low, high = math.log(low), math.log(high)
    text = ""
    for mean, wrong in zip(means, bad, strict=True):
        if wrong:
            text += BAD
        elif mean is None:
            text += GAP
        else:
            height = ((math.log(mean) if by_order else mean) - low) / (high - low) if high > low else 0.0
            text += BLOCKS[min(len(BLOCKS) - 1, int(height * len(BLOCKS)))]
    return text


def _mean(sums: Sequence[float], counts: Sequence[int]) -> float | None:
    count = sum(counts)
    mean = sum(sums) / count if count else None
    return mean if mean is None or math.isfinite(mean) else None
