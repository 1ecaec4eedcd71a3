"""Filter and sort runs: the language of `spectui runs --filter`.

    E = terms joined by `and`; a term is KEY OP VALUE or a bare text
    KEY = run_id, name, model, state, host, age (seconds), duration, epoch, step, param.<conf key>,
          metric.<name>, best.<name>; OP = != < <= > >= = ~ (contains)

A bare text matches the run id, name, model or state.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Any

from engine.conf.load import get
from engine.errors import BadInput
from engine.runs.record import Record
from engine.words import say

KEYS = ("run_id", "name", "model", "state", "host", "device", "age", "duration", "epoch", "step", "created")
_SECTIONS = (
    "model", "data", "training", "tracking", "param", "params", "metric", "metrics", "last", "best", "test",
)  # fmt: skip
_TERM = re.compile(r"^\s*([\w./-]+)\s*(<=|>=|!=|=|<|>|~)\s*(.+?)\s*$")


def select(records: list[Record], expression: str | None) -> list[Record]:
    """Return the runs that match; all of them for no expression.

    Raises:
        BadInput: a term has an unknown key or no value.
    """
    if not expression or not expression.strip():
        return records
    tests = [_test(term) for term in re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE)]
    return [record for record in records if all(test(record) for test in tests)]


def sort(records: list[Record], key: str | None) -> list[Record]:
    """Return the runs in the order of a key; '-key' turns it round; runs without a value come last."""
    if not key:
        return records
    name, backwards = key.lstrip("-"), key.startswith("-")
    check_key(name)
    having = [(v, r) for r in records if (v := value(r, name)) is not None and v == v]
    missing = [r for r in records if (v := value(r, name)) is None or v != v]
    having.sort(key=lambda pair: _place(pair[0]), reverse=backwards)
    return [record for _, record in having] + missing


def _place(value: Any) -> tuple[int, float, str]:
    """Return what sorts numbers by size, and everything else after them by its text."""
    return (0, value, "") if _number(value) == value else (1, 0, str(value))


def value(record: Record, key: str) -> Any:
    """Return the value of a key of a run, or None."""
    if key in ("age", "created"):
        return time.time() - record.created_at if key == "age" else record.created_at
    if key in KEYS:
        return getattr(record, key)
    kind, _, name = key.partition(".")
    if kind in ("metric", "metrics", "last"):
        return record.last.get(name)
    if kind == "best":
        return record.best.get(name)
    if kind == "test":
        return record.test.get(name)
    return get(record.conf(), name if kind in ("param", "params") else key)


def check_key(key: str) -> None:
    """Raise `BadInput` for a key that no run can have."""
    kind, dot, _ = key.partition(".")
    if key not in KEYS and not (dot and kind in _SECTIONS):
        raise BadInput(say("runs.bad_key", key=key, known=", ".join(KEYS)))


def _test(term: str) -> Callable[[Record], bool]:
    match = _TERM.match(term)
    if match is None:
        if re.search(r"[<>=~]", term):
            raise BadInput(say("runs.bad_term", term=term.strip()))
        text = term.strip().strip("'\"").casefold()
        return lambda r: any(text in str(v).casefold() for v in (r.run_id, r.name, r.model, r.state))
    key, operator, raw = match.groups()
    check_key(key)
    wanted = raw.strip("'\"")

    def test(record: Record) -> bool:
        return _compare(value(record, key), operator, wanted)

    return test


def _compare(have: Any, operator: str, wanted: str) -> bool:
    text = "null" if have is None else str(have).casefold()
    if operator == "~":
        return have is not None and wanted.casefold() in text
    left, right = _number(have), _number(wanted)
    if left is not None and right is not None:
        answers = {"=": left == right, "!=": left != right, "<": left < right, "<=": left <= right,
                   ">": left > right, ">=": left >= right}  # fmt: skip
        return answers[operator]
    if operator == "=":
        return text == wanted.casefold()
    if operator == "!=":
        return text != wanted.casefold()
    return False


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if not math.isnan(number) else None
