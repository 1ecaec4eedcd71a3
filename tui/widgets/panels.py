"""Which recorded quantities stand together on one chart, and in which order the charts come.

Plain data from names. Never sees a point or a widget.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from engine.words import has, say

_LOSSES = ("batch_loss", "train_loss", "val_loss")
_TOGETHER = {
    "memory_mb": "memory", "gpu_memory_mb": "memory", "cpu_percent": "busy", "gpu_percent": "busy",
}  # fmt: skip
_ORDER = ("loss", "learning_rate", "gradient_norm")
_LAST = ("samples_per_second", "data_wait", "memory", "busy", "skipped_steps")
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Panel:
    """One chart: what it is called, and the quantities on it with the names of their lines."""

    key: str
    title: str
    names: tuple[str, ...]
    lines: tuple[str, ...]


def panels(names: Iterable[str], labels: Iterable[str] = ()) -> list[Panel]:
    """Return the charts of what was recorded: losses first, then rate and norms, errors, the machine last.

    `labels` are the names of the predicted quantities: their errors of one kind stand on one chart.
    """
    known = set(labels)
    groups: dict[str, list[tuple[str, str]]] = {"loss": [], "learning_rate": []}
    for name in names:
        key, line = _place(name, known)
        groups.setdefault(key, []).append((name, line))
    found = []
    for key in sorted(groups, key=_rank):
        pairs = sorted(groups[key], key=lambda pair: _within(pair[0]))
        found.append(Panel(key, _title(key), tuple(n for n, _ in pairs), tuple(line for _, line in pairs)))
    return found


def matching(found: Iterable[Panel], wanted: str) -> list[Panel]:
    """Return the charts of which the title or a quantity matches: a part of its name, or a glob."""
    wanted = wanted.strip().lower()
    if not wanted:
        return list(found)
    pattern = wanted if any(sign in wanted for sign in "*?[") else f"*{wanted}*"
    return [one for one in found if any(fnmatchcase(w.lower(), pattern) for w in (one.title, *one.names))]


def _place(name: str, labels: set[str]) -> tuple[str, str]:
    """Return the chart that a quantity belongs on, and the name of its line there."""
    if name in _LOSSES:
        return "loss", say(f"run.line.{name.removesuffix('_loss')}")
    if name == "learning_rate":
        return name, say("run.line.rate")
    if name in _TOGETHER:
        return _TOGETHER[name], say(f"charts.line.{name}")
    if "/" in name and not name.startswith(("step/", "system/")):
        head, _, part = name.partition("/")
        return f"{head}/", part
    part, _, rest = name.partition("_")
    label = next((label for label in labels if rest.startswith(f"{label}_")), None)
    if part in _PARTS and label is not None:
        line = label if part == "val" else f"{say(f'run.line.{part}')} {label}"
        return f"errors/{rest.removeprefix(f'{label}_')}", line
    if part in _PARTS and rest:
        return f"parts/{rest}", say(f"run.line.{part}")
    return name, name


def _rank(key: str) -> tuple[int, int, str]:
    if key in _ORDER:
        return 0, _ORDER.index(key), key
    if key in _LAST:
        return 3, _LAST.index(key), key
    return (1, 0, key) if key.startswith(("errors/", "parts/")) else (2, 0, key)


def _within(name: str) -> tuple[int, str]:
    return (_LOSSES.index(name) if name in _LOSSES else 0), name


def _title(key: str) -> str:
    if has(f"charts.title.{key}"):
        return say(f"charts.title.{key}")
    if key.startswith("errors/"):
        return say("charts.title.errors", kind=_kind(key.partition("/")[2]))
    return key.removeprefix("parts/").rstrip("/")


def _kind(name: str) -> str:
    """Return the name of a kind of error as people write it: MAE, but outlier rate."""
    return name.upper() if len(name) <= 4 else name.replace("_", " ")


def page_words(first: int, count: int, total: int) -> str:
    """Say which charts are on the page; `first` counts from 0."""
    if count == 1:
        return say("charts.page_one", first=first + 1, total=total)
    return say("charts.page", first=first + 1, last=first + count, total=total)
