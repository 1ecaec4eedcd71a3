"""Plain text for people: aligned columns by cell width, numbers, durations, ages."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from engine.words import say


def print_json(value: Any) -> None:
    """Print a value as JSON; numbers that JSON cannot say become null."""
    print(json.dumps(_finite(value), ensure_ascii=False, indent=1))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print left-aligned columns, two spaces apart."""
    for line in table(headers, rows):
        print(line)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return left-aligned columns as lines."""
    widths = [max(cell_len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in [headers, *rows]
    ]


def figure(value: Any) -> str:
    """Return a number in at most four significant digits; '-' for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """Return a duration as '42s', '3m05s', '2h10m', '3d4h'."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def age(when: float) -> str:
    """Return how long ago a time was."""
    return say("cli.ago", time=duration(max(0.0, time.time() - when)))


def message(text: str) -> None:
    """Say something that is not a fact: it goes to stderr."""
    print(text, file=sys.stderr)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
