"""What stays together and what is spread evenly: single stars, FeH bins, groups of the label table.

Owns how a column of the label table is found by name and read as numbers or as group names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import BadInput
from engine.spectra.split_deal import Units
from engine.spectra.stars import Stars
from engine.words import say

MISSING = (9999.0, 99999.0)  # either sign: how catalogues say "not measured"
NO_NAME = ("", "nan", "none", "null", "na", "n/a", "<na>", "-9999", "-9999.0")


def column(stars: Stars, name: str, key: str) -> np.ndarray:
    """Return a column [N] of the label table, targets included; the case of the name does not matter.

    Raises:
        BadInput: there is no such column; the conf's `key` and the columns that exist are named.
    """
    there = {target: stars.labels[:, i] for i, target in enumerate(stars.targets)} | {
        other: values for other, values in stars.columns.items() if other not in stars.targets
    }
    if name in there:
        return there[name]
    for other, values in there.items():
        if other.lower() == name.lower():
            return values
    raise BadInput(say("split.no_column", key=key, column=name, columns=", ".join(there) or "-"))


def numbers(values: np.ndarray, name: str, key: str) -> np.ndarray:
    """Return a column as float64 [N], NaN where it is empty or a catalogue's word for "not measured".

    Raises:
        BadInput: a cell is no number.
    """
    if values.dtype.kind not in "fiub":
        words = [str(cell).strip() for cell in values.tolist()]
        try:
            values = np.array([np.nan if w.lower() in NO_NAME else float(w) for w in words])
        except ValueError as error:
            raise BadInput(say("split.not_numbers", key=key, column=name, why=error)) from error
    values = values.astype(np.float64)
    return np.where(np.isfinite(values) & ~np.isin(np.abs(values), MISSING), values, np.nan)


def single(stars: int) -> Units:
    """Return every star as a unit of its own, in one stratum."""
    return Units(np.arange(stars), (np.arange(stars),), (1,))


def binned(value: np.ndarray, bins: int) -> np.ndarray:
    """Return the equal-width bin [N] of each value, from 0; `bins` for a value that is missing."""
    there = np.isfinite(value)
    found = np.full(len(value), bins, np.int64)
    if there.any():
        low, high = value[there].min(), value[there].max()
        width = (high - low) / bins or 1.0
        found[there] = np.clip((value[there] - low) // width, 0, bins - 1)
    return found


def stratified(bin_of_star: np.ndarray) -> Units:
    """Return single stars in the strata of their bins [N]; the fullest bin comes last and evens out."""
    names, counts = np.unique(bin_of_star, return_counts=True)
    order = names[np.lexsort((names, counts))]
    strata = tuple(np.flatnonzero(bin_of_star == name) for name in order)
    return Units(np.arange(len(bin_of_star)), strata, (1,) * len(strata))


def groups(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the group number [N] of each star and how many have none: those are a group each.

    A group is numbered by its first star, so the numbers do not depend on how groups are called.
    """
    if values.dtype.kind in "iub":
        empty = values == -9999 if values.dtype.kind == "i" else np.zeros(len(values), bool)
        names = values
    elif values.dtype.kind == "f":
        empty = ~np.isfinite(values) | (values == -9999)
        names = np.where(empty, 0, values)
    else:
        names = np.array([str(cell).strip() for cell in values.tolist()], dtype=str)
        empty = np.isin(np.char.lower(names), NO_NAME)
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    return np.where(empty, np.arange(len(values)), first[inverse]), int(empty.sum())


def grouped(group_of_star: np.ndarray) -> Units:
    """Return groups [N] as units in strata of equal size, the largest groups first."""
    _, unit, counts = np.unique(group_of_star, return_inverse=True, return_counts=True)
    found: Sequence[int] = np.unique(counts)[::-1].tolist()
    return Units(unit, tuple(np.flatnonzero(counts == size) for size in found), tuple(found))
