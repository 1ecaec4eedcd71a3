"""One float32 table on disk as a .npy file: written row block by row block, known again by its digests.

Owns the bytes of cached arrays. Nothing is written through a memory map unless the disk has promised the
room: a full disk must be an error, not a SIGBUS. Nothing is read through a map that outlives a block.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HEADER = 128  # bytes: what numpy itself writes for such a table
ENDS = 1 << 16  # bytes at either end that are looked at on every opening
BLOCK_BYTES = 8 << 20


class NpyWriter:
    """A float32 table [N, width] that grows; `close` returns what is known of the finished file."""

    def __init__(self, path: Path, width: int) -> None:
        self.path = path
        self.width = width
        self.rows = 0
        self._digest: Any = hashlib.sha256()
        self._file = path.open("w+b")
        self._file.write(_header(0, width))

    def append(self, values: np.ndarray) -> None:
        """Add rows [n, width].

        Raises:
            OSError: the disk is full.
        """
        data = np.ascontiguousarray(values, np.float32).data.cast("B")
        self._file.seek(HEADER + 4 * self.rows * self.width)
        self._file.write(data)
        if self._digest is not None:
            self._digest.update(data)
        self.rows += len(values)

    def reserve(self, rows: int) -> None:
        """Make room on the disk for `rows` in all, so that `place` can then put them in any order.

        Raises:
            OSError: the disk is full.
        """
        self._file.flush()
        os.posix_fallocate(self._file.fileno(), 0, HEADER + 4 * rows * self.width)
        self.rows = rows
        self._digest = None

    def place(self, row: int, column: int, values: np.ndarray) -> None:
        """Put a block [n, c] at its place in the reserved rows."""
        shape = (self.rows, self.width)
        room = np.memmap(self._file, np.float32, "r+", HEADER, shape)
        room[row : row + len(values), column : column + values.shape[1]] = values
        del room  # the pages go with the map: memory stays at one block

    def close(self) -> dict[str, Any]:
        """Write the header, bring everything to the disk, and return the file's description."""
        self._file.seek(0)
        self._file.write(_header(self.rows, self.width))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return describe(self.path, self._digest.hexdigest() if self._digest else None)

    def abandon(self) -> None:
        """Close without finishing; the caller removes the file."""
        self._file.close()


def save(path: Path, values: np.ndarray) -> dict[str, Any]:
    """Write a small array of any plain type and return its description.

    Raises:
        OSError: the disk is full.
    """
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(values), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return describe(path)


def describe(path: Path, digest: str | None = None) -> dict[str, Any]:
    """Return size, change time and digests of a file: what `problem` compares."""
    status = path.stat()
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ends": _ends(path),
        "sha256": digest or _payload(path),
    }


def problem(path: Path, known: dict[str, Any], *, full: bool = False) -> str | None:
    """Return in one English word what is wrong with a file, None when it is as it was written.

    Size, time and both ends are looked at. All of it is read only when `full`, or when the time alone
    differs (a copied cache); a file that proves whole then gets its time back.
    """
    try:
        status = path.stat()
        if status.st_size != known["size"]:
            return "size"
        if _ends(path) != known["ends"]:
            return "content"
        moved = status.st_mtime_ns != known["mtime_ns"]
        if (full or moved) and _payload(path) != known["sha256"]:
            return "content"
        if moved:
            os.utime(path, ns=(status.st_atime_ns, known["mtime_ns"]))
    except FileNotFoundError:
        return "missing"
    return None


def open_table(path: Path) -> np.ndarray:
    """Return the table as a read-only memory map."""
    table: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return table


def row_blocks(
    table: np.ndarray, rows: np.ndarray, size: int | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first place, a writable copy of the rows) so that memory is that of one block.

    `table` may be an array or a memory map; a map is opened anew for each block, because pages that were
    read through a living map count as this process's memory.
    """
    size = size or max(1, BLOCK_BYTES // (4 * max(table.shape[1], 1)))
    mapped = isinstance(table, np.memmap) and table.filename is not None
    for start in range(0, len(rows), size):
        source = np.load(table.filename, mmap_mode="r") if mapped else table  # type: ignore[attr-defined]
        block = np.asarray(source[rows[start : start + size]], np.float32)  # indices make it a copy
        del source
        yield start, block


def _header(rows: int, width: int) -> bytes:
    """Return the .npy header (version 1.0) of a C-ordered float32 table, padded to a constant length."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    body = text.ljust(HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("ascii")


def _ends(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(ENDS))
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - ENDS))
        digest.update(file.read(ENDS))
    return digest.hexdigest()


def _payload(path: Path) -> str:
    """Return the sha256 of everything after the header's fixed length; `_ends` has the header."""
    with path.open("rb") as file:
        file.seek(HEADER)
        return hashlib.file_digest(file, "sha256").hexdigest()
