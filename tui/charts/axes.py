"""Ranges, ticks and labels of both axes, in plain numbers.

Owns what is nice: steps of 1, 2, 2.5 and 5, labels such as 5k and 1e-05, ranges that stand still while a
run is live. Never sees an array, a colour or a terminal. A log axis is handled in log10 units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Range = tuple[float, float]
Tick = tuple[float, float]  # where on the axis, what it says

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_ENDS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0)  # each at most twice the one before: a live chart is half full
_HEADROOM = 0.5  # of what a live curve spans is kept free where it grows out of its chart
_LEAST_FILLED = 0.4  # of the chart's height, or the range is taken anew
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LARGEST = 1.7e308
_SMALLEST = 1e-290  # below it, steps and differences lose their digits
_LOG_FLOOR, _LOG_CEILING = -323.0, 308.2


def union(ranges: Iterable[Range | None]) -> Range | None:
    """Return the smallest range around all the given ones, or None when there is none."""
    known = [pair for pair in ranges if pair is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def widen(low: float, high: float) -> Range:
    """Return a range that is finite and wider than rounding errors, whatever was asked."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    low, high = max(min(low, high), -_LARGEST), min(max(low, high), _LARGEST)
    size = max(abs(low), abs(high))
    if high / 2 - low / 2 > max(size * 1e-12, _SMALLEST):
        return low, high
    margin = size * 0.1 if size > _SMALLEST else 1.0
    return max(low - margin, -_LARGEST), min(high + margin, _LARGEST)


def nice_step(span: float, parts: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that cuts span into at most `parts`."""
    return _round_up(span / parts, _STEPS)


def _round_up(value: float, mantissas: Sequence[float]) -> float:
    if not (value > 0 and math.isfinite(value)):
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    if power == 0.0:
        return 0.0
    return next(m * power for m in (*mantissas, 20.0) if m * power >= value * (1 - 1e-9))


def x_range(low: float, high: float, *, live: bool) -> Range:
    """Return the range of the x axis; while live it ends at a nice value ahead of the data.

    A range that follows every new point would move every cell of the curve at every tick.
    """
    if not live:
        return widen(low, high)
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    start = low
    if 0.0 <= low <= 0.1 * high:
        start = 0.0
    elif step := nice_step(high / 2 - low / 2, 5):
        start = math.floor(low / step) * step
    half = _round_up(high / 2 - start / 2, _ENDS) or 0.5
    return widen(start, start + 2 * half)


def y_range(low: float, high: float) -> Range:
    """Return the range of a linear y axis: the data's own, moved outwards to nice values."""
    low, high = widen(low, high)
    step = nice_step(high / 2 - low / 2, 5)
    if step <= 0:
        return low, high
    return widen(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def log_range(low: float, high: float) -> Range:
    """Return the range, in log10 units, of an axis that shows the positive values low to high."""
    if not (0.0 < low <= high < math.inf):
        return 0.0, 1.0
    bottom, top = math.log10(low), math.log10(high)
    if top - bottom < 1e-6:
        bottom, top = bottom - 0.5, top + 0.5
    bottom, top = math.floor(bottom * 10 + 1e-9) / 10, math.ceil(top * 10 - 1e-9) / 10
    return max(bottom, _LOG_FLOOR), min(top, _LOG_CEILING)


def around(found: Range | None, *, log_y: bool) -> Range:
    """Return the range of a y axis around what is visible, both in axis units."""
    if found is None:
        return 0.0, 1.0
    if not log_y:
        return y_range(*found)
    return log_range(10.0 ** max(found[0], _LOG_FLOOR), 10.0 ** min(found[1], _LOG_CEILING))


def still(found: Range | None, before: Range | None, *, log_y: bool) -> Range:
    """Return the range of a y axis that stands still while a run is live; all in axis units.

    The one before stays while what is visible lies in it and fills it well. Where a curve grows out of it
    there is then some room: else every point of a slope would move every cell of it.
    """
    if found is None or before is None:
        return around(found, log_y=log_y)
    low, high = found
    if before[0] <= low and high <= before[1]:
        filled = high / 2 - low / 2 >= _LEAST_FILLED * (before[1] / 2 - before[0] / 2)
        return before if filled else around(found, log_y=log_y)
    room = min((high / 2 - low / 2) * 2 * _HEADROOM, _LARGEST)
    low = low - room if low < before[0] and not low >= 0 > low - room else low
    return around((low, high + room if high > before[1] else high), log_y=log_y)


def ticks(low: float, high: float, target: int, *, whole: bool = False) -> list[Tick]:
    """Return about `target` ticks at nice values between low and high; `whole` ones count things (steps)."""
    step = nice_step(high / 2 - low / 2, max(1, target) / 2)  # halves: the full span may overflow
    if whole and high - low >= 1:
        step = max(1.0, math.ceil(step)) if step < 10 else step
    if not (step > 0 and math.isfinite(step)):
        return [(low, low), (high, high)]
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    values = [k * step for k in range(first, min(last, first + 4 * target + 4) + 1)]
    return [(value, value) for value in values]


def log_ticks(low: float, high: float, target: int) -> list[Tick]:
    """Return ticks of a log axis whose ends are given in log10 units."""
    decades = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    every = max(1, math.ceil(len(decades) / max(1, target)))
    values = [10.0**k for k in decades if k % every == 0]
    if every == 1 and 3 * len(decades) <= target:
        steps = (m * 10.0**k for k in range(math.floor(low), math.ceil(high)) for m in (1.0, 2.0, 5.0))
        values = [value for value in steps if value > 0 and low - 1e-9 <= math.log10(value) <= high + 1e-9]
    if len(values) < 2:
        values = [value for _, value in ticks(10.0**low, 10.0**high, target) if value > 0]
    return [(math.log10(value), value) for value in values if value > 0]


def label(value: float, digits: int = 3) -> str:
    """Return a short text for a number: 5k, 2.5M, 0.012, 1e-05."""
    value = float(f"{value:.{digits}g}")  # rounded first: 999999 is 1M, not 1e+03k
    for power, suffix in _SUFFIXES:
        if power <= abs(value) < 1e15:
            return f"{value / power:.{digits}g}{suffix}"
    return f"{value:.{digits}g}" if value else "0"


def labels(values: Sequence[float]) -> list[str]:
    """Return one label per value, with just enough digits that no two are the same."""
    tiny = max((abs(value) for value in values), default=0.0) * 1e-9
    clean = [0.0 if abs(value) <= tiny else value for value in values]  # a step of 0.1 lands on 1e-17
    texts: list[str] = []
    for digits in range(3, 14):
        texts = [label(value, digits) for value in clean]
        if len(set(texts)) == len(set(clean)):
            break
    return texts
