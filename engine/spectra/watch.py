"""A byte stream that counts cells and lines while pandas reads through it.

pandas fills short rows with NaN and drops the ends of long ones without a word. This reader sees every
byte on its way and so knows which line is ragged, which is torn, and where each row stands in the file.
"""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np

from engine.spectra.layout import DAMAGED


class LineWatch(io.RawIOBase):
    """Pass bytes on and remember, per line, how many commas it has and whether it has quotes."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.failure: Exception | None = None
        self.torn = False  # the last line has no end
        self._commas: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        self._quoted: list[np.ndarray] = []
        self._carry = (0, 0, 0)  # commas, bytes and quotes of the line that is still open
        self._ended = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.source.close()
        super().close()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self.source.read(len(buffer))
        except (*DAMAGED, OSError) as error:
            # pandas turns this into an error of its own; the reader wants to know the true one
            self.failure = error
            raise
        if data:
            self._count(data)
            buffer[: len(data)] = data
        elif not self._ended:
            self._ended = True
            if self._carry[1]:
                self.torn = True
                commas, length, quotes = self._carry
                self._keep(np.array([commas]), np.array([length]), np.array([quotes]))
        return len(data)

    def _count(self, data: bytes) -> None:
        raw = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(raw == ord("\n"))
        commas = np.flatnonzero(raw == ord(","))
        quotes = np.flatnonzero(raw == ord('"')) if b'"' in data else ends[:0]
        if not len(ends):
            more = (len(commas), len(raw), len(quotes))
            self._carry = (self._carry[0] + more[0], self._carry[1] + more[1], self._carry[2] + more[2])
            return
        columns: list[tuple[np.ndarray, int]] = []
        for before, total in (
            (np.searchsorted(commas, ends), len(commas)),
            (ends - np.arange(len(ends)), len(raw) - len(ends)),
            (np.searchsorted(quotes, ends), len(quotes)),
        ):
            carried = self._carry[len(columns)]
            per_line = np.diff(before, prepend=0)
            per_line[0] += carried
            columns.append((per_line, int(total - before[-1])))
        self._keep(columns[0][0], columns[1][0], columns[2][0])
        self._carry = (columns[0][1], columns[1][1], columns[2][1])

    def _keep(self, commas: np.ndarray, lengths: np.ndarray, quotes: np.ndarray) -> None:
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
