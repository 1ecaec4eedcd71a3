"""How reading and converting tell what they do, and how they are asked to stop."""

from __future__ import annotations

from typing import Protocol

from engine.words import say


class Progress(Protocol):
    """Somebody who shows progress; `rows` may raise to stop the work, which then leaves nothing behind.

    `engine.train.report.Report` is one.
    """

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        """Say that `done` rows of about `total` are done; called after each chunk, and while waiting."""

    def line(self, text: str) -> None:
        """Say one line that stays."""


def rows_text(what: str, done: int, total: int | None, seconds: float) -> str:
    """Return how far reading is after so many seconds: rows, rows a second, seconds left if known."""
    if not done or seconds <= 0:
        return what
    rate = done / seconds
    if total is None:
        return say("spectra.rows_line", what=what, done=done, rate=f"{rate:.0f}")
    left = max(0, total - done) / rate
    return say(
        "spectra.rows_of_line", what=what, done=done, total=total, rate=f"{rate:.0f}", left=f"{left:.0f}"
    )


class Silent:
    """Progress that nobody looks at."""

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        """Show nothing."""

    def line(self, text: str) -> None:
        """Say nothing."""
