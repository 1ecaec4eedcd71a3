"""When a run ends or goes wrong: the terminal's bell, a desktop message (OSC 9) and the terminal's title.

Owns what was said and builds the bytes; what a run is called never reaches the terminal with control
characters. Inside tmux the title is the pane's and the message is wrapped so that tmux hands it on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from rich.cells import set_cell_size

from engine.runs.record import Record
from engine.words import say
from tui.config import Config
from tui.theme import BAD, state_words
from tui.widgets.plain import plain

BELL = "\x07"
PUSH_TITLE, POP_TITLE = "\x1b[22;0t", "\x1b[23;0t"
# These write what they do not know on the screen.
_NO_TITLE = ("linux", "vt100", "vt220")
_MOST_CELLS = 120
_MOST_MESSAGES = 5


class Alerts:
    """Says once what happened, by writing to the terminal."""

    def __init__(self, config: Config, write: Callable[[str], None]) -> None:
        self.config = config
        self._write = write
        self._title = ""
        self._bad: dict[str, int] = {}

    def ended(self, runs: Iterable[Record]) -> list[str]:
        """Ring and send a message for runs that were live and are not; return what was said of each."""
        told = []
        for run in runs:
            if run.state in BAD:
                self._bad[run.state] = self._bad.get(run.state, 0) + 1
            told.append(line(f"{state_words(run.state)}  {run.run_id}"))
        if told and self.config.bell:
            self._write(BELL)
        if told and self.config.notify:
            more = len(told) - _MOST_MESSAGES
            shown = told[:_MOST_MESSAGES] + ([say("run_acts.more", count=more)] if more > 0 else [])
            self._write("".join(message(f"spectui: {one}") for one in shown))
        return told

    def tell_title(self, live: int) -> None:
        """Set the title when it says something new; the one before comes back by `give_back`."""
        if not self.config.title or os.environ.get("TERM", "") in _NO_TITLE:
            return
        parts = [say("app.live", count=live)] if live else []
        parts += [f"{count} {say(f'state.{state}')}" for state, count in self._bad.items()]
        title = line(f"spectui: {', '.join(parts)}" if parts else "spectui")
        if title != self._title:
            first = "" if self._title else PUSH_TITLE
            self._title = title
            self._write(f"{first}\x1b]0;{title}{BELL}")

    def give_back(self) -> None:
        """Put the title back that was there before."""
        if self._title:
            self._title = ""
            self._write(POP_TITLE)


def message(text: str) -> str:
    """Return the bytes of a desktop message."""
    sequence = f"\x1b]9;{line(text)}{BELL}"
    if "TMUX" in os.environ:
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence


def line(text: str) -> str:
    """Return text as one short line without any control character."""
    text = plain(text).replace("\n", " ").replace("\t", " ")
    return set_cell_size(text, _MOST_CELLS).rstrip()
