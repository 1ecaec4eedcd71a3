"""A log file as numbered lines, however long: what is read is what is looked at.

The number of line ends before every block of the file is all that is kept, some kilobytes for a gigabyte.
Of a long file the end is there at once, and the rest as soon as `count_from_start` has counted it, in a
thread.
Owns no widget; never writes.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from tui.widgets.plain import plain

_BLOCK = 1 << 16
_CHUNK = 16  # blocks that are searched in one go
_AT_ONCE = 8 << 20  # bytes that are counted without a thread
_TAIL = 1 << 18  # what is there at once of a longer file
_LONGEST = 1 << 16  # bytes of one line that are shown
_KEPT = 4000  # lines that are kept in memory

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f]"
)
# Words of a level where they are one: 'test errors' and 'each error in units of' are no errors.
_ERROR = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|FAILED)\b|(?i:\berrors?:|\bfail(?:ed|ure)\b|\btraceback \(|\bdiverged\b"
    r"|\b(?:became|is|loss|=) ?(?:nan|-?inf)\b)|\w(?:Error|Exception)\b|错误：|失败|发散|变为 ?(?:nan|inf)"
)
_WARNING = re.compile(r"(?i:\bwarn(?:ing)?s?\b)|\wWarning\b|警告|注意：")
# Whatever has a level has one of these; looking for them is ten times as fast.
_HINTS = (
    "error", "fail", "fatal", "critical", "exception", "traceback", "diverged", "nan", "inf", "warn", "错误",
    "失败", "发散", "警告", "注意",
)  # fmt: skip
_STEP = re.compile(r"\bstep[ =:]+(\d+)|第 ?(\d+)(?:/\d+)? ?步", re.IGNORECASE)
_EPOCH = re.compile(r"\bepoch[ =:]+(\d+)|第 ?(\d+)(?:/\d+)? ?轮", re.IGNORECASE)


def clean(text: str) -> str:
    """Return text without escape sequences; of a line rewritten by carriage returns the last state stays."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text  # nearly all of a log: a hundred times as fast
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return plain("\n".join(_CONTROL.sub("", line) for line in lines))


def level(text: str) -> str:
    """Return 'error', 'warning' or '' by the words of a line."""
    if not may_have_level(text):
        return ""
    if _ERROR.search(text):
        return "error"
    return "warning" if _WARNING.search(text) else ""


def may_have_level(text: str) -> bool:
    """Tell whether a text, of one line or of thousands, may have a line with a level."""
    small = text.lower()
    return any(hint in small for hint in _HINTS)


def step_of(text: str, steps_per_epoch: int) -> int | None:
    """Return the global step that a line tells: its own, or that at which its epoch ended."""
    found = _STEP.search(text)
    if found:
        return int(found[1] or found[2])
    found = _EPOCH.search(text)
    return int(found[1] or found[2]) * steps_per_epoch if found and steps_per_epoch else None


