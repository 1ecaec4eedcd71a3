"""One comparison of the filter language, made into a question to a run.

What MLflow's grammar accepts is answered as MLflow's SQLite store answers it: quoted texts are compared
letter by letter, LIKE minds capitals, a missing value never matches, NaN matches only `!=`. Everything else
is ours: numbers in params and tags, words without quotes and capitals, durations, dates.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.runs.filter import keys
from engine.runs.filter.keys import Key
from engine.runs.filter.tokens import NUMBER
from engine.runs.record import Record

Test = Callable[[Record], bool]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TEXT_OPERATORS = ("=", "!=", "LIKE", "ILIKE")
_LARGEST = 1.7976931348623157e308
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:ms|min|s|m|h|d|w))+", re.IGNORECASE)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(ms|min|s|m|h|d|w)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Value:
    """What a key is compared with; `quoted` when it was written in single or double quotes."""

    text: str
    quoted: bool = False

    @property
    def is_number(self) -> bool:
        """Tell whether this is a number as MLflow's grammar has it."""
        return not self.quoted and NUMBER.fullmatch(self.text) is not None


def is_null(key: Key, wanted: bool) -> Test:
    """Return the test of IS NULL (`wanted`) and IS NOT NULL."""
    if key.kind == "param":
        return lambda r: (keys.param_text(r, key.name) is None) is wanted
    if key.kind == "tag" or key.kind != "own":
        ask = keys.getter(key)
        return lambda r: (ask(r) is None) is wanted
    own = keys.getter(key)
    return lambda r: (own(r) in (None, "")) is wanted


def comparison(key: Key, sign: str, value: Value) -> Test:
    """Return the test of KEY OP VALUE; `sign` may also be LIKE, ILIKE and ~, each with NOT before it."""
    if sign.startswith("NOT "):
        positive = comparison(key, sign[4:], value)
        present = is_null(key, False)
        return lambda r: present(r) and not positive(r)
    if key.kind == "dataset":
        matches = text_test(sign, value.text) if sign in _TEXT_OPERATORS else loose_test(sign, value)
        return lambda r: any(matches(found) for found in keys.datasets(r, key.name))
    if key.kind == "metric" and sign in _ORDER and value.is_number:
        return _metric_test(key.name, _ORDER[sign], sign == "!=", float(value.text))
    if key.name == "run_id" and key.kind == "attribute":
        return _id_test(sign, value)
    if key.kind == "attribute" and key.name in keys.MLFLOW_NUMBERS:
        return _time_test(keys.getter(key), sign, value)
    if sign in ("LIKE", "ILIKE") or (sign in _TEXT_OPERATORS and value.quoted and key.kind != "own"):
        return _exact_test(key, text_test(sign, value.text))
    ask, matches = keys.getter(key), loose_test(sign, value, timed=key.name in ("age", "duration"))
    return lambda r: matches(ask(r))


def contained(key: Key, wanted: bool, values: list[Value]) -> Test:
    """Return the test of KEY IN (…) and, not `wanted`, of KEY NOT IN (…)."""
    if key.kind == "dataset":
        texts = {value.text for value in values}
        return lambda r: any((found in texts) is wanted for found in keys.datasets(r, key.name))
    tests, present = [comparison(key, "=", value) for value in values], is_null(key, False)
    return lambda r: present(r) and any(test(r) for test in tests) is wanted


def _metric_test(name: str, holds: Callable[[Any, Any], bool], unequal: bool, wanted: float) -> Test:
    def test(record: Record) -> bool:
        have = keys.metric(record, name)
        if have is None:
            return False
        if have != have:
            return unequal
        # MLflow keeps infinity as the largest number.
        return holds(min(max(have, -_LARGEST), _LARGEST), wanted)

    return test


def _id_test(sign: str, value: Value) -> Test:
    """A run has two ids, ours and MLflow's: either may be meant."""
    if sign.startswith("!"):
        positive = _id_test("~" if sign == "!~" else "=", value)
        return lambda r: not positive(r)
    exact = sign in ("LIKE", "ILIKE") or (sign == "=" and value.quoted)
    matches = text_test(sign, value.text) if exact else loose_test(sign, value)
    return lambda r: any(matches(found) for found in keys.run_ids(r))


