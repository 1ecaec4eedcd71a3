"""Small measures of a row of numbers: middle, scatter, swing. Plain Python; knows nothing of runs."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """Return the middle value; NaN for none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half])


def scatter(values: Sequence[float]) -> float:
    """Return the median distance from the median, as a standard deviation of a bell curve."""
    middle = median(values)
    return 1.4826 * median([abs(value - middle) for value in values])


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN for none."""
    return sum(values) / len(values) if values else math.nan


def running_median(values: Sequence[float], width: int) -> list[float]:
    """Return the median of the `width` values around each; fewer at the ends."""
    half = max(1, width // 2)
    window: list[float] = sorted(values[:half])
    middles = []
    for place in range(len(values)):
        if place + half < len(values):
            insort(window, values[place + half])
        if place - half - 1 >= 0:
            del window[bisect_left(window, values[place - half - 1])]
        middles.append(window[len(window) // 2])
    return middles


def median_before(values: Sequence[float], width: int) -> list[float]:
    """Return the median of the `width` values before each; the value itself where there are fewer than 3."""
    window: list[float] = []
    middles = []
    for place, value in enumerate(values):
        middles.append(window[len(window) // 2] if len(window) >= 3 else value)
        insort(window, value)
        if place >= width:
            del window[bisect_left(window, values[place - width])]
    return middles


def swing(values: Sequence[float]) -> float:
    """Return how far values jump from one to the next, as a share of their middle; drifts count little."""
    if len(values) < 3:
        return 0.0
    # second differences: a straight descent has none
    jumps = [abs(a - 2 * b + c) / 2 for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    middle = abs(median(values))
    return median(jumps) / middle if middle else 0.0
