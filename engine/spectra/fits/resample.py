"""Flux-conserving resampling onto a grid, with what the new pixels rest on.

Why not `spectres`: it is GPL-3 and spectui is MIT, it loops over pixels in Python (or asks for numba), and
it tells neither how much of a pixel was covered nor how much of it was masked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HALF = 0.5  # a new pixel counts as covered, or as masked, when more than this share of it is


@dataclass(frozen=True)
class Resampled:
    """Spectra on the new grid: flux [K, M], NaN where nothing was observed; covered [M] and masked [M]."""

    flux: np.ndarray
    covered: np.ndarray
    masked: np.ndarray


def pixel_edges(wavelength: np.ndarray) -> np.ndarray:
    """Return the edges [N + 1] of pixels with centres [N]: half-way between neighbours."""
    middle = (wavelength[1:] + wavelength[:-1]) / 2
    first, last = 2 * wavelength[0] - middle[0], 2 * wavelength[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def resample(wavelength: np.ndarray, flux: np.ndarray, bad: np.ndarray, edges: np.ndarray) -> Resampled:
    """Return spectra [K, N] at wavelength [N] as means over the new pixels between edges [M + 1], all in Å.

    Flux density is taken as constant within a pixel, so its integral over any stretch that both grids
    cover whole is kept (as in Carnall 2017, arXiv:1705.05165). bad [N] marks masked pixels, whose mended
    values are used. A new pixel that is observed in part holds the mean of that part.
    """
    old = pixel_edges(wavelength)
    pixels = len(edges) - 1
    # every stretch between neighbouring cuts lies in one old and one new pixel
    cuts = np.unique(np.concatenate([old, np.clip(edges, old[0], old[-1])]))
    middle, length = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    source = np.searchsorted(old, middle) - 1
    target = np.searchsorted(edges, middle) - 1
    inside = (target >= 0) & (target < pixels)
    source, target, length = source[inside], target[inside], length[inside]
    seen = np.bincount(target, length, pixels)
    covered = seen / np.diff(edges) > HALF
    total = np.where(covered, seen, 1.0)
    masked = covered & (np.bincount(target, length * bad[source], pixels) / total > HALF)
    new = np.stack([np.bincount(target, length * row[source], pixels) / total for row in flux])
    new[:, ~covered] = np.nan
    return Resampled(new, covered, masked)
