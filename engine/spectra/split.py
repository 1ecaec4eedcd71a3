"""Which stars train, which validate, which test: a function of the seed and the obsids alone.

Owns the split and its file, `obsid,part`, which a run keeps so that any later command sees the same parts.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import BadInput
from engine.spectra import PARTS
from engine.spectra.stars import Stars
from engine.words import say


@dataclass(frozen=True)
class Split:
    """Ascending row numbers of each part, int64; every star is in exactly one part."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def part(self, name: str) -> np.ndarray:
        """Return the row numbers of 'train', 'val' or 'test'."""
        rows: np.ndarray = getattr(self, name)
        return rows

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(self.part(name)) for name in PARTS}


def sizes(stars: int, ratios: Sequence[float]) -> tuple[int, int, int]:
    """Return how many stars train, validate and test; at least 1 trains, and 1 validates from 3 stars on.

    Raises:
        BadInput: not three shares from 0 to 1 with the sum 1, nothing to train on, or no star.
    """
    shares = [float(r) for r in ratios]
    shown = ", ".join(f"{r:g}" for r in shares)
    if len(shares) != 3 or not all(0 <= r <= 1 for r in shares) or abs(sum(shares) - 1) > 1e-6:
        raise BadInput(say("data.split_sum", ratios=shown, total=f"{sum(shares):g}"))
    if shares[0] == 0:
        raise BadInput(say("data.split_no_train", ratios=shown))
    if stars < 1:
        raise BadInput(say("data.split_no_stars"))
    train = min(stars, int(stars * shares[0] + 0.5))
    upto = min(stars, max(train, int(stars * (shares[0] + shares[1]) + 0.5)))
    counts = [train, upto - train, stars - upto]
    for part, least in ((0, 1), (1, 1 if stars >= 3 else 0)):
        if counts[part] < least:
            # train is never asked to give its only star: with 3 stars somebody else has two
            giver = int(np.argmax(counts))
            counts[giver] -= 1
            counts[part] += 1
    return counts[0], counts[1], counts[2]


def divide(obsid: np.ndarray, ratios: Sequence[float], seed: int) -> Split:
    """Return a random split that depends on the seed and the set of obsids, not on the order of rows.

    Raises:
        BadInput: ratios that cannot be used, or no star.
    """
    train, val, _ = sizes(len(obsid), ratios)
    by_obsid = np.argsort(obsid, kind="stable")
    drawn = by_obsid[np.random.Generator(np.random.PCG64(seed)).permutation(len(obsid))]
    return Split(np.sort(drawn[:train]), np.sort(drawn[train : train + val]), np.sort(drawn[train + val :]))


def write(path: Path, stars: Stars, split: Split) -> None:
    """Write `obsid,part`, one line per star in the stars' order, whole or not at all."""
    part_of = np.empty(len(stars), dtype=object)
    for name in PARTS:
        part_of[split.part(name)] = name
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.write("obsid,part\n")
            csv.writer(file, lineterminator="\n").writerows(zip(stars.obsid.tolist(), part_of, strict=True))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path, stars: Stars) -> Split:
    """Return the split that a file gives these stars.

    Raises:
        BadInput: no such file, a line that is no `obsid,part`, an obsid twice, or other stars than these.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise BadInput(say("data.unreadable", file=path, why=error.strerror or error)) from error
    row_of = {str(obsid): i for i, obsid in enumerate(stars.obsid.tolist())}
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    seen: set[str] = set()
    strangers = []
    for line, row in enumerate(rows, start=1):
        if line == 1:
            if row != ["obsid", "part"]:
                raise BadInput(say("data.split_line", file=path, line=1, text=",".join(row)[:40]))
            continue
        if len(row) != 2 or row[1] not in PARTS or row[0] in seen:
            raise BadInput(say("data.split_line", file=path, line=line, text=",".join(row)[:40]))
        seen.add(row[0])
        if row[0] in row_of:
            parts[row[1]].append(row_of[row[0]])
        else:
            strangers.append(row[0])
    lacking = [obsid for obsid in row_of if obsid not in seen]
    if strangers or lacking:
        example = (strangers or lacking)[0]
        raise BadInput(
            say("data.split_others", file=path, strangers=len(strangers), lacking=len(lacking), obsid=example)
        )
    return Split(*(np.sort(np.array(parts[name], np.int64)) for name in PARTS))
