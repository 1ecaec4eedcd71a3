"""Keeps the run list arranged: at once where that is quick, else off the UI thread, the latest wish only.

Plain object: it owns no widget, and is told how to start a thread and whom to give what is ready.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.runs.arrange import Arranged, Order, arrange, reads_confs
from engine.runs.record import Record

# So many rows are arranged in less time than it takes to draw one.
_AT_ONCE = 200
# Of one core: what arranging again may take while runs change; what a person asks for is done at once.
_SHARE = 0.1


class Arranger:
    """Arranges `rows` by `order`, one at a time."""

    def __init__(self, start: Callable[[Callable[[], None]], None], give: Callable[[Arranged], None]) -> None:
        self._start, self._give = start, give
        self._wanted: tuple[list[Record], Order] | None = None
        self._order: Order | None = None
        """What the last rows were arranged by."""
        self._good = ""
        """The last filter that found something: its rows stay while one is typed that makes no sense yet."""
        self._rest_until = 0.0
        self.busy = False
        self.began = 0.0

    def want(self, rows: list[Record], order: Order) -> Arranged | None:
        """Return the list if that is quick; else None, and it is given when it is ready."""
        quick = len(rows) <= _AT_ONCE and not self.busy
        if quick and reads_confs(order):
            quick = all(row.stored is not None or row.conf_known for row in rows)
        if quick:
            self._wanted = None
            return self._arranged(rows, order)
        self._wanted = rows, order
        self.go_on()
        return None

    def go_on(self) -> float:
        """Start on what is wanted; return in how many seconds to come again, 0 for never."""
        if self.busy or self._wanted is None:
            return 0.0
        wait = self._rest_until - time.monotonic()
        if wait > 0 and self._wanted[1] == self._order:
            return wait
        rows, order = self._wanted
        self._wanted, self.busy, self.began = None, True, time.monotonic()

        def work() -> None:
            began = time.thread_time()
            arranged = self._arranged(rows, order)
            self._rest_until = time.monotonic() + (time.thread_time() - began) / _SHARE
            self._give(arranged)

        self._start(work)
        return 0.0

    def _arranged(self, rows: list[Record], order: Order) -> Arranged:
        arranged = arrange(rows, order, self._good)
        if not arranged.problem and arranged.matched:
            self._good = order.filter
        self._order = order
        return arranged
