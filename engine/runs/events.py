"""The event log of a run: one JSON object a line, appended in one write, read incrementally.

Numbers that JSON cannot say are written as the words "nan", "inf" and "-inf", so any JSON reader can read
the log. A torn last line (power cut, kill) is ended before the next append and skipped by readers.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a full disk or a full quota says."""
_RESERVE_BYTES = 1 << 16
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def number(value: Any) -> Any:
    """Turn a word of the log ("nan", "inf", "-inf") back into a float; leave the rest as it is."""
    return _WORDS.get(value, value) if isinstance(value, str) else value


class EventLog:
    """The appending side; one process a run.

    A little room is kept aside on the disk: when it is full, the end of the run can still be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reserve = path.with_name(".room-for-the-end")
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._end_torn_line()
        try:
            self._reserve.write_bytes(bytes(_RESERVE_BYTES))
        except OSError as error:
            if error.errno not in FULL:
                raise

    def append(self, kind: str, **fields: Any) -> None:
        """Append one event with the time of writing, in a single write.

        Raises:
            OSError: the disk is full (the event may be there all the same: room was kept for it).
        """
        event = {"kind": kind, "time": round(time.time(), 3), **fields}
        line = json.dumps(writable(event), ensure_ascii=False, separators=(",", ":")) + "\n"
        # Half a surrogate (a file name that is not UTF-8) becomes \udcxx, which JSON reads as that again.
        data = line.encode("utf-8", "backslashreplace")
        full: OSError | None = None
        while data:
            try:
                data = data[os.write(self._handle, data) :]
            except OSError as error:
                if error.errno not in FULL or full is not None:
                    raise
                full = error
                self._reserve.unlink(missing_ok=True)
        if full is not None and kind != "end":
            raise full

    def flush_to_disk(self) -> None:
        """Make what was appended survive a power cut (used at ends and checkpoints, not per line)."""
        os.fsync(self._handle)

    def close(self) -> None:
        self._reserve.unlink(missing_ok=True)
        os.close(self._handle)

    def _end_torn_line(self) -> None:
        size = os.fstat(self._handle).st_size
        if size:
            with self.path.open("rb") as file:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    os.write(self._handle, b"\n")


class Unheard(EventLog):
    """The log of a process that does not write: another rank than the first."""

    def __init__(self) -> None:
        self.path = Path(os.devnull)

    def append(self, kind: str, **fields: Any) -> None:
        """Say nothing."""

    def flush_to_disk(self) -> None:
        """Have nothing to flush."""

    def close(self) -> None:
        """Have nothing to close."""


class Tail:
    """The reading side: returns what was appended since the last call."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def poll(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the new whole events, oldest first; at most about `limit` bytes of them.

        A file that became shorter is another file: it is read from its beginning.
        """
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self.offset:
                    self.offset = 0
                if size == self.offset:
                    return []
                file.seek(self.offset)
                data = file.read() if limit is None else file.read(limit) + file.readline()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        self.offset += whole
        try:
            lines: list[str] = data[:whole].decode("utf-8").split("\n")
        except UnicodeDecodeError:  # a line torn within a letter: no JSON, whatever stands for that
            lines = data[:whole].decode("utf-8", "replace").split("\n")
        return [event for line in lines if line and (event := _parse(line)) is not None]


_decode = json.JSONDecoder().decode  # without what `json.loads` asks each time


def _parse(line: str) -> dict[str, Any] | None:
    """Return one event, or None for a line that was torn by a crash."""
    try:
        event = _decode(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "kind" in event else None


def writable(value: Any) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {key: writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [writable(item) for item in value]
    return value
