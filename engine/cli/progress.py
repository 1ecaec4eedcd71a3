"""Progress of reading on a terminal: one line on stderr that is wiped away; nothing where nobody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.cells import set_cell_size

from engine.spectra.progress import rows_text

_SECONDS = 0.2


@contextmanager
def on_stderr() -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield a function that shows (what, rows done, rows in all), or None when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    last = since = 0.0
    shown = ""

    def tell(what: str, done: int, total: int | None) -> None:
        nonlocal last, since, shown
        now = time.monotonic()
        if what != shown:
            shown, since = what, now
        if now - last < _SECONDS:
            return
        last = now
        text = rows_text(what, done, total, now - since)
        print(f"\r\x1b[K{set_cell_size(text, 78).rstrip()}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
