"""Which pixels are no measurement, and what stands in their place.

Owns the rules and the mending. Masked pixels are always counted and kept in the record of the import.
"""

from __future__ import annotations

import numpy as np

from engine.spectra.fits.frame import to_vacuum

# Å in air, as observed: O2 B, H2O, O2 A, H2O, H2O
TELLURIC_AIR = ((6867.0, 6944.0), (7160.0, 7340.0), (7594.0, 7700.0), (8130.0, 8350.0), (8940.0, 9900.0))
SKY_AIR = (5577.34, 6300.30, 6363.78)  # [O I] night-sky lines: what is left of them after subtraction
SKY_HALF = 5.0  # Å each side: two resolution elements
ANCHOR = 10  # good pixels beside a gap that its ends are taken from, at most


def bad_pixels(flux: np.ndarray, ivar: np.ndarray, andmask: np.ndarray) -> np.ndarray:
    """Return the mask [N] of pixels that are no measurement.

    Bad are: ivar <= 0, ANDMASK set (bad in all exposures), flux or ivar not finite, and two or more exact
    zeros in a row. LAMOST pads the ends of spectra, and the gap between the arms of DR1 spectra, with
    zeros to which it may give a positive ivar; a lone zero may be a true value.
    """
    zero = flux == 0
    beside = np.zeros(len(zero), bool)
    beside[1:] |= zero[:-1]
    beside[:-1] |= zero[1:]
    with np.errstate(invalid="ignore"):
        mask: np.ndarray = ~np.isfinite(flux) | ~(ivar > 0) | ~np.isfinite(ivar) | andmask | (zero & beside)
    return mask


def telluric(observed: np.ndarray) -> np.ndarray:
    """Return the mask [N] of observed vacuum wavelengths [N] in Å in telluric bands or on sky lines."""
    windows = [*TELLURIC_AIR, *((line - SKY_HALF, line + SKY_HALF) for line in SKY_AIR)]
    mask = np.zeros(len(observed), bool)
    for low, high in to_vacuum(np.array(windows)):
        mask |= (observed >= low) & (observed <= high)
    return mask


def inner(good: np.ndarray) -> slice:
    """Return the pixels from the first to the last good one: what lies outside was not observed."""
    at = np.flatnonzero(good)
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 0)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the runs of true pixels as (first, one past the last)."""
    turns = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(turns == 1).tolist(), np.flatnonzero(turns == -1).tolist(), strict=True))


def interpolate(wavelength: np.ndarray, flux: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Return flux [N] with each run of bad pixels replaced by a straight line across it.

    wavelength [N] in Å. The line's ends are medians of as many good pixels as the run is long, at most
    `ANCHOR`: one noisy neighbour must not tilt a band of a hundred pixels. A run at an end continues its
    one neighbour.
    """
    mended = flux.copy()
    good = np.flatnonzero(~bad)
    if not len(good):
        raise ValueError("no good pixel to interpolate from")
    for first, end in runs(bad):
        count = min(end - first, ANCHOR)
        at = int(np.searchsorted(good, first))
        x, y = [], []
        for side in (good[max(0, at - count) : at], good[at : at + count]):
            if len(side):
                x.append(float(np.median(wavelength[side])))
                y.append(float(np.median(flux[side])))
        mended[first:end] = np.interp(wavelength[first:end], x, y)
    return mended
