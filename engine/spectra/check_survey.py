"""One pass over a branch in blocks of rows: bad pixels, flat columns and stars, what clipping would change.

Holds a few numbers per row and per column beside one block, whatever the size of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.spectra.facts import runs
from engine.spectra.mend import HALF, WILD, blocks, interpolate
from engine.spectra.tables import Spectra

PLACES = 5  # first places listed of each kind of bad pixel
SAMPLE = 2000  # stars whose noise is measured


@dataclass
class Places:
    """Bad pixels of one kind: how many in each row [R], and the first places."""

    per_row: np.ndarray
    first: list[dict[str, Any]] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        return {
            "pixels": int(self.per_row.sum()),
            "stars": int((self.per_row > 0).sum()),
            "first": self.first,
        }


@dataclass
class Survey:
    """What a pass over one branch found. Arrays [R] are in the table's own order of rows.

    `columns_low` and `columns_high` [L] are the extremes of the finite pixels of each column (inf and -inf
    where there is none); `below` and `above` count the pixels that the bounds would clip, after
    interpolation where that is the policy.
    """

    nonfinite: Places
    wild: Places
    zero: Places
    flat: np.ndarray
    columns_low: np.ndarray
    columns_high: np.ndarray
    below: np.ndarray
    above: np.ndarray


def survey(
    part: Spectra,
    bounds: Sequence[float] | None,
    *,
    mend: bool,
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """Look at every pixel of a branch once; `mend` interpolates (a copy of) bad pixels before clipping.

    `progress` gets the number of rows done.
    """
    rows, points = part.flux.shape
    found = Survey(
        nonfinite=Places(np.zeros(rows, np.int64)),
        wild=Places(np.zeros(rows, np.int64)),
        zero=Places(np.zeros(rows, np.int64)),
        flat=np.zeros(rows, bool),
        columns_low=np.full(points, np.inf, np.float32),
        columns_high=np.full(points, -np.inf, np.float32),
        below=np.zeros(rows, np.int64),
        above=np.zeros(rows, np.int64),
    )
    for start, block in blocks(part.flux):
        block = np.asarray(block)
        place = slice(start, start + len(block))
        finite = np.isfinite(block)
        whole = bool(finite.all())
        low = block if whole else np.where(finite, block, np.inf)
        high = block if whole else np.where(finite, block, -np.inf)
        found.columns_low = np.minimum(found.columns_low, low.min(axis=0))
        found.columns_high = np.maximum(found.columns_high, high.max(axis=0))
        found.flat[place] = low.min(axis=1) >= high.max(axis=1)
        size = np.abs(block if whole else np.where(finite, block, np.float32(0)))
        middle = np.median(size, axis=1, keepdims=True)
        _note(found.nonfinite, part, start, block, ~finite)
        _note(found.wild, part, start, block, (size > WILD * middle) & (middle > 0))
        _note(found.zero, part, start, block, finite & (size == 0))
        if bounds is not None:
            mended = block if whole or not mend else _mended(block, finite, part.wavelength)
            with np.errstate(invalid="ignore"):
                found.below[place] = (mended < bounds[0]).sum(axis=1)
                found.above[place] = (mended > bounds[1]).sum(axis=1)
        if progress:
            progress(start + len(block))
    return found


def constant_columns(found: Survey, wavelength: np.ndarray) -> dict[str, Any]:
    """Return how many pixels are the same in every star, and where: the first runs, in Å."""
    same = found.columns_low >= found.columns_high
    if len(found.flat) < 2:
        same[:] = False  # of one star, every column is constant
    first = [[float(wavelength[a]), float(wavelength[b])] for a, b in runs(same)][:PLACES]
    return {"columns": int(same.sum()), "first": first}


def der_snr(flux: np.ndarray) -> float:
    """Return the signal-to-noise ratio of one spectrum [L] from its own scatter; NaN without enough pixels.

    DER_SNR, Stoehr et al. 2008 (ASP Conf. 394, 505): median flux over 1.482602/sqrt(6) times the median of
    |2 f(i) - f(i-2) - f(i+2)|, non-finite and zero pixels left out. Sharp lines count as noise, and noise
    that neighbouring pixels share does not: an estimate.
    """
    f = flux[np.isfinite(flux) & (flux != 0)].astype(np.float64)
    if len(f) < 5:
        return float("nan")
    noise = 1.482602 / np.sqrt(6.0) * np.median(np.abs(2.0 * f[2:-2] - f[:-4] - f[4:]))
    return float(np.median(f) / noise) if noise > 0 else float("nan")


def estimate_snr(part: Spectra, rows: np.ndarray) -> np.ndarray:
    """Return the estimated S/N of at most `SAMPLE` of these rows, evenly picked; NaN left out."""
    step = max(1, -(-len(rows) // SAMPLE))
    values = np.array([der_snr(np.asarray(part.flux[row])) for row in np.sort(rows)[::step]])
    return values[np.isfinite(values)]


def _note(places: Places, part: Spectra, start: int, block: np.ndarray, mask: np.ndarray) -> None:
    counts = mask.sum(axis=1)
    places.per_row[start : start + len(block)] = counts
    for row in np.flatnonzero(counts)[: PLACES - len(places.first)]:
        pixel = int(np.flatnonzero(mask[row])[0])
        places.first.append(
            {
                "obsid": part.obsid[start + row].item(),
                "wavelength": round(float(part.wavelength[pixel]), 4),
                "value": str(block[row, pixel]),  # a word: JSON has no NaN
            }
        )


def _mended(block: np.ndarray, finite: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    copy = block.copy()
    counts = (~finite).sum(axis=1)
    interpolate(copy, np.flatnonzero((counts > 0) & (counts <= int(HALF * block.shape[1]))), wavelength)
    return copy
