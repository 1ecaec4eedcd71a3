"""Ticks and labels of an x axis that counts seconds, of work or of the clock.

Owns what is nice in time: steps of 15 seconds, 10 minutes, 6 hours; labels such as 1h30m and 14:05.
"""

from __future__ import annotations

import math
from datetime import datetime

from tui.charts import axes

_STEPS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000,
)  # fmt: skip
_DAY = 86400.0
_LATEST = 2.0e11  # a year that `datetime` can still write


def time_ticks(low: float, high: float, target: int, *, clock: bool) -> list[tuple[float, str]]:
    """Return (seconds, label) of about `target` ticks; with `clock` of Unix times, told in local time."""
    wanted = (high / 2 - low / 2) / max(1, target) * 2
    step = next((float(one) for one in _STEPS if one >= wanted), axes.nice_step(wanted, 1))
    if wanted < 1 or not 0 < step < math.inf or (clock and not 0 <= low <= high <= _LATEST):
        plain = axes.ticks(low, high, target)
        return [(x, text) for (x, _), text in zip(plain, axes.labels([v for _, v in plain]), strict=True)]
    shift = _offset(low) if clock else 0.0
    first, last = math.ceil((low + shift) / step), math.floor((high + shift) / step)
    values = [number * step - shift for number in range(first, min(last, first + 4 * target + 4) + 1)]
    return [(value, (_time_of_day(value, step) if clock else elapsed(value))) for value in values]


def elapsed(seconds: float) -> str:
    """Return a length of time such as 45s, 12m, 1h30m, 2d6h; the two largest units that are not 0."""
    if not math.isfinite(seconds) or abs(seconds) > 1e12:
        return axes.label(seconds)
    sign, rest = ("-" if seconds < 0 else ""), abs(seconds)
    if rest < 10 and rest != int(rest):
        return f"{sign}{rest:.3g}s"
    rest = round(rest)
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, rest = divmod(rest, size)
        parts.append((count, unit))
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    head = [parts[0], *(part for part in parts[1:2] if part[0])]
    return sign + "".join(f"{count}{unit}" for count, unit in head)


def moment(seconds: float) -> str:
    """Return a Unix time as local date and time, to the second."""
    if not 0 <= seconds <= _LATEST:
        return axes.label(seconds)
    return f"{datetime.fromtimestamp(seconds):%m-%d %H:%M:%S}"


def _time_of_day(value: float, step: float) -> str:
    when = datetime.fromtimestamp(value)
    if step >= _DAY:
        return f"{when:%m-%d}"
    return f"{when:%H:%M:%S}" if step < 60 else f"{when:%H:%M}"


def _offset(at: float) -> float:
    zone = datetime.fromtimestamp(at).astimezone().utcoffset()
    return zone.total_seconds() if zone is not None else 0.0
