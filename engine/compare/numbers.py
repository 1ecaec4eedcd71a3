"""One number (or word) per run by name: what a scatter and parallel coordinates have on their axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engine.compare.tables import MISSING, is_number, metrics, params
from engine.runs.record import Record

_LOG_SPAN = 50.0


def axes(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return every parameter that differs, every metric, and duration: a value per run or MISSING."""
    found: dict[str, list[Any]] = {}
    for key, values in params(records).rows.items():
        if all(value is MISSING or value is None or isinstance(value, int | float | str) for value in values):
            found[key] = values
    found |= {key: values for key, values in metrics(records).rows.items() if _any_number(values)}
    found["duration"] = [MISSING if r.duration is None else r.duration for r in records]
    return found


def differing_numbers(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return the numeric parameters that differ."""
    return {key: values for key, values in params(records).rows.items() if _any_number(values)}


def _any_number(values: Sequence[Any]) -> bool:
    return any(is_number(v) and math.isfinite(v) for v in values)


def wants_log(values: Sequence[Any]) -> bool:
    """Tell whether a log axis suits: all positive, and over more than one and a half decades."""
    numbers = [v for v in values if is_number(v) and math.isfinite(v)]
    return len(numbers) > 1 and min(numbers) > 0 and max(numbers) / min(numbers) >= _LOG_SPAN


def places(values: Sequence[Any]) -> tuple[list[float | None], list[str]]:
    """Return where each value lies on an axis, and the words of an axis of words (else none).

    Words lie at 0, 1, 2 … in the order of their first appearance; what has no place is None.
    """
    if any(is_number(value) for value in values):
        return [float(v) if is_number(v) and math.isfinite(v) else None for v in values], []
    words = list(dict.fromkeys(_word(v) for v in values if v is not MISSING))
    return [None if v is MISSING else float(words.index(_word(v))) for v in values], words


def _word(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
