"""A reader that counts cells and lines while pandas reads through it.

pandas fills short rows with NaN and drops the ends of long ones without a word. This reader sees every
byte on its way and so knows which line is ragged, which is torn, and where each row stands in the file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

import numpy as np

from engine.spectra.headers import DAMAGED

PIECE = 1 << 18  # bytes: what pandas asks for


class LineWatch:
    """Pass bytes on and remember, per line, how many commas it has and whether it has quotes.

    It is no `io` class on purpose: pandas takes the bytes of such an object as they are, where it would
    decode and encode again those of a binary file.
    """

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.failure: Exception | None = None
        self.torn = False  # the last line has no end
        self.ended_lines = 0  # how many have been seen to their end
        self._ahead = b""  # read and counted, not yet passed on
        self._commas: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        self._quoted: list[np.ndarray] = []
        self._carry = (0, 0, 0)  # commas, bytes and quotes of the line that is still open
        self._ended = False

    def __enter__(self) -> LineWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the rest piece by piece; pandas asks for it to believe that this is a file."""
        return iter(self.read, b"")

    def read(self, size: int = PIECE) -> bytes:
        """Return at most `size` bytes, empty at the end of the file.

        Raises:
            OSError, EOFError, zlib.error: the file cannot be read; `failure` keeps the error, because pandas
                turns it into one of its own.
        """
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        try:
            data = self.source.read(size)
        except (*DAMAGED, OSError) as error:
            self.failure = error
            raise
        if data:
            self._count(data)
        elif not self._ended:
            self._ended = True
            if self._carry[1]:
                self.torn = True
                commas, length, quotes = self._carry
                self._keep(np.array([commas]), np.array([length]), np.array([quotes]))
        return data

    def pass_header(self) -> None:
        """Read past the first line that holds something, and the empty ones before it."""
        line = b""
        while piece := self.read():
            line += piece
            while (end := line.find(b"\n")) >= 0:
                if line[:end].strip():
                    self._ahead = line[end + 1 :]
                    return
                line = line[end + 1 :]

    def packed_position(self) -> int:
        """Return how many bytes of the file itself have been read: packed ones, where it is packed."""
        file = getattr(self.source, "fileobj", None) or self.source
        return int(file.tell())

    def _count(self, data: bytes) -> None:
        raw = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(raw == ord("\n"))
        is_comma = raw == ord(",")
        has_quotes = b'"' in data
        commas = _per_line(is_comma, ends)
        lengths = np.diff(ends - np.arange(len(ends)), prepend=0, append=len(raw) - len(ends))
        quotes = _per_line(raw == ord('"'), ends) if has_quotes else np.zeros(len(ends) + 1, np.int64)
        for counts, carried in zip((commas, lengths, quotes), self._carry, strict=True):
            counts[0] += carried
        self._keep(commas[:-1], lengths[:-1], quotes[:-1])
        self._carry = (int(commas[-1]), int(lengths[-1]), int(quotes[-1]))

    def _keep(self, commas: np.ndarray, lengths: np.ndarray, quotes: np.ndarray) -> None:
        if not len(commas):
            return
        self.ended_lines += len(commas)
        self._commas.append(commas.astype(np.int32))
        self._lengths.append(lengths.astype(np.int64))
        self._quoted.append(quotes > 0)

    def _filled(self) -> np.ndarray:
        """Return the 0-based numbers of the lines that hold something, the header's first."""
        if not self._lengths:
            return np.zeros(0, np.int64)
        return np.flatnonzero((np.concatenate(self._lengths) > 1) | (np.concatenate(self._commas) > 0))

    def row_lines(self) -> np.ndarray:
        """Return the 1-based line number in the file of every data row seen so far."""
        return self._filled()[1:] + 1

    def ragged(self, cells: int) -> tuple[int, int, bool] | None:
        """Return the first row that has not `cells` cells, or None.

        It is told as (line, its cells, whether the file ends inside it). Lines with quotes are left out:
        a comma between quotes is no separator.
        """
        rows = self._filled()[1:]
        if not len(rows):
            return None
        counts = np.concatenate(self._commas)[rows] + 1
        wrong = np.flatnonzero((counts != cells) & ~np.concatenate(self._quoted)[rows])
        if not len(wrong):
            return None
        first = int(wrong[0])
        is_last = first == len(rows) - 1
        return int(rows[first]) + 1, int(counts[first]), is_last and self.torn and int(counts[first]) < cells


def _per_line(marked: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return how many bytes are marked in each line of a piece; the last, open line is counted too."""
    if len(ends) * 512 > len(marked):  # short lines: one search for all
        at = np.flatnonzero(marked)
        return np.diff(np.searchsorted(at, ends), prepend=0, append=len(at))
    edges = [0, *ends.tolist(), len(marked)]  # wide lines: counting is ten times cheaper than finding
    counts = [np.count_nonzero(marked[a:b]) for a, b in itertools.pairwise(edges)]
    return np.array(counts, np.int64)
