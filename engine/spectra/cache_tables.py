"""Spectra tables parsed once: `tables/<key>/` holds one branch as flux.npy, obsid.npy and lines.npy.

Owns the key of a table (what its files are, not where) and the conversion into the cache. Two data sets with
the same file share one entry.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BadInput
from engine.spectra import cache_npy, cache_store
from engine.spectra.headers import ARROW, Header, header_cells, same_grid, spectra_header
from engine.spectra.layout import Tables
from engine.spectra.progress import Progress
from engine.spectra.tables import READER, Obsids, Spectra, parse_spectra, together
from engine.words import say
from engine.workspace import Workspace

MB = 1 << 20


@dataclass(frozen=True)
class Source:
    """One file as it is now: its content is told by size, time, and the sha256 of the first and last MB."""

    path: Path
    shown: str
    size: int
    mtime_ns: int
    ends: str

    @property
    def mark(self) -> tuple[int, int, str, str]:
        """What makes two files the same to the cache; the ending says which reader it gets."""
        return self.size, self.mtime_ns, self.ends, self.path.suffix if self.path.suffix in ARROW else ".csv"


def source(path: Path, shown: str) -> Source:
    """Return what a file is now.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            status = path.stat()
            digest = hashlib.sha256(file.read(MB))
            file.seek(max(0, status.st_size - MB))
            digest.update(file.read(MB))
    except OSError as error:
        raise BadInput(say("data.unreadable", file=shown, why=error.strerror or error)) from error
    return Source(path, shown, status.st_size, status.st_mtime_ns, digest.hexdigest())


def sources(tables: Tables) -> dict[str, list[Source]]:
    """Return every file of a data set as it is now, by table."""
    return {
        name: [source(path, tables.shown(name, part)) for part, path in enumerate(tables.files[name])]
        for name in tables.names
    }


def digest(*parts: Any) -> str:
    """Return 24 hex digits of a sha256 over anything that JSON can say."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def table_key(files: list[Source]) -> str:
    """Return the key of one branch; it moves when a file moves in content, or the reader reads otherwise."""
    return digest("table", READER, [file.mark for file in files])


def open_spectra(workspace: Workspace, files: list[Source], progress: Progress) -> Spectra:
    """Return one branch from the cache, converted now if need be; its flux is a read-only memory map.

    Raises:
        BadInput: what the readers refuse, files that change meanwhile, or no room in the cache.
    """
    name = files[0].shown if len(files) == 1 else f"{files[0].shown} ..."
    entry = cache_store.fetch(
        workspace, "tables", table_key(files), name, lambda folder: convert(files, folder, progress), progress
    )
    index = entry.index
    return Spectra(
        obsid=np.load(entry.home / "obsid.npy"),
        flux=cache_npy.open_table(entry.home / "flux.npy"),
        wavelength=np.array(index["wavelength"]),
        columns=tuple(index["columns"]),
        lines=np.load(entry.home / "lines.npy"),
        part=np.repeat(np.arange(len(files), dtype=np.uint8), [file["rows"] for file in index["sources"]]),
    )


def convert(files: list[Source], folder: Path, progress: Progress) -> dict[str, Any]:
    """Write the files of one branch, one after the other, into `folder` and return the index.

    Raises:
        BadInput: what the readers refuse, or a file that changes while it is read.
        OSError: the folder cannot take it.
    """
    started = time.monotonic()
    headers = [spectra_header(header_cells(file.path, file.shown), file.shown) for file in files]
    for file, header in zip(files, headers, strict=True):
        same_grid(headers[0], header, files[0].shown, file.shown)
    writer = cache_npy.NpyWriter(folder / "flux.npy", len(headers[0].wavelength))
    obsids, lines, rows = [], [], []
    try:
        for file, header in zip(files, headers, strict=True):
            before = writer.rows
            read = _read_arrow if file.path.suffix in ARROW else _read_csv
            found = read(file, header, writer, progress)
            obsids.append(found[0])
            lines.append(found[1])
            rows.append(writer.rows - before)
            if source(file.path, file.shown).mark != file.mark:
                raise BadInput(say("spectra.changed", file=file.shown))
        flux = writer.close()
    finally:
        writer.abandon()
    return {
        "kind": "table",
        "reader": READER,
        "rows": sum(rows),
        "points": len(headers[0].wavelength),
        "wavelength": list(headers[0].wavelength),
        "columns": list(headers[0].columns),
        "seconds": round(time.monotonic() - started, 3),
        "sources": [
            {"path": str(f.path), "size": f.size, "mtime_ns": f.mtime_ns, "ends": f.ends, "rows": n}
            for f, n in zip(files, rows, strict=True)
        ],
        "files": {
            "flux.npy": flux,
            "obsid.npy": cache_npy.save(folder / "obsid.npy", together(obsids)),
            "lines.npy": cache_npy.save(folder / "lines.npy", np.concatenate(lines)),
        },
    }


def _read_csv(
    file: Source, header: Header, writer: cache_npy.NpyWriter, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    return parse_spectra(file.path, file.shown, header, writer.append, progress)


def _read_arrow(
    file: Source, header: Header, writer: cache_npy.NpyWriter, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    from engine.spectra import arrow

    table = arrow.open_arrow(file.path, file.shown)
    before = writer.rows
    writer.reserve(before + table.rows)
    what = say("spectra.converting", file=file.shown)
    progress.rows(what, 0)
    for row, at, values in arrow.blocks(table, header.positions):
        writer.place(before + row, at, values)
        progress.rows(what, row + len(values) * (at + values.shape[1]) // len(header.positions), table.rows)
    obsids = Obsids()
    obsids.take(arrow.words(table, header.obsid))
    lines = np.arange(1, table.rows + 1)
    return obsids.all(lines, file.shown), lines
