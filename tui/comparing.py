"""The compared runs: which they are, what was read of them, how they look, what was chosen about each.

Plain state of the compare screen; owns no widget. `read` works in a thread and only adds; everything else is
called by the screen.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from engine.compare.looks import Look, Looks
from engine.runs.record import Record
from engine.track import listing, remote
from engine.workspace import Workspace
from tui.charts import Series
from tui.widgets.plain import plain

T = TypeVar("T")

_BYTES_A_TURN = 100_000
# Between two turns the screen gets the interpreter.
_BREATH = 0.0005
_TAIL = 11


class Compared:
    """The runs of the comparison."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.order: list[str] = []
        """The run ids as they are shown: pinned ones first, then as in the list of runs."""
        self.gone: set[str] = set()
        """Compared runs that the list of runs does not have any more."""
        self.hidden: set[str] = set()
        self.pinned: list[str] = []
        self.baseline = ""
        self.current = ""
        self.looks: dict[str, Look] = {}
        self._giver = Looks()
        self._rows: dict[str, Record] = {}
        self._read: dict[str, Record] = {}
        self._failed: set[str] = set()
        self._series: dict[str, dict[str, _Taken]] = {}
        self._made: dict[Hashable, Any] = {}
        self._made_of = -1
        self.news = 0
        """Rises whenever something was read: what was made of the records before is old then."""

    def want(self, rows: Iterable[Record], marked: set[str]) -> None:
        """Say which runs are compared, of those that there are."""
        self._rows = {row.run_id: row for row in rows if row.run_id in marked}
        # One that is gone stays as far as it was read, until it is taken out.
        self.gone = {run_id for run_id in self._read if run_id in marked and run_id not in self._rows}
        kept = [run_id for run_id in self.order if run_id in self.gone]
        there = [*self._rows, *kept, *(run_id for run_id in self.gone if run_id not in kept)]
        self.pinned = [run_id for run_id in self.pinned if run_id in there]
        self.order = [*self.pinned, *(run_id for run_id in there if run_id not in self.pinned)]
        self.hidden &= set(there)
        self._failed &= set(self._rows)
        for run_id in [run_id for run_id in self._read if run_id not in there]:
            del self._read[run_id]
            self._series.pop(run_id, None)
        self.looks = self._giver.give(self.order)
        if self.baseline not in there:
            self.baseline = ""
        if self.current not in there:
            self.current = self.order[0] if self.order else ""

    def unread(self) -> int:
        """Return how many runs are still to be read."""
        return sum(run_id not in self._read and run_id not in self._failed for run_id in self._rows)

    def live(self) -> bool:
        """Tell whether any run may still grow."""
        return any(row.live for row in self._rows.values())

    def read(self, cancelled: Callable[[], bool], told: Callable[[], None]) -> None:
        """Read what is new of every run, in turns; tell after each run that is there for the first time."""
        for run_id, row in list(self._rows.items()):
            if cancelled():
                return
            record = self._read.get(run_id)
            if record is None or (row.stored is not None and record.stored is not row.stored):
                try:
                    self._read[run_id] = self._open(row, cancelled)
                except (OSError, ValueError, sqlite3.Error, remote.Away):
                    # it is just going, or its store is away: tried again with the next change of the list
                    self._failed.add(run_id)
                self.news += 1
                told()
            elif row.stored is None:
                self.news += _refresh(record, cancelled)

    def retry(self) -> None:
        """Try again what could not be read."""
        self._failed.clear()

    def _open(self, row: Record, cancelled: Callable[[], bool]) -> Record:
        if row.stored is not None:
            return listing.with_curves(self.workspace, row.stored)
        record = Record(row.folder.path)
        _refresh(record, cancelled)
        record.conf()  # here, where nobody waits for it
        return record

    def record(self, run_id: str) -> Record | None:
        """Return a run as far as it was read: with curves, or as the list knows it."""
        return self._read.get(run_id) or self._rows.get(run_id)

    def records(self, *, shown: bool = False) -> list[Record]:
        """Return the runs that were read, in order, all or only those that are not hidden."""
        found = [self._read.get(run_id) for run_id in self.order if not (shown and run_id in self.hidden)]
        return [record for record in found if record is not None]

    def columns(self) -> list[Record]:
        """Return the runs that were read as columns of a table: the baseline before all others."""
        return sorted(self.records(), key=lambda record: record.run_id != self.baseline)

    def once(self, what: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` makes of the records; made anew when they are others or changed."""
        if self._made_of != self.news:
            self._made, self._made_of = {}, self.news
        key = (what, tuple(self.order), self.baseline, frozenset(self.hidden))
        if key not in self._made:
            self._made[key] = make()
        return cast("T", self._made[key])

    def names(self) -> dict[str, str]:
        """Return what the runs are called: their names while these differ, else the ends of their ids too."""
        records = [record for run_id in self.order if (record := self.record(run_id)) is not None]
        names = [plain(record.name) for record in records]
        times = Counter(names)
        return {
            record.run_id: name if times[name] == 1 else _told_apart(record)
            for record, name in zip(records, names, strict=True)
        }

    def quantities(self) -> list[str]:
        """Return what any of the runs has a curve of."""
        return list(dict.fromkeys(name for record in self.records() for name in list(record.curves)))

    def series(self, record: Record, quantity: str) -> Series | None:
        """Return the points of a run as a chart wants them; only what is new is taken over."""
        curve = record.curves.get(quantity)
        if curve is None:
            return None
        taken = self._series.setdefault(record.run_id, {}).setdefault(quantity, _Taken(Series(quantity)))
        count = min(len(curve.steps), len(curve.values))
        if taken.record is not record or record.cuts != taken.cuts or count < taken.count:
            taken.series.clear()
            taken.record, taken.cuts, taken.count = record, record.cuts, 0
        if count > taken.count:
            taken.series.append(curve.steps[taken.count : count], curve.values[taken.count : count])
            taken.count = count
        return taken.series

    def forget_series(self, kept: Sequence[str]) -> None:
        """Let go of the points of every quantity but these: a chart keeps copies of its own."""
        for of_run in self._series.values():
            for quantity in [name for name in of_run if name not in kept]:
                del of_run[quantity]

    def toggle_hidden(self) -> None:
        """Hide or show the run of the cursor."""
        self.hidden ^= {self.current} if self.current else set()

    def toggle_pinned(self) -> None:
        """Put the run of the cursor before the others, or back."""
        if self.current in self.pinned:
            self.pinned.remove(self.current)
        elif self.current:
            self.pinned.append(self.current)

    def toggle_baseline(self) -> None:
        """Measure the others by the run of the cursor, or by none."""
        self.baseline = "" if self.baseline == self.current else self.current


@dataclass
class _Taken:
    series: Series
    record: Record | None = None
    cuts: int = 0
    count: int = 0


def _refresh(record: Record, cancelled: Callable[[], bool]) -> bool:
    """Read what is new, in turns; tell whether there was anything."""
    any_news = False
    while record.refresh(_BYTES_A_TURN):
        any_news = True
        if cancelled():
            break
        time.sleep(_BREATH)
    return any_news


def _told_apart(record: Record) -> str:
    return record.run_id if record.stored is not None else record.run_id[-_TAIL:]
