"""Parts become one set of tables with its header file.

Owns the output: the three tables, import.json, rejected.csv, and the way they come into their place.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from engine.spectra import BRANCHES
from engine.spectra.fits import HEADER
from engine.spectra.fits.choices import FORMAT, Choices, versions
from engine.spectra.fits.find import Source
from engine.spectra.fits.labels import Catalogue, Joined, join
from engine.spectra.fits.parts import Outcome, PartReader, Place
from engine.words import say

TABLES = {
    "continuum": "final_spectra_continuum.csv",
    "normalized": "final_spectra_normalized.csv",
    "labels": "removed_with_rv.csv",
}
REJECTED = "rejected.csv"
FILES = (*TABLES.values(), REJECTED, HEADER)  # the header last: a set without one is not whole
OURS = ("rv", "snr", "ra", "dec", "class", "subclass", "file")
HALF = 0.5


@dataclass
class Tally:
    """What is counted while the tables are written."""

    rejected: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)  # rejected files and their reasons


class _Summed:
    """A file that is written once, hashed on the way and synced at the end."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)

    def close(self) -> str:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()


def write_set(
    folder: Path,
    sources: Sequence[Source],
    places: Mapping[str, Place],
    choices: Choices,
    catalogue: Catalogue | None,
    made: Mapping[str, Any],
) -> tuple[dict[str, Any], Tally]:
    """Write the whole set into an empty folder and return import.json's head, and the tally.

    Rows follow the order of `sources`. Two files of one obsid: the first is kept, the second is rejected.
    Nothing is held in memory but one star and the wanted rows of the label table.
    """
    tally = Tally()
    grid = choices.grid
    header = ("obsid," + ",".join(grid.columns()) + "\n").encode()
    tables = {branch: _Summed(folder / TABLES[branch]) for branch in BRANCHES}
    labels = _Summed(folder / TABLES["labels"])
    rejected = _Summed(folder / REJECTED)
    rejected.write(_csv(["file", "reason"]))
    reader = PartReader()
    first: dict[str, str] = {}  # obsid -> the file it came from
    kept: list[tuple[Source, Place]] = []
    try:
        for table in tables.values():
            table.write(header)
        for source in sources:
            place = places[source.key]
            outcome = reader.outcome(place)
            reason = outcome.reason
            if reason is None and outcome.obsid in first:
                reason = ("doubled", {"obsid": outcome.obsid, "file": first[outcome.obsid]})
            if reason is not None:
                text = say(f"fits.reject.{reason[0]}", **reason[1])
                rejected.write(_csv([source.shown, text]))
                tally.rejected[reason[0]] += 1
                if len(tally.examples) < 10:
                    tally.examples.append((source.shown, text))
                continue
            assert outcome.obsid is not None
            first[outcome.obsid] = source.shown
            kept.append((source, place))
            for branch, table in tables.items():
                table.write(reader.line(place, outcome, branch))
            _count(tally, outcome)
        joined = join(catalogue, first, OURS) if catalogue else None
        columns = joined.columns if joined else ()
        labels.write(_csv(["obsid", *columns, *OURS]))
        for source, place in kept:
            outcome = reader.outcome(place)
            cells = joined.rows.get(outcome.obsid or "") if joined else None
            labels.write(_label_line(outcome, source, cells or [""] * len(columns)))
        sums = {TABLES[branch]: table.close() for branch, table in tables.items()}
        sums |= {TABLES["labels"]: labels.close(), REJECTED: rejected.close()}
        head = _head(choices, tally, len(sources), len(kept), catalogue, joined, made, sums)
        _write_header(folder / HEADER, head, kept, reader)
    finally:
        reader.close()
    return head, tally


def _count(tally: Tally, outcome: Outcome) -> None:
    """Count what a reader of the summary ought to know."""
    facts = outcome.facts
    tally.counts["rv_missing"] += facts["rv_from"] == "missing"
    tally.counts[f"rv_{facts['rv_from']}"] += facts["rv_from"] in ("header", "column")
    tally.counts["frame_assumed"] += facts["frame_from"] == "assumed"
    tally.counts["from_air"] += facts["frame"] == "air"
    tally.counts["not_heliocentric"] += facts["heliocentric"] is False
    tally.counts["half_covered"] += facts["coverage"] < HALF
    tally.counts["uncovered_pixels"] += facts["uncovered_pixels"]
    tally.counts["masked_pixels"] += facts["masked_pixels"]
    tally.counts["no_class"] += facts["class_from"] != "CLASS"


def _label_line(outcome: Outcome, source: Source, cells: Sequence[str]) -> bytes:
    facts = outcome.facts
    ours = [facts[name] for name in OURS[:-1]]
    return _csv([outcome.obsid, *cells, *("" if v is None else v for v in ours), source.shown])


def _csv(cells: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    # a file name may hold bytes that are no UTF-8; they come out as they went in
    return line.getvalue().encode("utf-8", "surrogateescape")


def _head(
    choices: Choices,
    tally: Tally,
    files: int,
    kept: int,
    catalogue: Catalogue | None,
    joined: Joined | None,
    made: Mapping[str, Any],
    sums: Mapping[str, str],
) -> dict[str, Any]:
    names = ("rv_header", "rv_column", "rv_missing", "frame_assumed", "from_air", "not_heliocentric",
             "half_covered", "no_class", "masked_pixels", "uncovered_pixels")  # fmt: skip
    counts: dict[str, Any] = {"files": files, "spectra": kept, "rejected": files - kept}
    counts["reasons"] = dict(sorted(tally.rejected.items()))
    counts |= {name: tally.counts[name] for name in names}
    about_labels: dict[str, Any] | None = None
    if catalogue and joined:
        about_labels = {
            "file": catalogue.shown,
            "rows": joined.total,
            "matched": len(joined.rows),
            "doubled": joined.doubled,
            "without_spectrum": joined.unmatched,
            "spectra_without_labels": kept - len(joined.rows),
            "columns": list(joined.columns),
        }
    return {
        "format": FORMAT,
        "made": dict(made),
        "versions": versions(),
        "choices": choices.record(),
        "wavelength": {"frame": choices.frame, "rest": choices.rv != "none", "unit": "angstrom"},
        "labels": about_labels,
        "counts": counts,
        "sha256": dict(sums),
    }


def _write_header(
    path: Path, head: Mapping[str, Any], kept: Sequence[tuple[Source, Place]], reader: PartReader
) -> None:
    """Write import.json: the head indented for people, then one line of facts a file."""
    file = _Summed(path)
    text = json.dumps(head, ensure_ascii=False, indent=1)
    file.write((text.removesuffix("\n}") + ',\n "files": [').encode("utf-8", "surrogateescape"))
    for number, (source, place) in enumerate(kept):
        line = json.dumps({"file": source.shown} | reader.outcome(place).facts)
        file.write(((",\n  " if number else "\n  ") + line).encode())
    file.write(b"\n ]\n}\n")
    file.close()


def move_in(made: Path, out: Path) -> None:
    """Bring a finished set into its place.

    Where nothing is, or an empty folder, that is one rename. Into a folder that holds other things the
    files go one by one, the header file last and the old header first away; if that is interrupted, calling
    it again goes on where it was.
    """
    try:
        made.rename(out)
        return
    except OSError:
        if not out.is_dir():
            raise
    if (made / HEADER).exists():
        (out / HEADER).unlink(missing_ok=True)
    for name in FILES:
        if (made / name).exists():
            (made / name).replace(out / name)
    made.rmdir()