class Lines:
    """The lines of a file from a byte on, as far as they were counted."""

    def __init__(self, path: Path, base: int = 0) -> None:
        self.path, self.base, self.size = path, base, base
        self.ends = 0
        """Line ends counted so far: as many whole lines."""
        self._before = array("Q", [0])
        self._block: tuple[int, int, bytes] = (-1, 0, b"")

    def read_on(self, limit: int, wanted: Callable[[], bool] = lambda: True) -> int:
        """Count at most `limit` bytes more while they are `wanted`; return how many lines came."""
        had = self.ends
        stop = self.size + limit
        with self.path.open("rb") as file:
            file.seek(self.size)
            while self.size < stop and wanted():
                room = _BLOCK - (self.size - self.base) % _BLOCK
                data = file.read(min(room, stop - self.size))
                if not data:
                    break
                self.size += len(data)
                self.ends += data.count(b"\n")
                if (self.size - self.base) % _BLOCK == 0:
                    self._before.append(self.ends)
        return self.ends - had

    def start(self, number: int) -> int:
        """Return the byte at which a line begins."""
        return self.base if number <= 0 else self._end(number) + 1

    def raw(self, number: int) -> bytes:
        """Return one line; of a line that was rewritten over and over only its end."""
        start = self.start(number)
        end = self._end(number + 1) if number < self.ends else self.size
        with self.path.open("rb") as file:
            if end - start > _LONGEST:
                file.seek(end - _LONGEST)
                data = file.read(_LONGEST)
                if b"\r" in data.rstrip(b"\r"):
                    return data
            file.seek(start)
            return file.read(min(end - start, _LONGEST))

    def chunks(
        self, first: int, last: int, by: int = 1, may: Callable[[str], bool] = lambda text: True
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield (number, texts) of runs of lines between two numbers, from the end when `by` is -1.

        The texts of a run in which nothing `may` be found, asked of all its lines at once, are left out.
        """
        edges = [first]
        for place in range(_CHUNK, len(self._before), _CHUNK):
            edge = self._before[place] + 1
            if first < edge < last:
                edges.append(edge)
        edges.append(last)
        pairs = list(pairwise(edges))
        for low, high in pairs if by > 0 else reversed(pairs):
            if high > low:
                yield low, self._texts(low, high, may)

    def _texts(self, first: int, last: int, may: Callable[[str], bool]) -> list[str]:
        start, stop = self.start(first), self.start(last) if last <= self.ends else self.size
        if stop - start > _CHUNK * _BLOCK + (last - first) * 4096:
            # a line of megabytes is among them
            return [clean(self.raw(number).decode("utf-8", "replace")) for number in range(first, last)]
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(stop - start)
        text = clean(data.removesuffix(b"\n").decode("utf-8", "replace"))
        return text.split("\n")[: last - first] if may(text) else []

    def _end(self, count: int) -> int:
        """Return where the line end is that is the `count`-th."""
        block = bisect_left(self._before, count) - 1
        at = self.base + block * _BLOCK
        known, length, data = self._block
        wanted = min(_BLOCK, self.size - at)
        if known != block or length != wanted:
            with self.path.open("rb") as file:
                file.seek(at)
                data = file.read(wanted)
            self._block = (block, wanted, data)
        place = -1
        for _ in range(count - self._before[block]):
            place = data.index(b"\n", place + 1)
        return at + place


class LogFile:
    """The lines of a log that grows; one that became shorter is another file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = Lines(path)
        self.there = False
        self.whole = True
        """Whether the lines are counted from the beginning of the file."""
        self._inode = 0
        self._texts: dict[int, str] = {}
        self._partial = False

    def catch_up(self) -> bool:
        """Count what is new, not more at a time than takes a moment; tell whether anything changed."""
        try:
            stat = self.path.stat()
        except OSError:
            changed, self.there = self.there, False
            return changed
        if not self.there or stat.st_ino != self._inode or stat.st_size < self.lines.size:
            self.there, self._inode = True, stat.st_ino
            self._begin(stat.st_size)
        elif stat.st_size == self.lines.size:
            return False
        had = self.count
        try:
            self.lines.read_on(_AT_ONCE)
            self._partial = self._rewritten()
        except OSError:
            self.there = False
            return True
        for number in range(had - 1, self.count):
            self._texts.pop(number, None)
        return True

    def _begin(self, size: int) -> None:
        self._texts = {}
        self.whole = size <= _AT_ONCE
        base = 0
        if not self.whole:
            with self.path.open("rb") as file:
                file.seek(size - _TAIL)
                base = size - _TAIL + len(file.readline(_TAIL))
        self.lines = Lines(self.path, base)

    def _rewritten(self) -> bool:
        """Tell whether the file ends in a line without an end that is a progress bar's."""
        start = self.lines.start(self.lines.ends)
        return start < self.lines.size and b"\r" in self.lines.raw(self.lines.ends)

    @property
    def count(self) -> int:
        """Return how many lines can be shown: the whole ones, and a progress bar at the end."""
        return self.lines.ends + self._partial if self.there else 0

    @property
    def share(self) -> float:
        """Return which part of the file is counted."""
        return 1.0 if self.whole or not self.lines.size else 1 - self.lines.base / self.lines.size

    def text(self, number: int) -> str:
        """Return one line as a person would have seen it."""
        known = self._texts.get(number)
        if known is None:
            try:
                known = clean(self.lines.raw(number).decode("utf-8", "replace"))
            except (OSError, ValueError):
                known = ""
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            self._texts[number] = known
        return known

    def adopt(self, counted: Lines) -> int:
        """Take lines counted from the start of the file; return by how much the numbers grew."""
        tail = self.lines
        if self.whole or counted.path != self.path:
            return 0
        # Both to the same byte: the difference is what stands before the tail.
        counted.read_on(max(0, tail.size - counted.size))
        tail.read_on(max(0, counted.size - tail.size))
        moved = counted.ends - tail.ends
        self.lines, self.whole, self._texts = counted, True, {}
        return moved


def count_from_start(
    path: Path, wanted: Callable[[], bool], tell: Callable[[int, int], None] = lambda done, of: None
) -> Lines | None:
    """Count the lines of a whole file, for a thread; None when it is not wanted any more."""
    lines = Lines(path)
    try:
        size = path.stat().st_size
        while wanted() and lines.size < size:
            lines.read_on(64 << 20, wanted)
            tell(lines.size, size)
            size = path.stat().st_size
    except OSError:
        return None
    return lines if wanted() else None
