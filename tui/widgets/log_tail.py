"""The end of a run's log: what is new is appended in batches, control sequences are taken out."""

from __future__ import annotations

import os
import re
from pathlib import Path

from textual.widgets import Log

from tui.widgets.plain import plain

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f]"
)
_MOST_BYTES = 200_000
_MOST_LINES = 10_000


def clean(text: str) -> str:
    """Return text without escape sequences; of a line rewritten by carriage returns the last state stays."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return plain("\n".join(_CONTROL.sub("", line) for line in lines))


class LogTail(Log):
    """A log file that grows; `catch_up` appends what came since."""

    def __init__(self, path: Path, *, id: str | None = None) -> None:
        super().__init__(max_lines=_MOST_LINES, id=id)
        self.path = path
        self._offset: int | None = None

    def catch_up(self) -> bool:
        """Append the new whole lines; a long file starts near its end. Tell whether anything was new."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if self._offset is None:
                    self._offset = max(0, size - _MOST_BYTES)
                    if self._offset:
                        file.seek(self._offset)
                        self._offset += len(file.readline())
                if size <= self._offset:
                    return False
                file.seek(self._offset)
                data = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return False
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        if whole:
            self.write(clean(whole.decode("utf-8", "replace")))
        return bool(whole)
