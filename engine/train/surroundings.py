"""What happens around a run while it trains: a disk that fills up, a clock that jumps. Never ends it."""

from __future__ import annotations

import shutil
import time

from engine.runs.events import EventLog

_EVERY_SECONDS = 20.0
_LITTLE_MB = 2000.0
_JUMP_SECONDS = 5.0


class Surroundings:
    """Looks at disk and clock now and then, and records what is out of order.

    The clock of the day is held against one that only runs: what lies between is a jump, or a sleep.
    """

    def __init__(self, events: EventLog) -> None:
        self.events = events
        self._looked_at = -_EVERY_SECONDS
        self._offset = time.time() - time.monotonic()

    def look(self, step: int) -> None:
        """Record a jump of the clock since the last look and, now and then, that the disk is nearly full."""
        offset = time.time() - time.monotonic()
        jump, self._offset = offset - self._offset, offset
        if abs(jump) > _JUMP_SECONDS:
            self.events.append("clock", step=step, seconds=round(jump, 1))
        if time.monotonic() - self._looked_at < _EVERY_SECONDS:
            return
        self._looked_at = time.monotonic()
        try:
            usage = shutil.disk_usage(self.events.path.parent)
        except OSError:
            return
        if usage.free / 1e6 < _LITTLE_MB:
            self.events.append("disk", step=step, free_mb=round(usage.free / 1e6, 1))
