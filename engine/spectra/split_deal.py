"""How many stars each part gets, and which: a seeded deal of whole units to parts.

A unit is one star, or one group of stars that must stay together. Knows nothing of tables or confs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import BadInput
from engine.spectra import PARTS
from engine.words import say


@dataclass(frozen=True)
class Units:
    """What is dealt: `unit` [N] is the unit of each star, `strata` hold unit numbers, `size` their stars.

    All units of stratum i have `size[i]` stars. Strata are dealt in this order; the last evens out the rest.
    """

    unit: np.ndarray
    strata: tuple[np.ndarray, ...]
    size: tuple[int, ...]

    @property
    def number(self) -> int:
        return sum(len(stratum) for stratum in self.strata)


def sizes(stars: int, ratios: Sequence[float]) -> tuple[int, int, int]:
    """Return how many stars train, validate and test; a part has none only where its share is 0.

    Raises:
        BadInput: not three shares from 0 to 1 with the sum 1, nothing to train on, or fewer stars than parts.
    """
    shares = [float(r) for r in ratios]
    shown = ", ".join(f"{r:g}" for r in shares)
    if len(shares) != 3 or not all(0 <= r <= 1 for r in shares) or abs(sum(shares) - 1) > 1e-6:
        raise BadInput(say("data.split_sum", ratios=shown, total=f"{sum(shares):g}"))
    if shares[0] == 0:
        raise BadInput(say("data.split_no_train", ratios=shown))
    if stars < 1:
        raise BadInput(say("data.split_no_stars"))
    wanted = [name for name, share in zip(PARTS, shares, strict=True) if share > 0]
    if stars < len(wanted):
        raise BadInput(
            say("split.too_few", stars=stars, parts=", ".join(wanted), ratios=shown, least=len(wanted))
        )
    train = min(stars, int(stars * shares[0] + 0.5))
    upto = min(stars, max(train, int(stars * (shares[0] + shares[1]) + 0.5)))
    counts = [train, upto - train, stars - upto]
    # shares that sum to 0.9999999 must not fill a part that is not wanted, nor rounding empty one that is
    for part in (1, 2):
        if shares[part] == 0:
            counts[0], counts[part] = counts[0] + counts[part], 0
    for part, share in enumerate(shares):
        if share > 0 and counts[part] == 0:
            counts[int(np.argmax(counts))] -= 1
            counts[part] = 1
    return counts[0], counts[1], counts[2]


def even(stars: int, parts: int) -> list[int]:
    """Return `parts` sizes that sum to `stars` and differ by one at most."""
    return [stars // parts + (part < stars % parts) for part in range(parts)]


def deal(rng: np.random.Generator, units: Units, targets: Sequence[int]) -> np.ndarray:
    """Return the part [N] of every star, so that part p gets about `targets[p]` stars in every stratum.

    A stratum is cut in the proportions of what the parts still need, so with units of one star the totals
    are exact and each stratum is within about a star of its share; with groups the later, smaller units
    make good what the larger ones did. The remainder of a stratum is drawn, not always given to the largest
    part: otherwise tiny strata would all go to training. No part with a target stays empty: `targets` must
    not ask for more parts than there are units.
    """
    need = np.array(targets, np.int64)
    wanted = need > 0
    table = np.zeros((len(units.strata), len(need)), np.int64)
    for row, (stratum, size) in enumerate(zip(units.strata, units.size, strict=True)):
        table[row] = _shares(rng, len(stratum), size, need)
        need = np.maximum(need - table[row] * size, 0)
    _fill_empty(table, units.size, wanted)
    part_of_unit = np.empty(units.number, np.int64)
    for row, stratum in enumerate(units.strata):
        part_of_unit[rng.permutation(stratum)] = np.repeat(np.arange(table.shape[1]), table[row])
    return part_of_unit[units.unit]


def _shares(rng: np.random.Generator, units: int, size: int, need: np.ndarray) -> np.ndarray:
    """Return how many of `units` units each part gets [P]."""
    total = int(need.sum())
    if total == 0:  # groups overshot every target; the largest part can take it best
        counts = np.zeros_like(need)
        counts[0] = units
        return counts
    counts, fraction = units * need // total, units * need % total
    for _ in range(units - int(counts.sum())):
        left = need - counts * size
        chance = np.where(left >= size, fraction, 0)
        if chance.any():
            part = int(rng.choice(len(need), p=chance / chance.sum()))
        else:
            part = int(np.argmax(left))
        counts[part] += 1
        fraction[part] = 0
    return counts


def _fill_empty(table: np.ndarray, size: Sequence[int], wanted: np.ndarray) -> None:
    """Give every wanted part a unit, in place: the smallest one of the part with the most."""
    for part in np.flatnonzero(wanted & (table.sum(axis=0) == 0)):
        giver = int(np.argmax(table.sum(axis=0)))
        rows = np.flatnonzero(table[:, giver])
        row = rows[np.argmin(np.array(size)[rows])]
        table[row, giver] -= 1
        table[row, part] += 1
