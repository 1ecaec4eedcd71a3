"""A screen of one run that has it looked at by the advisor: in threads, and not more often than is useful.

While a thread reads the record nobody may change it: `advising` says so. Owns what was found last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import monotonic

from textual import on, work
from textual.message import Message
from textual.timer import Timer

from engine.runs.record import Record
from tui import advising
from tui.advising import Told, Tried
from tui.screens.base import Place
from tui.widgets.plain import plain

_LEAST_SECONDS = 1.0
_SHARE = 10.0  # looking takes at most one part in so many of the time
_STILL_SECONDS = 10.0  # what comes without an event, such as a stall, is looked for as often
_TOLD_SECONDS = 20.0


class Found(Message):
    """What the advisor found; None when it could not look."""

    def __init__(self, told: Told | None, seconds: float) -> None:
        self.told, self.seconds = told, seconds
        super().__init__()


class TriedFound(Message):
    """How the remedies fare that were tried."""

    def __init__(self, tried: Sequence[Tried]) -> None:
        self.tried = tried
        super().__init__()


class Advised(Place):
    """A screen with a `record` to advise on."""

    record: Record

    def __init__(self) -> None:
        super().__init__()
        self.told = Told()
        self.tried: Sequence[Tried] = ()
        self.advising = False
        """Whether a thread reads the record."""
        self._next_at = -math.inf
        self._asked_at = -math.inf
        self._later: Timer | None = None
        self._rows: object = None
        self._state = ""
        self._looking = False

    def advise(self) -> None:
        """Have the run looked at now, or as soon as it is time again."""
        self._asked_at = monotonic()
        if self.advising or self._later is not None:
            return
        wait = self._next_at - monotonic()
        if wait > 0:
            self._later = self.set_timer(wait, self._advise_now)
        else:
            self._advise_now()

    def advise_again(self) -> None:
        """Have a run at work looked at now and then though it says nothing."""
        if self.record.live and monotonic() - self._asked_at > _STILL_SECONDS:
            self.advise()

    def _advise_now(self) -> None:
        self._later = None
        if not self.advising:
            self.advising = True
            self._find(self.record)

    @work(thread=True, group="advise", exit_on_error=False)
    def _find(self, record: Record) -> None:
        began, told = monotonic(), None
        try:
            told = advising.told(self.spectui.workspace, record)
        finally:
            self.post_message(Found(told, monotonic() - began))

    @on(Found)
    def _found(self, message: Found) -> None:
        self.advising = False
        self._next_at = monotonic() + max(_LEAST_SECONDS, _SHARE * message.seconds)
        if message.told is not None:
            self.told = message.told
        self.was_advised()

    def was_advised(self) -> None:
        """Show what was found."""

    # -- remedies tried --------------------------------------------------------------------------------

    def look_at_tried(self) -> None:
        """Find how the remedies fare, when the list of runs is another than at the last look."""
        rows, state = self.spectui.feed.rows, self.record.state
        if self._looking or (rows is self._rows and state == self._state):
            return
        self._rows, self._state = rows, state
        runs = [row for row in rows if row.parent == self.record.run_id and advising.tries(row)]
        runs += [self.record] if advising.tries(self.record) else []
        known = {one.child: one for one in self.tried}
        news = [run for run in runs if run.run_id not in known or known[run.run_id].state != run.state]
        if news or len(runs) != len(self.tried):
            self._looking = True
            self._find_tried(runs)

    @work(thread=True, group="tried", exit_on_error=False)
    def _find_tried(self, runs: Sequence[Record]) -> None:
        tried: Sequence[Tried] = self.tried
        try:
            tried = advising.tried(self.spectui.workspace, runs)
        finally:
            self.post_message(TriedFound(tried))

    @on(TriedFound)
    def _tried_found(self, message: TriedFound) -> None:
        before = {one.child: one for one in self.tried}
        self.tried, self._looking = message.tried, False
        for one in self.tried:
            known = before.get(one.child)
            if one.outcome is not None and known is not None and known.outcome is None:
                self.notify(plain(one.line()), timeout=_TOLD_SECONDS, markup=False)
        self.was_advised()
        self.look_at_tried()
