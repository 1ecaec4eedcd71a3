"""The columns of the run list: a column is a key of the filter language, with words, a width and a text.

So what can be shown can be sorted, filtered and grouped by, and had from `spectui runs --columns`. Owns no
widget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.cli.text import duration, figure
from engine.runs.changed import changed, told
from engine.runs.filter import known_keys
from engine.runs.filter.keys import parse_key
from engine.runs.record import Record
from engine.runs.select import getter_of
from engine.runs.spark import CELLS
from engine.words import say
from tui.theme import GLYPHS

DEFAULT = (
    "state", "run", "model", "changed", "spark", "epoch", "best.val_loss", "last.val_loss", "left",
    "duration", "age",
)  # fmt: skip
ALWAYS = ("state", "run")
"""Columns that stay however small the screen is: which run, and how it is."""
ATTRIBUTES = (*DEFAULT, "name", "device", "host", "step", "epochs", "note", "parent", "source", "experiment")
SORT_KEYS = {"run": "name", "left": "left", "spark": "best.val_loss"}
"""What a column is sorted by when that is not its own key."""
NAME_WIDTH = 22
TAIL = 11
"""Of a run id that is too long, this much of its end stays: time and the four hex digits."""
_OTHER_WIDTH = 10


@dataclass(frozen=True)
class Column:
    """One column: `goes` is how early it goes when room is short; 0 never does."""

    key: str
    width: int
    text: Callable[[Record], str]
    goes: int = 0
    right: bool = False
    grows: int = 0
    """How wide it may become when there is room."""

    @property
    def title(self) -> str:
        """The word above the column."""
        return title(self.key)

    @property
    def sort_key(self) -> str:
        """What a click on the title sorts by."""
        return SORT_KEYS.get(self.key, self.key)

    def slow(self, record: Record) -> bool:
        """Tell whether the text is not at hand: a conf or a store has to be read for it."""
        if self.key == "spark":
            return record.stored is not None
        return self.key == "changed" or _kind(self.key) in ("param", "dataset")


def _age(record: Record) -> str:
    return duration(max(0.0, time.time() - record.created_at))


def _called(record: Record) -> str:
    """Return the run's id; of one that was given another name, that and the end of its id."""
    if record.stored is not None:
        return record.name
    renamed = record.name != record.identity.get("name", record.name)
    return f"{record.name}  {record.run_id[-TAIL:]}" if renamed else record.run_id


def _best(record: Record) -> str:
    return figure(record.best.get("val_loss", record.best.get("train_loss")))


def _last(record: Record) -> str:
    return figure(record.last.get("val_loss", record.last.get("batch_loss")))


_KNOWN = {
    column.key: column
    for column in (
        Column("state", 10, lambda r: f"{GLYPHS[r.state]} {say(f'state.{r.state}')}"),
        Column("run", NAME_WIDTH, _called, grows=44),
        Column("name", 16, lambda r: r.name, goes=6),
        Column("model", 16, lambda r: r.model, goes=9),
        Column("changed", 18, lambda r: told(changed(r)), goes=8, grows=60),
        Column("spark", CELLS, lambda r: r.spark.cells() if r.spark is not None else "", goes=3),
        Column("epoch", 9, lambda r: f"{r.epoch}/{r.epochs}" if r.epochs else "-", goes=1, right=True),
        Column("best.val_loss", 9, _best, right=True),
        Column("last.val_loss", 9, _last, goes=5, right=True),
        Column("left", 7, lambda r: duration(r.eta) if r.eta is not None else "", goes=10, right=True),
        Column("duration", 7, lambda r: duration(r.duration), goes=7, right=True),
        Column("age", 7, _age, goes=4, right=True),
        Column("host", 12, lambda r: r.host, goes=6),
        Column("device", 8, lambda r: r.device, goes=6),
        Column("note", 20, lambda r: r.note, goes=6, grows=40),
        Column("parent", NAME_WIDTH, lambda r: r.parent or "", goes=6),
    )
}


@lru_cache(maxsize=512)
def column(key: str) -> Column:
    """Return the column of a key.

    Raises:
        BadInput: no run can have such a key.
    """
    known = _KNOWN.get(key)
    if known is not None:
        return known
    ask = getter_of(key)
    number = _kind(key) in ("metric", "best", "min", "max", "test")
    return Column(key, _OTHER_WIDTH, lambda r: shown(ask(r)), goes=2, right=number)


def shown(value: Any) -> str:
    """Return what a run says to a key, as a cell."""
    return "" if value is None else figure(value)


@lru_cache(maxsize=512)
def _kind(key: str) -> str:
    return "own" if key in _KNOWN else parse_key(key).kind


@lru_cache(maxsize=512)
def _words(key: str) -> str:
    kind = _kind(key)
    if kind == "own" or "." not in key:
        return key
    name = key.partition(".")[2]
    if kind in ("best", "min", "max"):
        return f"{kind} {name}"
    # Of a parameter the end is what tells it from others, and what fits.
    return name.rpartition(".")[2] if kind == "param" else name


def title(key: str) -> str:
    """Return the word above a column."""
    return say(f"runs.column.{key.replace('.', '_')}") if key in _KNOWN else _words(key)


def choices(records: Iterable[Record]) -> list[str]:
    """Return the keys that these runs can be shown by: attributes, metrics, parameters. It may read confs."""
    found = dict.fromkeys(ATTRIBUTES)
    for key in known_keys(records):
        name = key.removeprefix("best(").removesuffix(")")
        if key.startswith("best("):
            found[f"best.{name}"] = None
        elif key.startswith("metrics."):
            found[f"last.{key.removeprefix('metrics.')}"] = None
        elif key.startswith(("params.", "tags.")):
            found[key] = None
    return list(found)
