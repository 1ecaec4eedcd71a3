"""Rows of a .npy file, read by position: what is not asked for is never in memory.

A memory map would do the same with page faults: pages then count as this process's memory, and each fault
reads a little. Owns reading of plain float32 .npy files in C order; never writes.
"""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BadInput
from engine.words import say

GAP = 1 << 17  # bytes that are cheaper to read and throw away than to skip with another read
_ROWS = 256  # rows in one read: a buffer each and one for each gap, of the 1,024 that preadv takes
_AHEAD = 8  # stretches that the disk is told of in advance


class FluxFile:
    """A .npy file [N, L] of float32 whose rows are read when asked for.

    It has what readers of an array use (`shape`, `dtype`, `len`, rows by slice or by row numbers), so that
    statistics can be taken from it block by block.

    Raises:
        BadInput: missing, no .npy file, of another kind than float32 [N, L] in C order, or shorter than it
            says.
    """

    dtype = np.dtype("<f4")

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
                read = read or np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(file)
                self._start = file.tell()
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise BadInput(say("data.unreadable", file=path, why=error.strerror or error)) from error
        except ValueError as error:
            raise BadInput(say("feed.no_npy", file=path, why=error)) from error
        if dtype != self.dtype or fortran or len(shape) != 2:
            kind = f"{dtype} {list(shape)}{' Fortran' if fortran else ''}"
            raise BadInput(say("feed.other_npy", file=path, kind=kind))
        self.shape = (int(shape[0]), int(shape[1]))
        self._row_bytes = 4 * self.shape[1]
        if size < self._start + self.nbytes:
            raise BadInput(say("feed.short_npy", file=path, size=size, wanted=self._start + self.nbytes))
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._close = weakref.finalize(self, os.close, self._handle)
        if hasattr(os, "posix_fadvise"):
            # Read-ahead past a block would be thrown away.
            os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_RANDOM)
        self._gap = max(1, GAP // max(1, self._row_bytes))
        # One buffer that takes all gaps: gone with the file, written by one thread or another, never read.
        self._rubbish = np.empty((self._gap, self.shape[1]), np.float32)

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self._row_bytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return the rows of a slice or of row numbers, in that order, as a new array."""
        rows = np.arange(len(self))[key] if isinstance(key, slice) else np.asarray(key)
        if rows.ndim != 1:
            raise TypeError(f"rows by slice or by a list of row numbers, not {key!r}")
        distinct, place = np.unique(rows, return_inverse=True)
        out = np.empty((len(distinct), self.shape[1]), np.float32)
        self.read(distinct, out)
        return out if np.array_equal(distinct, rows) else out[place]

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(f"{self.path} is too large to be read whole: take rows")

    def read(self, rows: np.ndarray, out: np.ndarray, wanted: Callable[[], bool] = lambda: True) -> None:
        """Fill `out` [n, L] with these rows, ascending and distinct; stop midway once they are not `wanted`.

        Rows near each other come in one read, with what lies between them; rows far apart one by one. The
        disk is told of the next stretches before it is waited for, so that it never idles between two reads.

        Raises:
            OSError: the disk gave an error, or the file was cut since it was opened.
        """
        if not len(rows):
            return
        if rows[0] < 0 or rows[-1] >= len(self):
            raise IndexError(f"{self.path}: row {rows[-1]} of {len(self)}")
        stretches = self._stretches(rows)
        told = 0
        for number, (start, stop) in enumerate(stretches):
            if not wanted():
                return
            while told < min(number + _AHEAD, len(stretches)):
                begins, ends = stretches[told]
                self._tell(int(rows[begins]), int(rows[ends - 1]))
                told += 1
            views: list[np.ndarray] = []
            first = after = int(rows[start])
            for run_start, run_stop in _runs(rows, start, stop):
                if int(rows[run_start]) > after:
                    views.append(self._rubbish[: int(rows[run_start]) - after])
                views.append(out[run_start:run_stop])
                after = int(rows[run_stop - 1]) + 1
            self._fill(views, first)

    def close(self) -> None:
        """Close the file; done by itself when nobody has the object any more."""
        self._close()

    def _stretches(self, rows: np.ndarray) -> list[tuple[int, int]]:
        """Return [start, stop) of rows that are read at once: no gap too wide, no more than `_ROWS` rows."""
        breaks = (np.flatnonzero(np.diff(rows) > self._gap + 1) + 1).tolist()
        edges = [0, *breaks, len(rows)]
        return [
            (start, min(start + _ROWS, stop))
            for first, stop in pairwise(edges)
            for start in range(first, stop, _ROWS)
        ]

    def _tell(self, first_row: int, last_row: int) -> None:
        """Let the kernel begin to read these rows, without waiting."""
        if hasattr(os, "posix_fadvise"):
            offset = self._start + first_row * self._row_bytes
            size = (last_row + 1 - first_row) * self._row_bytes
            os.posix_fadvise(self._handle, offset, size, os.POSIX_FADV_WILLNEED)

    def _fill(self, arrays: list[np.ndarray], first_row: int) -> None:
        """Read a stretch of the file that begins at a row into these buffers, one after the other."""
        views = [array.data.cast("B") for array in arrays]
        offset = self._start + first_row * self._row_bytes
        while views:
            try:
                got = os.preadv(self._handle, views, offset)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.path)) from error
            if got == 0:
                raise OSError(errno.EIO, "the file became shorter while it was read", str(self.path))
            offset += got
            while views and got >= len(views[0]):
                got -= len(views.pop(0))
            if got:  # the kernel may give less than asked
                views[0] = views[0][got:]


def _runs(rows: np.ndarray, start: int, stop: int) -> list[tuple[int, int]]:
    """Return [start, stop) of the runs of consecutive row numbers within a stretch."""
    breaks = (np.flatnonzero(np.diff(rows[start:stop]) != 1) + start + 1).tolist()
    edges = [start, *breaks, stop]
    return list(pairwise(edges))
