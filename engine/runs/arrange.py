"""The run list as it is shown: filtered, in an order, in groups or as trees of runs and their children.

Pure, so that it can be done off the screen's thread; owns no widgets and writes nothing. What is asked of a
run may read its conf the first time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.errors import BadInput
from engine.runs.filter.compare import number_of
from engine.runs.record import Record
from engine.runs.select import getter_of, select, sort

FLAT = "flat"
"""What to group by for a list without groups and without trees."""
_DEEPEST = 6


class Group(NamedTuple):
    """The runs that have one value of a key."""

    key: str
    value: str
    runs: int
    best: float | None


class Line(NamedTuple):
    """One row of the list: a run, or the head of a group."""

    id: str
    record: Record | None
    tree: str = ""
    """What stands before the name: the branches that lead to a child."""
    inside: int = 0
    """How many runs are folded in, or would be."""
    folded: bool = False
    group: Group | None = None


@dataclass(frozen=True)
class Order:
    """How the list is wanted."""

    filter: str = ""
    sort: str = ""
    group: str = ""
    """A key, FLAT, or nothing: children under their parents."""
    folded: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Arranged:
    """The rows, how many runs matched of how many, and what was wrong with the question."""

    lines: list[Line]
    matched: int = 0
    total: int = 0
    problem: str = ""
    place: dict[str, int] = field(default_factory=dict)
    """Row of each id, for the cursor."""
    order: Order = Order()


def arrange(records: list[Record], order: Order, otherwise: str = "") -> Arranged:
    """Return the rows of the list; for a filter that makes no sense those of the filter `otherwise`."""
    problem = ""
    try:
        found = select(records, order.filter)
    except BadInput as error:
        problem = error.lines[0]
        found = _selected(records, otherwise)
    try:
        found = sort(found, order.sort)
        key = "" if order.group == FLAT else order.group
        lines = _grouped(found, key, order) if key else _nested(found, order)
    except BadInput as error:
        problem, lines = error.lines[0], [Line(record.run_id, record) for record in found]
    place = {line.id: at for at, line in enumerate(lines)}
    return Arranged(lines, len(found), len(records), problem, place, order)


def _selected(records: list[Record], expression: str) -> list[Record]:
    try:
        return select(records, expression)
    except BadInput:
        return records


def _grouped(found: list[Record], key: str, order: Order) -> list[Line]:
    ask = getter_of(key)
    groups: dict[str, list[Record]] = {}
    for record in found:
        groups.setdefault(_text(ask(record)), []).append(record)
    # In the order of what is sorted by, the group of the first run comes first; else by the value itself.
    names = list(groups) if order.sort else sorted(groups, key=_by_size)
    lines: list[Line] = []
    for name in names:
        those, head = groups[name], f"{key}={name}"
        folded = head in order.folded
        group = Group(key, name, len(those), _best(those))
        lines.append(Line(head, None, inside=len(those), folded=folded, group=group))
        if not folded:
            lines += [Line(record.run_id, record, "  ") for record in those]
    return lines


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _by_size(text: str) -> tuple[int, float, str]:
    number = number_of(text)
    return (2, 0.0, text) if text == "-" else (1, 0.0, text) if number is None else (0, number, "")


def _best(records: list[Record]) -> float | None:
    values = [record.best.get("val_loss", record.best.get("train_loss", math.nan)) for record in records]
    return min((value for value in values if math.isfinite(value)), default=None)


def _nested(found: list[Record], order: Order) -> list[Line]:
    """Return children under their parents; a tree stands where the first of its runs would."""
    parents = {} if order.group == FLAT else _parents(found)
    if not parents:
        return [Line(record.run_id, record) for record in found]
    children: dict[str, list[Record]] = {}
    for record in found:
        if record.run_id in parents:
            children.setdefault(parents[record.run_id], []).append(record)
    here = {record.run_id: record for record in found}
    shown: set[str] = set()
    lines: list[Line] = []
    for record in found:
        root = record.run_id
        while root in parents:
            root = parents[root]
        if root not in shown:
            shown.add(root)
            lines += _tree(here[root], children, order.folded)
    return lines


def _parents(found: list[Record]) -> dict[str, str]:
    """Return the parent of each run whose parent is listed too; what leads round in a ring is left out."""
    if not any(record.parent for record in found):
        return {}
    ids = {record.run_id: record.run_id for record in found}
    for record in found:
        stored = record.stored or record.twin
        if stored is not None:
            ids.setdefault(stored.mlflow_run_id, record.run_id)
    parents = {r.run_id: ids[r.parent] for r in found if r.parent in ids and ids[r.parent] != r.run_id}
    safe: set[str] = set()
    for run_id in list(parents):
        way: dict[str, None] = {}
        at = run_id
        while at in parents and at not in safe:
            if at in way:
                del parents[at]
                break
            way[at] = None
            at = parents[at]
        safe.update(way)
    return parents


def _tree(root: Record, children: dict[str, list[Record]], folded: frozenset[str]) -> Iterator[Line]:
    # By hand, not by recursion: each run again of the one before makes a chain as long as one likes.
    waiting: list[tuple[Record, str, int]] = [(root, "", 0)]
    while waiting:
        record, tree, depth = waiting.pop()
        below = children.get(record.run_id, [])
        shut = bool(below) and record.run_id in folded
        yield Line(record.run_id, record, tree, _count(record, children) if below else 0, shut)
        if shut:
            continue
        room = "  " * min(depth, _DEEPEST)
        last = len(below) - 1
        waiting += [(r, room + ("└ " if at == last else "├ "), depth + 1) for at, r in enumerate(below)][::-1]


def _count(record: Record, children: dict[str, list[Record]]) -> int:
    count, waiting = 0, [record.run_id]
    while waiting:
        below = children.get(waiting.pop(), [])
        count += len(below)
        waiting += [child.run_id for child in below]
    return count


def reads_confs(order: Order) -> bool:
    """Tell whether the question may have to read confs: then it is not one for the screen's thread."""
    return any(
        "." in text.replace("best.", "").replace("last.", "") or "changed" in text or "param" in text
        for text in (order.filter, order.sort, order.group)
    )