def _time_test(ask: Callable[[Record], Any], sign: str, value: Value) -> Test:
    """Milliseconds, as MLflow has them; ours is a date, 2026-01-31 or 2026-01-31T12:00."""
    wanted = Value(value.text)
    if sign in _ORDER and not value.is_number:
        try:
            wanted = Value(repr(datetime.fromisoformat(value.text.strip()).timestamp() * 1000))
        except (ValueError, OverflowError, OSError):
            pass
    matches = text_test(sign, value.text) if sign in ("LIKE", "ILIKE") else loose_test(sign, wanted)
    return lambda r: (have := ask(r)) is not None and matches(str(have) if "LIKE" in sign else have)


def _exact_test(key: Key, matches: Callable[[str], bool]) -> Test:
    if key.kind == "param":
        return lambda r: (have := keys.param_text(r, key.name)) is not None and matches(have)
    ask = keys.getter(key)
    return lambda r: (have := ask(r)) is not None and matches(str(have))


def text_test(sign: str, wanted: str) -> Callable[[str], bool]:
    """Return a test of a text as SQLite has it: capitals count, but for ILIKE those of ASCII."""
    if sign == "=":
        return lambda have: have == wanted
    if sign == "!=":
        return lambda have: have != wanted
    if sign == "LIKE":
        return like(wanted)
    matches = like(_ascii_lower(wanted))
    return lambda have: matches(_ascii_lower(have))


def loose_test(sign: str, value: Value, *, timed: bool = False) -> Callable[[Any], bool]:
    """Return a test in our own way: numbers by size, else texts whatever their capitals."""
    text = value.text.casefold()
    number = number_of(value.text)
    if number is None and timed and not value.quoted:
        number = seconds(value.text)
    null, nan = text == "null" and not value.quoted, text in ("nan", "-nan") and not value.quoted

    def test(have: Any) -> bool:
        if have is None or have == "":
            return null and sign == "="
        if sign in ("~", "!~"):
            return (text in str(have).casefold()) is (sign == "~")
        size = number_of(have)
        if nan and size is None and _is_nan(have):
            return sign in ("=", "<=", ">=")
        if number is not None and size is not None:
            return _ORDER[sign](size, number)
        if sign in ("=", "!="):
            return (str(have).casefold() == text) is (sign == "=")
        return False

    return test


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def number_of(value: Any) -> float | None:
    """Return a number, or the number that a text is; NaN is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip().removeprefix("+")
        if NUMBER.fullmatch(text) is None:
            return {"inf": math.inf, "-inf": -math.inf, "infinity": math.inf}.get(text.lower())
        return float(text)
    return value if isinstance(value, int | float) and not math.isnan(value) else None


def seconds(text: str) -> float | None:
    """Return a duration such as 90s, 2h, 1d12h in seconds; None when it is none."""
    if _DURATION.fullmatch(text) is None:
        return None
    return sum(float(count) * _UNITS[unit.lower()] for count, unit in _DURATION_PART.findall(text))


def like(pattern: str) -> Callable[[str], bool]:
    """Return the test of SQL's LIKE: % is any text, _ is any character, and nothing else is special."""
    first, *others = re.split("%+", pattern)

    def piece(text: str) -> re.Pattern[str]:
        return re.compile("".join("." if c == "_" else re.escape(c) for c in text), re.DOTALL)

    head = piece(first)
    if not others:
        return lambda have: head.fullmatch(have) is not None
    middle, tail, length = [piece(text) for text in others[:-1]], piece(others[-1]), len(others[-1])

    def test(have: str) -> bool:
        found = head.match(have)
        # The leftmost place of each piece is the best one: no going back, however odd the pattern.
        for part in middle:
            if found is None:
                return False
            found = part.search(have, found.end())
        return (
            found is not None
            and len(have) - length >= found.end()
            and tail.fullmatch(have, len(have) - length) is not None
        )

    return test


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _ascii_lower(text: str) -> str:
    return text.translate(_LOWER)
