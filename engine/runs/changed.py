"""What a run does otherwise than the conf it was started from, or than another run. Reads confs only."""

from __future__ import annotations

from typing import Any

from engine.conf.tree import flatten
from engine.runs.record import Record

# What a run is called says nothing about what it does.
_WORDS = ("name", "description", "version")
_ABSENT = object()


def changed(record: Record, baseline: Record | None = None) -> dict[str, Any]:
    """Return the parameters that differ, with their values here: from its conf, or from another run."""
    if baseline is None:
        return {
            key: change.get("is") if isinstance(change, dict) else change
            for key, change in record.patch().items()
            if key not in _WORDS
        }
    mine, other = flatten(record.conf()), flatten(baseline.conf())
    keys = [key for key in dict.fromkeys([*mine, *other]) if key not in _WORDS]
    return {key: mine.get(key) for key in keys if mine.get(key, _ABSENT) != other.get(key, _ABSENT)}


def told(changes: dict[str, Any]) -> str:
    """Return changes in a line: `learning_rate=0.01 epochs=3`, more of a key where its end will not do."""
    ends = [key.rpartition(".")[2] for key in changes]
    words = []
    for key, end, value in zip(changes, ends, changes.values(), strict=True):
        short = key if ends.count(end) > 1 or end == "name" else end
        words.append(f"{short}={_said(value)}")
    return " ".join(words)


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return " ".join(str(value).split())
