"""Are the wavelengths of a table vacuum or air? Told from where strong lines fall in the median spectrum.

A table does not say. The two differ by 1.1 to 2.4 Å over the optical (83 km/s at 5000 Å), so a network that
was trained in one frame is silently wrong in the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.spectra.lines import LINES, SpectralLine
from engine.spectra.tables import Spectra

_STARS = 200
_COARSE = 3.0  # Å: on a wider grid the two frames are less than half a pixel apart
_HALF = 6.0  # Å of a window around a line
_TURNS = 8
_SURE = 0.35  # of the distance between the frames
_USED = (4101.74, 4340.47, 4861.33, 5889.95, 6562.79, 8542.09)  # Balmer lines, Na D2, Ca II; air, Å


def guess_frame(part: Spectra, rows: np.ndarray) -> dict[str, Any] | None:
    """Return guess (vacuum, air or unknown), the number of lines used, and their shift from vacuum in Å.

    The shift is the median over the lines, of their centres in the median of at most 200 normalised spectra.
    None where the grid is too coarse or holds too few of the lines.
    """
    x = part.wavelength
    if float(np.median(np.diff(x))) > _COARSE:
        return None
    chosen = np.sort(rows)[:: max(1, len(rows) // _STARS)][:_STARS]
    flux = np.stack([part.flux[row] for row in chosen]).astype(np.float64)
    flux[~np.isfinite(flux)] = 1.0
    median = np.median(flux, axis=0)
    found = []
    for line in LINES:
        if line.air in _USED:
            centre = _centre(x, median, line)
            if centre is not None:
                found.append((centre - line.vacuum, (centre - line.vacuum) / (line.vacuum - line.air)))
    if len(found) < 3:
        return None
    shift, share = np.median(np.array(found), axis=0)
    frame = "vacuum" if abs(share) < _SURE else "air" if abs(share + 1) < _SURE else "unknown"
    return {"guess": frame, "lines": len(found), "shift": round(float(shift), 3)}


def _centre(x: np.ndarray, flux: np.ndarray, line: SpectralLine) -> float | None:
    """Return the centre of mass of a line's depth in a window that follows it, None without a line."""
    centre = (line.vacuum + line.air) / 2
    if not x[0] + 2 * _HALF < centre < x[-1] - 2 * _HALF:
        return None
    for _ in range(_TURNS):
        near = np.abs(x - centre) <= _HALF
        if near.sum() < 5:
            return None
        depth = flux[near].max() - flux[near]
        if depth.max() < 0.05:
            return None
        # squared: the core counts, not the wings that a window cuts unevenly
        centre = float((x[near] * depth**2).sum() / (depth**2).sum())
        if abs(centre - line.vacuum) > _HALF:
            return None
    return centre
