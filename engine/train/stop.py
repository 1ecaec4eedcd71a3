"""The wish to stop: a flag that signals set and everything long polls. No torch.

Installed before torch is imported, because loading torch takes seconds in which a signal must not kill.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from types import FrameType
from typing import ClassVar

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


VERBS = ("train", "resume")


def note_early(argv: Sequence[str]) -> None:
    """Begin to note signals when these words train: called before anything slow is imported."""
    if any(word in VERBS for word in argv):
        Stop.early()


class Stopped(Exception):  # noqa: N818 - not an error: the user asked
    """Raised between two pieces of work when stopping was asked and there is nothing to save yet."""


class Stop:
    """Whether stopping was asked, and by what."""

    def __init__(self) -> None:
        self.asked = False
        self.by = ""

    _first: ClassVar[Stop | None] = None

    @classmethod
    def early(cls) -> Stop:
        """Return the wish of this process, noted from the first call on: before anything slow is imported."""
        if cls._first is None:
            cls._first = cls().install()
        return cls._first

    def install(self) -> Stop:
        """Take SIGTERM, SIGINT and SIGUSR1 as a wish to save and stop."""
        for number in SIGNALS:
            signal.signal(number, self._note)
        # A launcher holds them back until now: asked to stop at birth, a run ends as one that was asked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def check(self) -> None:
        """Raise `Stopped` when stopping was asked."""
        if self.asked:
            raise Stopped(self.by)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self.by = signal.Signals(number).name
