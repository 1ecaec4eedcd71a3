"""Pixels that are no flux, found and mended; every function looks at a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

BLOCK = 512  # rows looked at together: bounded memory beside the table itself
WILD = 100.0  # a pixel this many times the star's own median |flux| is no spectrum
HALF = 0.5  # a star with fewer finite pixels than this share is dropped, not invented


def blocks(values: np.ndarray, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, view of the rows) so that a temporary is never as large as the table."""
    for start in range(0, len(values), size):
        yield start, values[start : start + size]


def nonfinite_per_star(flux: np.ndarray) -> np.ndarray:
    """Return how many pixels of each star [N] are NaN or infinite."""
    counts = [(~np.isfinite(block)).sum(axis=1) for _, block in blocks(flux)]
    return np.concatenate(counts) if counts else np.zeros(0, np.int64)


def wild_blocks(flux: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, mask of wild pixels): finite, and beyond `WILD` times the star's median |flux|."""
    for start, block in blocks(flux):
        size = np.abs(block)
        size[~np.isfinite(size)] = 0.0
        mask = np.zeros(size.shape, bool)
        # where more than half of a star is above a hundredth of its highest pixel, so is the median
        tame = 2 * (size > size.max(axis=1, keepdims=True) / WILD).sum(axis=1) > size.shape[1] + 1
        rows = np.flatnonzero(~tame)
        middle = np.median(size[rows], axis=1, keepdims=True) if len(rows) else 0
        mask[rows] = (size[rows] > WILD * middle) & (middle > 0)
        yield start, mask


def interpolate(flux: np.ndarray, rows: np.ndarray, wavelength: np.ndarray) -> None:
    """Replace non-finite pixels of these rows, in place, by lines between their finite neighbours."""
    for row in rows:
        good = np.isfinite(flux[row])
        flux[row, ~good] = np.interp(wavelength[~good], wavelength[good], flux[row, good])


def outside(flux: np.ndarray, bounds: Sequence[float] | None) -> int:
    """Return how many pixels `clip` would change; None, and not a number, change nothing."""
    if bounds is None:
        return 0
    low, high = bounds
    return sum(int(((block < low) | (block > high)).sum()) for _, block in blocks(flux))


def clip(flux: np.ndarray, bounds: Sequence[float] | None) -> int:
    """Clip the flux in place to [low, high] and return how many pixels that changed; None does nothing."""
    changed = outside(flux, bounds)
    if bounds is not None and changed:
        for _, block in blocks(flux):
            np.clip(block, bounds[0], bounds[1], out=block)
    return changed
