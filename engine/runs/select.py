"""Filter and sort runs: `spectui runs --filter --sort --columns`, and the app's list.

The language is in `engine.runs.filter`; here it meets lists of runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from engine.runs.filter import complete, parse
from engine.runs.filter.compare import number_of
from engine.runs.filter.keys import KEYS, Key, getter, parse_key
from engine.runs.record import Record

__all__ = ["KEYS", "check_key", "complete", "getter_of", "select", "sort", "value"]

_parsed = lru_cache(maxsize=32)(parse)


def select(records: list[Record], expression: str | None) -> list[Record]:
    """Return the runs that match; all of them for no expression.

    Raises:
        BadInput: the expression makes no sense; one line says where.
    """
    if not expression or not expression.strip():
        return records
    test = _parsed(expression)
    return [record for record in records if test(record)]


def sort(records: list[Record], key: str | None) -> list[Record]:
    """Return the runs in the order of a key; '-key' turns it round; runs without a value come last."""
    if not key:
        return records
    ask, backwards = getter_of(key.removeprefix("-")), key.startswith("-")
    values = [(ask(record), record) for record in records]
    having = [(_place(v), r) for v, r in values if v is not None and v == v and v != ""]
    missing = [r for v, r in values if v is None or v != v or v == ""]
    having.sort(key=lambda pair: pair[0], reverse=backwards)
    return [record for _, record in having] + missing


def _place(value: Any) -> tuple[int, float, str]:
    """Return what sorts numbers by size, and everything else after them by its text."""
    number = number_of(value)
    return (1, 0, str(value)) if number is None else (0, number, "")


@lru_cache(maxsize=256)
def getter_of(key: str) -> Callable[[Record], Any]:
    """Return what asks a run for a written key.

    Raises:
        BadInput: no run can have such a key.
    """
    return getter(parse_key(key))


def value(record: Record, key: str) -> Any:
    """Return the value of a key of a run, or None."""
    return getter_of(key)(record)


def check_key(key: str) -> Key:
    """Return what a key means; raise `BadInput` for one that no run can have."""
    return parse_key(key)
