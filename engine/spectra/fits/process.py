"""One file becomes one row of each table: every step in order, every fact kept.

Owns the order of the steps and the reasons for which a file is refused. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.spectra.fits import Rejected, continuum, frame, mask
from engine.spectra.fits.choices import Choices
from engine.spectra.fits.header import Facts
from engine.spectra.fits.read import LEAST_PIXELS, Spectrum, read
from engine.spectra.fits.resample import resample

FASTEST = 3000.0  # km/s: no star moves faster, so such a velocity is in another unit or not a star's
EDGE = 25  # pixels of the grid whose median continues a spectrum past its end


@dataclass(frozen=True)
class Row:
    """One star's row: continuum [M] and normalized [M], finite everywhere, and the facts of the import."""

    obsid: str
    continuum: np.ndarray
    normalized: np.ndarray
    facts: dict[str, Any]


def process(path: Path, choices: Choices, velocities: Mapping[str, float] | None = None) -> Row:
    """Read one file and bring it to the grid; `velocities` are km/s by obsid, from the label table.

    Raises:
        Rejected: the file cannot be read, is of another class, or has too little that is a measurement.
    """
    spectrum = read(path)
    _check_class(spectrum.facts, choices)
    z, rv_from = _shift(spectrum.facts, choices, velocities)
    edges = choices.grid.edges()
    branches = np.full((2, choices.grid.points), np.nan)
    masked = np.zeros(choices.grid.points, bool)
    bad = mask.bad_pixels(spectrum.flux, spectrum.ivar, spectrum.bad)
    observed = spectrum.wavelength
    in_vacuum = spectrum.facts.vacuum is not False  # where the header has no word: as LAMOST is
    if choices.telluric:
        bad |= mask.telluric(observed if in_vacuum else frame.to_vacuum(observed))
    share = float(bad.mean())
    if share > choices.max_masked:
        raise Rejected("masked", share=round(100 * share, 1), limit=round(100 * choices.max_masked, 1))
    rest = frame.convert(observed, vacuum=in_vacuum, z=z, frame=choices.frame)
    floored = arms = 0
    longest = 0.0
    for arm in spectrum.arms:
        inner = mask.inner(~bad[arm])
        pixels = slice(arm.start + inner.start, arm.start + inner.stop)
        if (~bad[pixels]).sum() < LEAST_PIXELS:
            continue
        new, covered, masked_here, low = _bring(spectrum, rest, bad, pixels, choices, edges)
        floored += low
        fresh = covered & np.isnan(branches[0])
        if not fresh.any():
            continue
        if len(spectrum.arms) > 1:
            new[0] /= _level(new[0][covered])  # the arms of medium resolution share no flux scale
        branches[:, fresh] = new[:, fresh]
        masked |= masked_here & fresh
        arms += 1
        gaps = mask.runs(bad[pixels])
        longest = max([longest, *(float(rest[pixels][b - 1] - rest[pixels][a]) for a, b in gaps)])
    covered = ~np.isnan(branches[0])
    if not covered.any():
        raise Rejected("off_grid", first=round(float(rest[0]), 1), last=round(float(rest[-1]), 1))
    coverage = float(covered.mean())
    if coverage < choices.min_coverage:
        limit = round(100 * choices.min_coverage, 1)
        raise Rejected("coverage", share=round(100 * coverage, 1), limit=limit)
    branches[0] /= _level(branches[0][covered])
    grid = choices.grid.wavelength()
    facts = _record(spectrum, bad, z, rv_from, in_vacuum) | {
        "masked_share": round(share, 5),
        "longest_gap": round(longest, 2),
        "coverage": round(coverage, 5),
        "uncovered_pixels": int((~covered).sum()),
        "uncovered": [[a, b - 1] for a, b in mask.runs(~covered)],
        "masked_pixels": int(masked.sum()),
        "masked": [[a, b - 1] for a, b in mask.runs(masked)],
        "floored_pixels": floored,
        "arms_used": arms,
    }
    return Row(
        obsid=spectrum.obsid,
        continuum=continue_flux(grid, branches[0], covered),
        normalized=np.where(covered, branches[1], 1.0),
        facts=facts,
    )


