"""Append-only columns of one curve, with what a chart asks of them kept up to date while they grow.

Owns storage, bounds, smoothing and thinning. Never draws, and imports numpy only when a chart is built:
the first points of a run may arrive before numpy has been imported.
"""

from __future__ import annotations

import copy
import math
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]


class Series:
    """Hold one named curve: x (a step, an epoch, a wavelength) and y, in the order they came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.clear()

    @classmethod
    def of(cls, name: str, x: Iterable[float | None], y: Iterable[float | None]) -> Series:
        """Return a series that already holds the points (x, y)."""
        series = cls(name)
        series.append(x, y)
        return series

    def clear(self) -> None:
        """Forget every point."""
        self._x = array("d")
        self._y = array("d")
        self._low = self._x_low = math.inf
        self._high = self._x_high = -math.inf
        self._last: tuple[float, float] | None = None
        self._bad: tuple[float, float] | None = None
        self._smooth = array("d")
        self._smooth_state = (0.0, 0.0, 1.0)

    def append(self, x: Iterable[float | None], y: Iterable[float | None]) -> None:
        """Add points at the end; `None` counts as not-a-number.

        Raises:
            ValueError: the two columns differ in length; nothing is added.
        """
        new_x, new_y = _column(x), _column(y)
        if len(new_x) != len(new_y):
            raise ValueError(f"{self.name}: {len(new_x)} x values for {len(new_y)} y values")
        self._x.extend(new_x)
        self._y.extend(new_y)
        if new_x and math.isfinite(sum(new_x)) and math.isfinite(sum(new_y)):  # so every value is finite
            self._x_low, self._x_high = min(self._x_low, min(new_x)), max(self._x_high, max(new_x))
            self._low, self._high = min(self._low, min(new_y)), max(self._high, max(new_y))
            self._last = (new_x[-1], new_y[-1])
            return
        for step, value in zip(new_x, new_y, strict=True):
            if not math.isfinite(step):
                continue
            self._x_low, self._x_high = min(self._x_low, step), max(self._x_high, step)
            if math.isfinite(value):
                self._low, self._high = min(self._low, value), max(self._high, value)
                self._last = (step, value)
            elif self._bad is None:
                self._bad = (step, value)

    def snapshot(self) -> Series:
        """Return what there is now, for another thread to read while this one grows."""
        frozen = copy.copy(self)
        frozen._x, frozen._y, frozen._smooth = self._x[:], self._y[:], self._smooth[:]
        return frozen

    def __len__(self) -> int:
        return len(self._x)

    def minimum(self) -> float | None:
        """Return the smallest finite y, or None when there is none."""
        return self._low if self._last else None

    def maximum(self) -> float | None:
        """Return the largest finite y, or None when there is none."""
        return self._high if self._last else None

    def last(self) -> tuple[float, float] | None:
        """Return the last point whose y is finite, or None."""
        return self._last

    def x_bounds(self) -> tuple[float, float] | None:
        """Return the smallest and largest finite x, also of points whose y is not finite, or None."""
        return (self._x_low, self._x_high) if self._x_low <= self._x_high else None

    def first_nonfinite(self) -> float | None:
        """Return the x of the first y that is NaN or infinite, or None."""
        return self._bad[0] if self._bad else None

    def first_nonfinite_value(self) -> float | None:
        """Return that first NaN or infinite y itself, or None."""
        return self._bad[1] if self._bad else None

    def arrays(self) -> tuple[Floats, Floats]:
        """Return x and y as numpy arrays; they are copies, so the series may go on growing."""
        import numpy as np

        # Not kept: to copy a hundred thousand points again takes less than a tenth of a millisecond.
        return np.array(self._x, dtype=np.float64), np.array(self._y, dtype=np.float64)

    def smoothed(self, weight: float) -> Floats:
        """Return the bias-corrected exponential moving average of y; non-finite y are skipped and stay NaN.

        Only the points that came since the last call with the same weight are worked on.
        """
        import numpy as np

        last_weight, mean, bias = self._smooth_state
        if last_weight != weight:
            self._smooth, mean, bias = array("d"), 0.0, 1.0
        for value in self._y[len(self._smooth) :]:
            if math.isfinite(value):
                mean = weight * mean + (1.0 - weight) * value
                bias *= weight
                self._smooth.append(mean / (1.0 - bias) if bias < 1.0 else value)
            else:
                self._smooth.append(math.nan)
        self._smooth_state = (weight, mean, bias)
        return np.array(self._smooth, dtype=np.float64)


def _column(values: Iterable[float | None]) -> array[float]:
    """Return the values as doubles: None is NaN, an integer too large for a double is infinite."""
    if isinstance(values, array) and values.typecode == "d":
        return values
    values = list(values)
    try:
        return array("d", values)  # type: ignore[arg-type]  # a None is caught below
    except (TypeError, OverflowError):
        return array("d", (_number(value) for value in values))


def _number(value: float | None) -> float:
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def decimate(x: Floats, y: Floats, columns: int) -> tuple[Floats, Floats]:
    """Return the finite points thinned to the lowest and the highest of each column, so spikes survive."""
    kept = picks(x, y, columns)
    return x[kept], y[kept]


def picks(x: Floats, y: Floats, columns: int, x_range: tuple[float, float] | None = None) -> Indices:
    """Return the indices of the finite points worth drawing: two per column, and the two ends.

    Columns are of equal width in x when x never decreases, else of equal count.
    """
    import numpy as np

    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    count = finite.size
    if count <= 2 * columns:
        return finite
    values = y[finite]
    starts = _starts(_by_x(x[finite], columns, x_range))
    if starts.size > columns:
        starts = _starts(np.arange(count) * columns // count)
    sizes = np.diff(np.append(starts, count))
    lowest = _first_equal(values, np.minimum.reduceat(values, starts), starts, sizes)
    highest = _first_equal(values, np.maximum.reduceat(values, starts), starts, sizes)
    kept = np.zeros(count, dtype=bool)  # not np.unique: it imports numpy.ma, and sorts
    kept[lowest] = kept[highest] = kept[[0, -1]] = True
    return finite[kept]


def _by_x(x: Floats, columns: int, x_range: tuple[float, float] | None) -> Indices:
    import numpy as np

    low, high = x_range or (x.min(), x.max())
    half = high / 2 - low / 2  # halves: the difference of two doubles may overflow
    if half <= 0:
        return np.zeros(x.size, dtype=np.intp)
    with np.errstate(all="ignore"):
        place = (x / 2 - low / 2) / half
    return (np.clip(np.nan_to_num(place), 0.0, 1.0) * (columns - 1) + 0.5).astype(np.intp)


def _starts(buckets: Indices) -> Indices:
    import numpy as np

    return np.concatenate(([0], np.flatnonzero(np.diff(buckets)) + 1))


def _first_equal(values: Floats, wanted: Floats, starts: Indices, sizes: Indices) -> Indices:
    """Return, for each bucket, the index of the first value that equals the wanted one."""
    import numpy as np

    hits = np.flatnonzero(values == np.repeat(wanted, sizes))
    _, first = np.unique(np.searchsorted(starts, hits, side="right"), return_index=True)
    return hits[first]
