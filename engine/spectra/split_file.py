"""The file of a split, `obsid,part`: written into every run, read back, and accepted from the user.

A part is train, val, test, or none for a star that is left out.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np

from engine.errors import BadInput
from engine.spectra import PARTS
from engine.words import say

NONE = "none"
_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.0+)?")


def write(path: Path, obsid: np.ndarray, parts: dict[str, np.ndarray]) -> None:
    """Write one line per star in the stars' order, whole or not at all; `parts` are row numbers by name."""
    part_of = np.full(len(obsid), NONE, dtype=object)
    for name, rows in parts.items():
        part_of[rows] = name
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.write("obsid,part\n")
            csv.writer(file, lineterminator="\n").writerows(zip(obsid.tolist(), part_of, strict=True))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path, shown: str | None = None) -> dict[str, str]:
    """Return the part of each obsid; the columns are found by name, others are ignored.

    Raises:
        BadInput: unreadable, no such columns, a word that is no part, or an obsid twice; the line is named.
    """
    shown = shown or str(path)
    parts: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            header = [cell.strip().lower() for cell in next(lines, [])]
            if header.count("obsid") != 1 or header.count("part") != 1:
                raise BadInput(say("split.file_header", file=shown, text=",".join(header)[:40]))
            at_obsid, at_part = header.index("obsid"), header.index("part")
            for row in lines:
                if not row:
                    continue
                obsid = key(row[at_obsid]) if len(row) == len(header) else ""
                part = row[at_part].strip().lower() if obsid else ""
                if part not in (*PARTS, NONE) or obsid in parts:
                    raise BadInput(
                        say("data.split_line", file=shown, line=lines.line_num, text=",".join(row)[:40])
                    )
                parts[obsid] = part
    except OSError as error:
        raise BadInput(say("data.unreadable", file=shown, why=error.strerror or error)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(say("data.unreadable", file=shown, why=error)) from error
    return parts


def key(obsid: object) -> str:
    """Return an obsid as the word it is looked up by: 123, 123.0 and ' 123' are one star."""
    word = str(obsid).strip()
    whole = _WHOLE.fullmatch(word)
    return whole.group(1) if whole else word


def find(name: str, folder: Path, root: Path) -> Path:
    """Return the file meant by a conf: absolute, or in the data folder, or relative to the root.

    Raises:
        BadInput: it is in none of these places.
    """
    given = Path(name).expanduser()
    places = [given] if given.is_absolute() else [folder / given, root / given]
    for place in places:
        if place.is_file():
            return place
    raise BadInput(say("split.no_file", file=name, places=", ".join(str(p) for p in places)))