def continue_flux(grid: np.ndarray, flux: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Return flux [M] with a value where nothing was observed: a line across a gap, a constant past an end.

    A network needs a number in every pixel, and these carry no feature. The line joins, and the constant
    is, the median of the `EDGE` observed pixels nearest. Such pixels are listed in import.json.
    """
    filled = flux.copy()
    seen = mask.runs(covered)
    x = [float(grid[at]) for a, b in seen for at in (a, b - 1)]
    y = []
    for a, b in seen:
        y += [float(np.median(flux[a : min(b, a + EDGE)])), float(np.median(flux[max(a, b - EDGE) : b]))]
    filled[~covered] = np.interp(grid[~covered], x, y)
    return filled


def _bring(
    spectrum: Spectrum,
    rest: np.ndarray,
    bad: np.ndarray,
    pixels: slice,
    choices: Choices,
    edges: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Mend, normalise and resample one arm.

    Return its flux and normalised flux [2, M], covered [M], masked [M], and the pixels floored.
    """
    wavelength, poor = rest[pixels], bad[pixels]
    flux = mask.interpolate(wavelength, spectrum.flux[pixels], poor)
    # normalised on the file's own pixels: the grid may cut off what the ends of a fit lean on
    below = continuum.continuum(choices.continuum, wavelength, flux, spectrum.ivar[pixels], poor)
    normalized, floored = continuum.divide(flux, below)
    new = resample(wavelength, np.stack([flux, normalized]), poor, edges)
    return new.flux, new.covered, new.masked, floored


def _level(flux: np.ndarray) -> float:
    level = float(np.median(flux))
    if not level > 0:
        raise Rejected("no_flux", level=f"{level:.3g}")
    return level


def _check_class(facts: Facts, choices: Choices) -> None:
    # a medium-resolution file has no CLASS, and its OBJTYPE is what the target was thought to be
    if not choices.any_class and facts.class_from == "CLASS" and facts.kind != "STAR":
        raise Rejected("not_a_star", kind=facts.kind)


def _shift(facts: Facts, choices: Choices, velocities: Mapping[str, float] | None) -> tuple[float, str]:
    """Return z and where it came from; a star without a velocity in the column falls back to the header."""
    if choices.rv == "none":
        return 0.0, "none"
    z, source = facts.z, "header"
    if choices.rv == "column" and velocities is not None and facts.obsid in velocities:
        z, source = frame.redshift(velocities[facts.obsid]), "column"
    if z is None:
        return 0.0, "missing"
    speed = frame.velocity(z)
    if abs(speed) > FASTEST and not choices.any_class:
        raise Rejected("too_fast", rv=round(speed, 1), limit=FASTEST, source=source)
    if z <= -1:
        raise Rejected("too_fast", rv=round(speed, 1), limit=FASTEST, source=source)
    return z, source


def _record(spectrum: Spectrum, bad: np.ndarray, z: float, rv_from: str, in_vacuum: bool) -> dict[str, Any]:
    """Return what the header said and what was made of it."""
    said = spectrum.facts
    snr, snr_from = _snr(spectrum, bad)
    return {
        "obsid": said.obsid,
        "obsid_from": said.obsid_from,
        "layout": spectrum.layout,
        "wavelength_from": spectrum.wavelength_from,
        "first": round(float(spectrum.wavelength.min()), 3),
        "last": round(float(spectrum.wavelength.max()), 3),
        "pixels": len(spectrum.wavelength),
        "frame": "vacuum" if in_vacuum else "air",
        "frame_from": "VACUUM" if said.vacuum is not None else "assumed",
        "heliocentric": said.heliocentric,
        "helio_rv": said.helio_rv,
        "z": None if rv_from in ("none", "missing") else z,
        "rv": None if rv_from in ("none", "missing") else round(frame.velocity(z), 3),
        "rv_from": rv_from,
        "snr": snr,
        "snr_from": snr_from,
        "snr_bands": said.snr,
        "ra": said.ra,
        "dec": said.dec,
        "class": said.kind,
        "class_from": said.class_from,
        "subclass": said.subclass,
        "data_v": said.data_v,
    }


def _snr(spectrum: Spectrum, bad: np.ndarray) -> tuple[float | None, str]:
    """Return the S/N per pixel: the g band's or the blue arm's, else the median of flux times sqrt(ivar)."""
    for band in ("g", "B", "R"):
        if band in spectrum.facts.snr:
            return round(spectrum.facts.snr[band], 2), f"SNR{band}" if band == "g" else f"COADD_{band} SNR"
    good = ~bad
    return round(float(np.median(spectrum.flux[good] * np.sqrt(spectrum.ivar[good]))), 2), "measured"
