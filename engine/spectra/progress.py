"""How reading and converting tell what they do, and how they are asked to stop."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Somebody who shows progress; `rows` may raise to stop the work, which then leaves nothing behind.

    `engine.train.report.Report` is one.
    """

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        """Say that `done` rows of about `total` are done; called after each chunk, and while waiting."""

    def line(self, text: str) -> None:
        """Say one line that stays."""


class Silent:
    """Progress that nobody looks at."""

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        """Show nothing."""

    def line(self, text: str) -> None:
        """Say nothing."""
