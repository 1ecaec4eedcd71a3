"""Progress of reading on a terminal: one line on stderr that is wiped away; nothing where nobody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.words import say

_SECONDS = 0.2


@contextmanager
def on_stderr() -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield a function that shows (what, rows done, rows in all), or None when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    last = 0.0

    def tell(what: str, done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SECONDS:
            return
        last = now
        text = say("datasets.busy_of" if total else "datasets.busy", what=what, done=done, total=total)
        print(f"\r\x1b[K{text[:78]}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
