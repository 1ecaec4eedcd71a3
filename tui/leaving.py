"""Leaving in time: quitting never waits longer than a few seconds for a slow disk or a busy thread.

The app leaves by the front door; this is for the day when something behind it does not end. It writes down
where every thread was, gives the terminal back and ends the process. Runs are processes of their own.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import termios
import threading
import time
from pathlib import Path
from typing import Any

from engine.words import say

PATIENCE_SECONDS = 8.0
# Paste, focus, mouse and kitty modes off, wrapping on, the normal screen, the cursor.
_RESTORE = (
    "\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?7h"
    "\x1b[<u\x1b[?1049l\x1b[?25h"
)


class Leaving:
    """Guards the end of the app in this terminal; made before the app changes the terminal."""

    def __init__(self, report: Path, patience: float = PATIENCE_SECONDS) -> None:
        self.report = report
        self.patience = patience
        self.given_back = False
        """Whether the app has given the terminal back."""
        self._before = _modes()
        self._asked = False

    def asked(self) -> None:
        """Note that the app was asked to end: from now on it has `patience` seconds."""
        if not self._asked:
            self._asked = True
            threading.Thread(target=self._insist, name="leaving", daemon=True).start()

    def _insist(self) -> None:
        time.sleep(self.patience)
        try:
            self.report.parent.mkdir(parents=True, exist_ok=True)
            with self.report.open("w", encoding="utf-8") as file:
                faulthandler.dump_traceback(file, all_threads=True)
            where = str(self.report)
        except OSError as error:
            where = str(error)
        with contextlib.suppress(OSError, termios.error):  # the terminal itself may be gone
            if not self.given_back:
                os.write(2, _RESTORE.encode())
                if self._before is not None:
                    termios.tcsetattr(0, termios.TCSANOW, self._before)
            os.write(2, (say("app.left_late", seconds=f"{self.patience:g}", where=where) + "\n").encode())
        os._exit(0)


def _modes() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None
