"""The wish to stop: a flag that signals set and everything long polls. No torch.

Installed before torch is imported, because loading torch takes seconds in which a signal must not kill.
"""

from __future__ import annotations

import signal
from types import FrameType


class Stopped(Exception):  # noqa: N818 - not an error: the user asked
    """Raised between two pieces of work when stopping was asked and there is nothing to save yet."""


class Stop:
    """Whether stopping was asked, and by what."""

    def __init__(self) -> None:
        self.asked = False
        self.by = ""

    def install(self) -> Stop:
        """Take SIGTERM, SIGINT and SIGUSR1 as a wish to save and stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._note)
        return self

    def check(self) -> None:
        """Raise `Stopped` when stopping was asked."""
        if self.asked:
            raise Stopped(self.by)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self.by = signal.Signals(number).name
