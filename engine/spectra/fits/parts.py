"""What an import has done so far, on disk: whole parts in a folder beside the output.

A part is a folder with the finished rows of some files. It is made beside its place, synced and renamed
in, so a part that can be seen is whole, whenever the process ended. Owns the partial folder's layout:

    .import-<out>-<digest>/   lock   parts/<id>/{continuum.csv,normalized.csv,outcomes.jsonl}
                              set/   the output, while it is written
                              ready   the output was whole once: what it replaces may be half gone
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.spectra import BRANCHES
from engine.spectra.fits.process import Row

OUTCOMES = "outcomes.jsonl"


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a row (where its bytes stand in the part's tables), or a reason.

    `spans` are (first byte, length) by branch; `reason` is the key and values of a `Rejected`.
    """

    key: str
    obsid: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    reason: tuple[str, dict[str, Any]] | None = None


@dataclass(frozen=True)
class Place:
    """Where the outcome of one file is kept: a part, and a span of its list of outcomes."""

    part: Path
    start: int
    length: int


class PartWriter:
    """One part in the making; nothing of it can be seen before `finish`."""

    def __init__(self, folder: Path) -> None:
        name = uuid.uuid4().hex
        self._target = folder / name
        self._making = folder / f".{name}"
        self._making.mkdir()
        self._files = {name: (self._making / f"{name}.csv").open("wb") for name in BRANCHES}
        self._outcomes = (self._making / OUTCOMES).open("wb")

    def keep(self, key: str, row: Row) -> None:
        """Write one star's rows."""
        spans = {}
        for name, values in (("continuum", row.continuum), ("normalized", row.normalized)):
            cells = ",".join(["%.6g"] * len(values)) % tuple(values)
            line = f"{quoted(row.obsid)},{cells}\n".encode()
            spans[name] = (self._files[name].tell(), len(line))
            self._files[name].write(line)
        self._say(Outcome(key, row.obsid, row.facts, spans))

    def reject(self, key: str, reason: str, values: dict[str, Any]) -> None:
        """Write why a file gave no row."""
        self._say(Outcome(key, reason=(reason, values)))

    def finish(self) -> None:
        """Sync everything and let the part be seen."""
        for file in (*self._files.values(), self._outcomes):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        self._making.rename(self._target)

    def abandon(self) -> None:
        """Take away what has been made."""
        for file in (*self._files.values(), self._outcomes):
            try:
                file.close()
            except OSError:
                pass  # a full disk shows again when buffers are flushed; the first error is the one told
        shutil.rmtree(self._making, ignore_errors=True)

    def _say(self, outcome: Outcome) -> None:
        self._outcomes.write((json.dumps(asdict(outcome)) + "\n").encode())


def quoted(text: str) -> str:
    """Return a cell as CSV wants it: in quotes only when it must be."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def index(folder: Path) -> dict[str, Place]:
    """Return where the outcome of every file done so far is, by its key; leftovers of dead makers go."""
    found: dict[str, Place] = {}
    for part in sorted(folder.iterdir()):
        if part.name.startswith("."):
            shutil.rmtree(part, ignore_errors=True)
            continue
        at = 0
        with (part / OUTCOMES).open("rb") as file:
            for line in file:
                found[json.loads(line)["key"]] = Place(part, at, len(line))
                at += len(line)
    return found


class PartReader:
    """Rows and outcomes out of parts; keeps the last part open, since neighbours lie together."""

    def __init__(self) -> None:
        self._part: Path | None = None
        self._files: dict[str, Any] = {}

    def outcome(self, place: Place) -> Outcome:
        """Return what became of one file."""
        self._open(place.part)
        return Outcome(**json.loads(self._span(OUTCOMES, place.start, place.length)))

    def line(self, place: Place, outcome: Outcome, branch: str) -> bytes:
        """Return one row of one table, as it was written."""
        self._open(place.part)
        start, length = outcome.spans[branch]
        return self._span(f"{branch}.csv", start, length)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._part, self._files = None, {}

    def _open(self, part: Path) -> None:
        if part != self._part:
            self.close()
            names: Iterable[str] = (OUTCOMES, *(f"{branch}.csv" for branch in BRANCHES))
            self._files = {name: (part / name).open("rb") for name in names}
            self._part = part

    def _span(self, name: str, start: int, length: int) -> bytes:
        file = self._files[name]
        file.seek(start)
        data: bytes = file.read(length)
        if len(data) != length:
            raise OSError(f"{self._part}/{name}: shorter than its list of outcomes says")
        return data
