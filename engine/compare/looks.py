"""Letter and colour of each run of a comparison: kept while it is compared, distinct while there are enough.

Colours are indices of the terminal's own palette, found by a hash of the run id, so that a run looks the same
in every comparison; no red, which is for what is no number.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from string import ascii_uppercase

COLOURS = (2, 3, 4, 5, 6, 10, 11, 12, 13, 14)


@dataclass(frozen=True)
class Look:
    """How one run is told from the others; the letter, so that colour is never the only carrier."""

    letter: str
    colour: int


class Looks:
    """The looks that were given out."""

    def __init__(self) -> None:
        self._given: dict[str, Look] = {}

    def give(self, run_ids: Sequence[str]) -> dict[str, Look]:
        """Return the looks of the runs; those that had one keep it, what others had is free again."""
        kept = {run_id: self._given[run_id] for run_id in run_ids if run_id in self._given}
        letters = {look.letter for look in kept.values()}
        colours = [look.colour for look in kept.values()]
        free = (letter for letter in map(lettering, count()) if letter not in letters)
        for run_id in run_ids:
            if run_id not in kept:
                colour = _colour(run_id, colours)
                colours.append(colour)
                kept[run_id] = Look(next(free), colour)
        self._given = {run_id: kept[run_id] for run_id in run_ids}
        return dict(self._given)


def lettering(index: int) -> str:
    """Return A … Z, AA, AB … for 0, 1 …"""
    text = ""
    index += 1
    while index > 0:
        index, rest = divmod(index - 1, len(ascii_uppercase))
        text = ascii_uppercase[rest] + text
    return text


def _colour(run_id: str, taken: Sequence[int]) -> int:
    """Return the run's own colour, or the next that fewer runs have."""
    first = zlib.crc32(run_id.encode("utf-8", "surrogatepass")) % len(COLOURS)
    turn = COLOURS[first:] + COLOURS[:first]
    least = min(taken.count(colour) for colour in turn)
    return next(colour for colour in turn if taken.count(colour) == least)
