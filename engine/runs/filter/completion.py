"""What can be written next in a filter: for a line that completes while it is typed.

Reads no file but the confs of some runs, which takes a few milliseconds each the first time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from engine.conf.tree import flatten
from engine.errors import BadInput
from engine.runs.filter import keys
from engine.runs.record import STATES, Record

_LOOKED_AT = 200
# Runs of one workspace have the same keys in their confs, give or take a network's own.
_CONFS_LOOKED_AT = 12
_MOST = 50
_PART = re.compile(r"(?:best|last|min|max)\([^()]*$|[^\s()<>=!~,]*$", re.IGNORECASE)
_BEFORE_VALUE = re.compile(
    r"([^\s()<>=!~,'\"`]+(?:\([^()]*\))?)\s*(?:<=|>=|!=|!~|=|<|>|~|\bi?like\b)\s*$", re.IGNORECASE
)
_AFTER_VALUE = re.compile(
    r"(?:[=<>~]|\bi?like\b)\s*(?:'[^']*'|\"[^\"]*\"|[^\s()<>=!~,'\"`]+)\s+$", re.IGNORECASE
)
_PLAIN = re.compile(r"[\w./:-]+")


@dataclass(frozen=True)
class Completion:
    """What may stand in place of expression[start:end], likeliest first."""

    start: int
    end: int
    candidates: tuple[str, ...]


def complete(expression: str, cursor: int, records: Iterable[Record]) -> Completion:
    """Return what could be written at the cursor: keys, values that runs have, or what joins two terms."""
    before = expression[:cursor]
    match = _PART.search(before)
    part = match.group() if match else ""
    start = cursor - len(part)
    asked = _BEFORE_VALUE.search(before[:start])
    some = list(islice(records, _LOOKED_AT))
    if asked is not None:
        offered = _values(asked.group(1), some)
    else:
        offered = _keys(some)
        if _AFTER_VALUE.search(before[:start]):
            offered = ["and", "or", *offered]
    wanted = part.lower().lstrip("'\"")
    begins = [word for word in offered if word.lower().lstrip("'\"").startswith(wanted)]
    holds = [word for word in offered if wanted in word.lower() and word not in begins]
    return Completion(start, cursor, tuple((begins + holds)[:_MOST]))


def known_keys(records: Iterable[Record]) -> list[str]:
    """Return every key that some of these runs can be asked for."""
    return _keys(list(islice(records, _LOOKED_AT)))


def _keys(records: list[Record]) -> list[str]:
    metrics: dict[str, None] = {}
    params: dict[str, None] = {}
    tags: dict[str, None] = {}
    confs = [record for record in records if record.stored is None][:_CONFS_LOOKED_AT]
    for record in confs:
        params.update(dict.fromkeys(flatten(record.conf())))
    for record in records:
        if record.stored is not None:
            metrics.update(dict.fromkeys(record.stored.metrics))
            params.update(dict.fromkeys(record.stored.params))
            tags.update(dict.fromkeys(record.stored.tags))
        else:
            metrics.update(dict.fromkeys(record.last))
            tags.update(dict.fromkeys(record.tags))
    found = [*keys.KEYS, "status", "run_name", "start_time", "end_time"]
    for name in metrics:
        shown = name if _PLAIN.fullmatch(name) else f'"{name}"'
        found += [f"metrics.{shown}", f"best({shown})", f"min({shown})", f"max({shown})"]
    for kind, names in (("params", params), ("tags", tags)):
        found += [f"{kind}.{name}" if _PLAIN.fullmatch(name) else f"{kind}.`{name}`" for name in names]
    return found


def _values(text: str, records: list[Record]) -> list[str]:
    if text == "state":
        return list(STATES)
    try:
        ask = keys.getter(keys.parse_key(text))
    except BadInput:
        return []
    found: dict[str, None] = {}
    for record in records:
        value = ask(record)
        if value not in (None, "") and not isinstance(value, float):
            shown = str(value)
            found[shown if _PLAIN.fullmatch(shown) else f"'{shown}'"] = None
    return list(found)
