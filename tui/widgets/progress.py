"""How far something is that takes longer than a second: a bar, numbers, the time that is left.

Drawn when it is told something new, never by a clock: a screen on which nothing happens sends no bytes.
"""

from __future__ import annotations

import time

from rich.text import Text

from engine.cli.text import duration
from engine.words import say
from tui.widgets.bars import Quiet
from tui.widgets.plain import fit

_BAR = 20
_PARTS = " ▏▎▍▌▋▊▉█"
_SURE_AFTER = 1.0  # seconds of work after which a guess of the rest is worth saying


def bar(done: float, total: float, width: int) -> str:
    """Return `width` cells, filled as far as the work is."""
    eighths = round(8 * width * max(0.0, min(1.0, done / total))) if total > 0 else 0
    full, part = divmod(eighths, 8)
    return ("█" * full + (_PARTS[part] if part and full < width else "")).ljust(width, "─")[:width]


def percent(done: float, total: float) -> str:
    """Return how much of it is done; 100% only when all of it is."""
    if total <= 0:
        return "-"
    share = max(0.0, min(1.0, done / total))
    return f"{min(99, int(100 * share)) if share < 1 else 100}%"


class ProgressLine(Quiet):
    """One line about one piece of work; there only while it goes on."""

    DEFAULT_CSS = """
    ProgressLine { display: none; height: 1; padding: 0 1; color: $text-accent; }
    ProgressLine.-busy { display: block; }
    """

    _began = 0.0
    _label = ""

    def tell(self, label: str, done: float, total: float) -> None:
        """Say how far the work is; what is done goes by itself."""
        if done >= total:
            self.done()
            return
        if label != self._label:
            self._label, self._began = label, time.monotonic()
        self.set_class(True, "-busy")
        spent = time.monotonic() - self._began
        parts = [f"▕{bar(done, total, _BAR)}▏", percent(done, total)]
        if spent > _SURE_AFTER and done > 0:
            parts.append(say("progress.left", time=duration(spent * (total - done) / done)))
        rest = " ".join(parts)
        room = max(8, self.app.size.width - 3 - len(rest) - 4)
        self.say(Text(f"{fit(label, min(room, 40))} {rest}", no_wrap=True))

    def done(self) -> None:
        """Take the line away."""
        self._label = ""
        self.set_class(False, "-busy")
