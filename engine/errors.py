"""The one error that means "what you gave cannot be used": shown as plain lines, exit code 2."""

from __future__ import annotations

from collections.abc import Sequence


class BadInput(Exception):  # noqa: N818 - a name from the user's side: it is the input that is bad
    """Something the user gave cannot be used; `lines` say where, what is wrong and what to do.

    Raised before anything is written. The command line prints the lines on stderr and exits with 2;
    the app shows them in place. Never raise it for a fault of our own.
    """

    def __init__(self, lines: str | Sequence[str]) -> None:
        self.lines: list[str] = [lines] if isinstance(lines, str) else list(lines)
        super().__init__("\n".join(self.lines))
