"""What a person sees of a run in the foreground: a progress bar on a terminal, plain lines elsewhere.

Progress and messages go to stderr, the test errors to stdout; in the foreground all of it is kept in the
run's log.txt too. No torch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len, set_cell_size

from engine.spectra.progress import rows_text
from engine.train.stop import Stop
from engine.words import say

_LINE_EVERY_SECONDS = 10.0


class Report:
    """Progress and messages of one engine process."""

    def __init__(self, *, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.heard = True
        self._log: TextIO | None = None
        self._early: list[str] = []
        self._bar: Any = None
        self._said_at = 0.0
        self._what = ""
        self._since = self._rows_said_at = 0.0

    @classmethod
    def silent(cls) -> Report:
        """Return a report that nobody sees: another rank's than the first."""
        report = cls()
        report.heard = report.terminal = False
        return report

    def keep_in(self, log: Path) -> None:
        """Also write every line to `log` from now on, and what was said before.

        Not where the lines go there anyway: a detached engine's stderr is the log.
        """
        with contextlib.suppress(OSError):  # no log yet, or a stream that is no file
            if os.path.samestat(os.fstat(self.stream.fileno()), log.stat()):
                return
        self._log = log.open("a", encoding="utf-8")
        for text in self._early:
            self._keep(text)

    def line(self, text: str) -> None:
        """Say one line."""
        self.rows_done()
        if self.heard:
            self._say(text, self.stream)

    def aside(self, text: str) -> None:
        """Write to the log alone what only somebody who looks for the cause wants to read."""
        if self._log is not None:
            with contextlib.suppress(OSError):
                print(text, file=self._log, flush=True)

    def fact(self, text: str) -> None:
        """Say one line of what came out: stdout, so that a script can keep it apart from the progress."""
        if self.heard:
            self._say(text, sys.stdout)

    def _say(self, text: str, stream: TextIO) -> None:
        try:
            if self._bar is not None:
                self._bar.write(text, file=stream)
            else:
                print(text, file=stream, flush=True)
        except OSError:
            # Nobody reads any more (`spectui train … | head`): the run goes on, the log keeps the words.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if self._log is not None:
            self._keep(text)
        else:
            self._early.append(text)

    def _keep(self, text: str) -> None:
        try:
            print(text, file=self._log, flush=True)
        except OSError:
            pass  # a full disk: the words are on the screen, and the end has its own room

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        """Say how far reading a table is: rewritten in place on a terminal, a line now and then elsewhere."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._since, self._rows_said_at = what, now, now
        text = rows_text(what, done, total, now - self._since)
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r\x1b[K{set_cell_size(text, min(width, cell_len(text)))}")
            self.stream.flush()
        elif done and now - self._rows_said_at > _LINE_EVERY_SECONDS:
            self._rows_said_at = now
            self.line(text)

    def rows_done(self) -> None:
        """Clear the row counter."""
        if self.terminal and self._what:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
        self._what = ""

    def begin(self, total: int, done: int) -> None:
        """Start the progress of `total` steps."""
        if self.terminal:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, file=self.stream, unit="step", dynamic_ncols=True, smoothing=0.05
            )

    def step(self, step: int, total: int, loss: float, rate: float, seconds_left: float | None) -> None:
        """Show that `step` of `total` is done."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4g} lr {rate:.3g}", refresh=False)
            self._bar.update(step - self._bar.n)
        elif time.monotonic() - self._said_at > _LINE_EVERY_SECONDS:
            if self._said_at:
                left = "?" if seconds_left is None else f"{seconds_left:.0f}"
                self.line(say("train.step_line", step=step, total=total, loss=f"{loss:.4g}", seconds=left))
            self._said_at = time.monotonic()

    def close(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Polled:
    """The progress of reading, which ends it when stopping was asked."""

    def __init__(self, report: Report, stop: Stop) -> None:
        self.report = report
        self.stop = stop

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        """Show how far reading is.

        Raises:
            Stopped: stopping was asked.
        """
        self.stop.check()
        self.report.rows(what, done, total)

    def line(self, text: str) -> None:
        """Say one line."""
        self.report.line(text)
